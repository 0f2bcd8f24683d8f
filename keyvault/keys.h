/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key table: what stands between the root key and the credentials, wrapped, in one file.
 *
 *      root key  --wraps-->  master key  --derives-->  purpose keys  (keyring.h)
 *                                  CREDENTIALS  --wraps-->  tenant keys, versioned  --wraps-->  credential keys
 * (seal.h)
 *
 * Master and tenant keys are random, so each can be replaced without the others: a new root key wraps the same master
 * key, and what hangs below it (pepper, checkpoint key) stays as it is; a new tenant key wraps the same credential
 * keys. Up to two root keys are accepted at a time, and two versions of a tenant's key: that is what makes rotation
 * possible online (rotate.h), whose progress is kept here too, so that a key's state and the rotation's step change
 * together or not at all.
 *
 * The file has two halves, each a whole table with a count and a MAC under a purpose key; a write goes to the older
 * half and is synced, so a torn write leaves the newer one. A key that is retired leaves both halves.
 *
 * Wrapped keys lie in ordinary memory; unwrapping one costs about a microsecond and is done for each use.
 */
#pragma once

#include "keyvault/keyring.h"

#define KEYS_ID_BYTES      16
#define KEYS_ROOT_ID_BYTES 32
#define KEYS_WRAPPED_BYTES (24 + KEYRING_KEY_BYTES + 16) /* nonce, box */
#define KEYS_TENANT_BYTES  65
#define KEYS_TENANTS_MAX   8192 /* versions of tenant keys */
#define KEYS_ROOTS_MAX     2
#define KEYS_HALF_EVERY    (2U << 20)

enum keys_state { KEYS_PENDING = 1, KEYS_ACTIVE, KEYS_RETIRING };

/* One version of a tenant's key. A tenant has exactly one that is ACTIVE: new credentials are sealed under it. */
struct keys_tenant {
	char tenant[KEYS_TENANT_BYTES];
	uint8_t id[KEYS_ID_BYTES]; /* random; names it in sealed credentials */
	enum keys_state state;
	uint32_t version;
	uint32_t generation_min; /* older credential keys of this tenant are void */
	uint8_t wrapped[KEYS_WRAPPED_BYTES];
};

struct keys_root {
	uint8_t id[KEYS_ROOT_ID_BYTES]; /* says which root key, and nothing about it */
	uint8_t wrapped[KEYS_WRAPPED_BYTES];
};

/* What rotate.h keeps here; all zero: no rotation. */
struct keys_rotation {
	uint8_t what, step;
	uint32_t rate, generation;
	char tenant[KEYS_TENANT_BYTES];
};

struct keys {
	struct secret_arena *arena;
	struct keyring *keyring; /* open exactly while the table is */
	int fd;
	uint64_t count;      /* of writes; 0: there is no table yet */
	uint32_t generation; /* of credential keys made now; grows with each rotation of them */
	struct keys_root roots[KEYS_ROOTS_MAX];
	size_t n_roots;
	uint8_t root_id[KEYS_ROOT_ID_BYTES]; /* of the root key that opened it */
	struct keys_rotation rotation;
	struct keys_tenant *tenants; /* by tenant, then version */
	size_t n_tenants, cap;
};

enum keys_err {
	KEYS_E_ROOT = 1, /* another root key's table, or a damaged one */
	KEYS_E_STORAGE,  /* not durable; nothing changed */
	KEYS_E_FULL,     /* the arena has no room, or there are too many keys */
	KEYS_E_TORN,     /* the first save of all was cut off: there never was a table */
};

/* `fd` stays the caller's. The keyring must be closed. */
void keys_init(struct keys *k, struct secret_arena *arena, struct keyring *keyring, int fd);
void keys_deinit(struct keys *k);
/* Is there a table in the file? It may be damaged. 0 or negative. */
MUST_USE int keys_exists(int fd, bool *ret_exists);
/* Makes the table of a new vault, under this root key. 0, KEYS_E_STORAGE or KEYS_E_FULL. Opens it. */
MUST_USE int keys_create(struct keys *k, const struct secret *root);
/* Opens the newest half that this root key opens. 0, KEYS_E_ROOT, KEYS_E_TORN, KEYS_E_FULL or negative. */
MUST_USE int keys_open(struct keys *k, const struct secret *root);
/* Reads the newest half again under the open keyring, into a table that is otherwise empty. 0, KEYS_E_ROOT or negative.
 */
MUST_USE int keys_reload(struct keys *k);
/* Wipes the keyring and forgets the table. Idempotent. */
void keys_close(struct keys *k);

/* Writes the table as it is now, to one half: what was taken out of it is gone after the second save. 0 or
 * KEYS_E_STORAGE: then what is in memory must be put back by the caller. */
MUST_USE int keys_save(struct keys *k);

/* ---- keys_tenant.c ---- */

/* The ACTIVE version; NULL when this tenant has no key yet. Valid until the next that changes the table. */
const struct keys_tenant *keys_active(const struct keys *k, struct span tenant);
/* Whether it has one in this state. */
bool keys_find_state(const struct keys *k, const char *tenant, enum keys_state state);
/* By id, among this tenant's; NULL when it is not there (any more). */
const struct keys_tenant *keys_find(const struct keys *k, struct span tenant, struct span id);
/* A fresh key for a tenant, not saved: the next version, in this state. 0 or KEYS_E_FULL. */
MUST_USE int keys_add(struct keys *k, struct span tenant, enum keys_state state);
/* As keys_active(), made and saved when there is none. 0, KEYS_E_STORAGE or KEYS_E_FULL. */
MUST_USE int keys_ensure(struct keys *k, struct span tenant, const struct keys_tenant **ret_key);
/* The key itself, in the arena; the caller frees. 0, KEYS_E_ROOT (damaged) or KEYS_E_FULL. */
MUST_USE int keys_unwrap(struct keys *k, const struct keys_tenant *t, struct secret *ret_key);
/* Takes out every tenant key in this state, not saved. How many. */
size_t keys_remove(struct keys *k, enum keys_state state);

/* ---- root keys ---- */

void keys_root_id(struct secret_arena *a, const struct secret *root, uint8_t ret_id[KEYS_ROOT_ID_BYTES]);
/* Accepts `root` as well; `by` is one that is accepted. Not saved. 0, KEYS_E_ROOT or KEYS_E_FULL. */
MUST_USE int keys_add_root(struct keys *k, const struct secret *by, const struct secret *root);
/* Accepts no root key but this one. Not saved. False when it is not among them. */
bool keys_keep_root(struct keys *k, const uint8_t id[KEYS_ROOT_ID_BYTES]);
