/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the run folder, addressed through an open descriptor of the folder: its path may then be longer than the
 * 107 bytes that fit a socket address, and cannot be exchanged between two calls.
 */
#pragma once

#include "common/base.h"

/* A connected non-blocking socket. 0 or negative errno: -ENOENT, -ECONNREFUSED (nobody serves), -EACCES, -EAGAIN. */
MUST_USE int rundir_connect(int run_fd, const char *name, int *ret_fd);
/* A listening, non-blocking socket, mode 0660, owned as given; a stale one is replaced. 0 or negative; -EADDRINUSE. */
MUST_USE int rundir_listen(int run_fd, const char *name, uid_t uid, gid_t gid, int *ret_fd);
void rundir_remove(int run_fd, const char *name);
