/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with a key in them, opened here and read by the core alone: what crosses is the descriptor. Whoever opens one
 * for somebody else has to look closely, so this is the only place that does:
 *
 *   - its folder belongs to root or to us, and nobody else could put another file there;
 *   - the name may be a symbolic link that stays in its folder, as Kubernetes mounts secrets (`key -> ..data/key`), and
 *     none that leaves it;
 *   - a regular file of root's, ours, or the daemon's, not empty, not larger than a key can be;
 *   - nobody else may read it: 0400 or 0600. Root's file may be readable by root's group, or by the daemon's own, which
 *     is how systemd and Kubernetes hand a file to one user.
 */
#pragma once

#include <sys/types.h>

#include "cli/cli.h"

#define KEY_FILE_WHY_BYTES 4400

struct key_file_owner {
	uid_t uid; /* of the daemon that will read it */
	gid_t gid;
};

/* 0 and a descriptor open for reading; else negative, with the file and what to do about it in `why`: -ENOENT there is
 * none, -ENODATA it is empty, and others. */
MUST_USE int key_file_open(const char *path, const struct key_file_owner *owner, size_t bytes_max, int *ret_fd,
			   char why[KEY_FILE_WHY_BYTES]);

/* Who the core is, when it is started by root or by us. After cli_config(). */
struct key_file_owner key_file_core(const struct cli *cli);
