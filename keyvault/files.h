/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's files in <state_dir>/keyvault, opened before the sandbox closes and never again:
 *
 *      root.sealed     the root key under a passphrase; or root.key, the root key as it is, where no other file is
 *                      configured
 *      root.next       the root key that is about to take its place, empty but for the moments of its rotation
 *      keys            the key table (keys.h)
 *      marks           the memory of versions (marks.h)
 *      witness         what was signed last
 *
 * Each is made empty when it is missing: an empty root file means that the vault was never initialised. Each must be a
 * regular file of ours or root's that nobody else may read, and must hold what it should: else the core refuses to
 * start and names it. A root file of the other kind, not empty, beside the one that the configuration asks for is
 * refused as well.
 *
 * A root key in a file, our own or a configured one, is read from a descriptor that somebody else opens: the launcher
 * for a core that starts, the operator's command at `vault unseal`. It is read once and closed. So a core whose vault
 * is sealed has no way to the root key, whoever runs code in it; the descriptor of a root file stays open here only
 * while that file is empty, for `vault init` to fill; and one for writing only, for its rotation.
 */
#pragma once

#include "common/config.h"
#include "common/secret.h"
#include "keyvault/root.h"

#define FILES_PATH_BYTES 4096

struct files {
	bool by_passphrase;
	bool initialised;
	bool configured_key; /* the operator's own file: never written */
	int root_fd;         /* -1 but for a root file to be filled */
	int replace_fd;      /* of the root file, for writing only: a rotation; -1 where it is the operator's */
	size_t root_bytes;   /* of the root file */
	int next_fd, keys_fd, marks_fd, witness_fd;
	uint8_t sealed[ROOT_SEALED_BYTES]; /* by_passphrase && initialised */
	char root_path[FILES_PATH_BYTES];
	char why[FILES_PATH_BYTES + 256]; /* FILES_E_REFUSED: which file, and what is wrong with it */
};

#define FILES_NULL       \
	((struct files){ \
		.root_fd = -1, .replace_fd = -1, .next_fd = -1, .keys_fd = -1, .marks_fd = -1, .witness_fd = -1})

enum files_err {
	FILES_E_REFUSED = 1, /* `why` says it all */
	FILES_E_STORAGE,     /* not durable */
	FILES_E_FULL,        /* the arena has no room */
};

/* Before the sandbox. 0, FILES_E_REFUSED or negative. */
MUST_USE int files_open(struct files *f, const struct config *config);
void files_close(struct files *f);
/* The root key in a key file, whose descriptor is closed in every case; the caller frees. 0, FILES_E_REFUSED or
 * FILES_E_FULL. */
MUST_USE int files_read_key(struct files *f, int key_fd, struct secret_arena *arena, struct secret *ret_root);
/* Fills the empty root file, once. `bytes` may lie in an open arena. 0 or FILES_E_STORAGE; then it is empty again. */
MUST_USE int files_write_root(struct files *f, struct span bytes);

/* ---- a rotation of the root key: next is written, becomes the root, and is emptied ---- */

bool files_has_next(const struct files *f);
/* `bytes` as for files_write_root(). 0 or FILES_E_STORAGE; then there is no next. */
MUST_USE int files_write_next(struct files *f, struct span bytes);
/* Copies it over the root file. 0 or FILES_E_STORAGE; then try again. */
MUST_USE int files_take_next(struct files *f, struct secret_arena *arena);
/* Overwrites and empties it. 0 or FILES_E_STORAGE. */
MUST_USE int files_drop_next(struct files *f);
