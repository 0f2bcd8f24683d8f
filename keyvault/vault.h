/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the core: uninitialised, sealed or open, and what may be done in each. It knows nothing of IPC; time
 * comes in as an argument. dispatch.c translates messages into these calls and their answers into messages.
 *
 *      uninitialised --init--> open <--unseal / seal--> sealed
 *
 * Open means: purpose keys in the arena. Sealed means: none, the arena holds nothing but message buffers. The third
 * wrong passphrase and every one after it delays the next try, 1 s doubling to 60 s; the delay is forgotten at a
 * restart, for whoever can restart the core can also try the passphrase on a copy of root.sealed. What protects that is
 * Argon2id.
 */
#pragma once

#include "keyvault/fernet.h"
#include "keyvault/files.h"
#include "keyvault/keyring.h"
#include "keyvault/lanes.h"
#include "keyvault/marks.h"
#include "keyvault/seal.h"
#include "keyvault/signer.h"
#include "keyvault/store.h"

#define VAULT_TRIES_FREE  3 /* wrong passphrases, the last of which makes the next one wait */
#define VAULT_WAIT_MS_MAX 60000

struct vault {
	struct secret_arena *arena;
	struct files files;
	struct keyring keyring;
	struct keys keys;
	struct marks marks;
	struct signer signer;
	struct store store;
	struct lanes lanes;
	unsigned wrong_tries; /* since the last right one */
	uint64_t retry_at_ms;
	bool may_export; /* keyvault.fernet_export */
};

enum vault_err {
	VAULT_E_INITIALISED = 1,
	VAULT_E_UNINITIALISED,
	VAULT_E_SEALED,
	VAULT_E_OPEN, /* already */
	VAULT_E_PASSPHRASE,
	VAULT_E_WAIT,
	VAULT_E_SHORT,
	VAULT_E_MEMORY,
	VAULT_E_DAMAGED,
	VAULT_E_KEY_FILE,  /* files.why says more */
	VAULT_E_OTHER_KEY, /* not the root key that the vault was opened with */
	VAULT_E_NO_KEY,    /* the root key is in a file, and none came with the message */
	VAULT_E_ELSEWHERE, /* the root key is the operator's own file */
	VAULT_E_STORAGE,
	VAULT_E_FULL,
	VAULT_E_BINDING,
	VAULT_E_SECRET,
	VAULT_E_UNKNOWN, /* no such credential */
	VAULT_E_FORGED,  /* a blob that does not authenticate, or is not what it is called */
	VAULT_E_OLD,     /* a blob that is older than one seen */
	VAULT_E_FERNET_KEY,
	VAULT_E_TOKEN,
	VAULT_E_TOKEN_KEY,
	VAULT_E_TOKEN_AGE,
	VAULT_E_UNCONFIRMED,
	VAULT_E_EXPORT_OFF,
	VAULT_E_EXPIRED, /* outside of its time */
	VAULT_E_ROOT,    /* the root key does not open the key table */
	VAULT_E_MARKS,   /* the memory of versions is damaged */
	VAULT_E_PLACES,  /* it has no place for another credential */
	VAULT_E_BUSY,    /* a rotation is under way */
	VAULT_E_NOTHING, /* nothing to rotate */
	VAULT_E_ROTATED, /* sealed under keys that are being replaced */
	VAULT_E_TORN,    /* the key table was never written to its end */
	VAULT_E_SAME,    /* the new root key is the one that there is */
	N_VAULT_ERRS,
};

/* A stable word and what to do about it. */
struct vault_refusal {
	const char *reason, *text;
};
const struct vault_refusal *vault_refusal(int e);

/* Opens the files, and the vault itself where the launcher gave a key file: a descriptor, closed in every case, or -1.
 * Before the sandbox. 0, VAULT_E_* (files.why says more) or negative. `arena` must outlive the vault. */
MUST_USE int vault_start(struct vault *v, const struct config *config, struct secret_arena *arena, int key_fd);
void vault_deinit(struct vault *v);

bool vault_is_open(const struct vault *v);
const char *vault_state(const struct vault *v); /* "uninitialised", "sealed", "unsealed" */

/* `passphrase` may lie in the arena, which is open then; `key_fd` as above. 0, VAULT_E_* or negative. */
MUST_USE int vault_init(struct vault *v, struct span passphrase);
MUST_USE int vault_unseal(struct vault *v, struct span passphrase, int key_fd, uint64_t now_ms);
/* The root key of an open vault, by the same proof as for vault_unseal(): for a copy. The caller frees. */
MUST_USE int vault_current_root(struct vault *v, struct span passphrase, int key_fd, uint64_t now_ms,
				struct secret *ret_root);
/* `root` becomes the root key of a vault that has none; it stays the caller's. Nothing changes when this fails. */
MUST_USE int vault_restore(struct vault *v, const struct secret *root, struct span passphrase);
/* Wipes every key, those of the lanes too. Idempotent. */
void vault_seal(struct vault *v);

/* ---- vault_fernet.c: provider keys that come or go as Fernet tokens ---- */

/* `keys`: FERNET_KEY items, which may lie in the arena, open then. */
/* As vault_add() of what is in the token. Besides its errors VAULT_E_FERNET_KEY, VAULT_E_TOKEN*. */
MUST_USE int vault_import_fernet(struct vault *v, struct span binding, struct span token, struct proto_list keys,
				 struct fernet_limit limit, uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len);
/* As vault_fetch(), but the secret comes as a token under `key`: it is released to whoever has that. `confirm` must be
 * the id again, and the configuration must allow it: VAULT_E_UNCONFIRMED, VAULT_E_EXPORT_OFF. */
MUST_USE int vault_export_fernet(struct vault *v, struct span id, struct span confirm, struct span key, uint64_t now_s,
				 struct span *ret_binding, char ret_stored[FERNET_STORED_CHARS_MAX + 1]);
/* The token under the first key. In any state: no key of the vault takes part. VAULT_E_FERNET_KEY, VAULT_E_TOKEN* or
 * VAULT_E_FULL. */
MUST_USE int vault_rotate_fernet(struct vault *v, struct span token, struct proto_list keys,
				 char ret_stored[FERNET_STORED_CHARS_MAX + 1]);
