/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's two files, opened before the sandbox closes and never again:
 *
 *   root.sealed   the root key under a passphrase, or root.key (or a configured file), the root key as it is;
 *   witness       what was signed last.
 *
 * What lies in <state_dir>/keyvault is made empty when it is missing: an empty root file means that the vault was never
 * initialised. A configured key file must be there. Either must be a regular file of ours or root's that nobody else
 * may read, and must hold what it should: else the core refuses to start and names it.
 *
 * A root file of the other kind, not empty, beside the one that the configuration asks for is refused as well.
 *
 * A sealed root is read once and its descriptor closed. A key file stays open while the process lives, so that `vault
 * unseal` can follow `vault seal`: against somebody who runs code in the core, sealing only helps in passphrase mode.
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
	int root_fd;         /* -1 once it is of no more use */
	int witness_fd;
	uint8_t sealed[ROOT_SEALED_BYTES]; /* by_passphrase && initialised */
	char root_path[FILES_PATH_BYTES];
	char why[FILES_PATH_BYTES + 256]; /* FILES_E_REFUSED: which file, and what is wrong with it */
};

#define FILES_NULL ((struct files){.root_fd = -1, .witness_fd = -1})

enum files_err {
	FILES_E_REFUSED = 1, /* `why` says it all */
	FILES_E_STORAGE,     /* not durable */
	FILES_E_FULL,        /* the arena has no room */
};

/* Before the sandbox. 0, FILES_E_REFUSED or negative. */
MUST_USE int files_open(struct files *f, const struct config *config, struct secret_arena *arena);
void files_close(struct files *f);
/* The key file's root key; the caller frees. 0, FILES_E_REFUSED, FILES_E_FULL or negative. */
MUST_USE int files_read_key(struct files *f, struct secret_arena *arena, struct secret *ret_root);
/* Fills the empty root file, once. `bytes` may lie in an open arena. 0 or FILES_E_STORAGE; then it is empty again. */
MUST_USE int files_write_root(struct files *f, struct span bytes);
