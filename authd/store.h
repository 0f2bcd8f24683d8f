/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What authd must not forget: tenants, gateway keys (as HMAC), sealed provider credentials (as opaque bytes).
 *
 * The interface is synchronous: the embedded store is SQLite beneath <state_dir>/authd, where a look-up costs
 * microseconds. A change is on disk when its function returns 0. Any failure of the database is STORE_E_GONE: authd
 * goes on without it, from its cache, and refuses what it cannot know. Nothing here reads a clock; times are Unix
 * seconds of the caller.
 */
#pragma once

#include "authd/token.h"
#include "common/log.h"

#define STORE_ID_BYTES        65 /* with the NUL, as all of these */
#define STORE_MODELS_BYTES    1025
#define STORE_BLOB_BYTES_MIN  64
#define STORE_BLOB_BYTES_MAX  8192
#define STORE_CREDENTIALS_MAX 4096 /* ids, as the core can hold */
#define STORE_DIGEST_BYTES    32
#define STORE_SUBJECT_BYTES   33

struct store;

enum store_err {
	STORE_E_NOT_FOUND = 1,
	STORE_E_EXISTS,
	STORE_E_STALE_VERSION, /* the stored version is the same or newer */
	STORE_E_FULL,          /* STORE_CREDENTIALS_MAX are stored */
	STORE_E_GONE,          /* the database does not do its work: disk, corruption; said so in the log */
};

struct store_key {
	char id[STORE_ID_BYTES];
	uint8_t hmac[TOKEN_HMAC_BYTES];
	char prefix[TOKEN_PREFIX_BYTES + 1];
	char tenant[STORE_ID_BYTES];
	char name[STORE_ID_BYTES];
	char models[STORE_MODELS_BYTES]; /* patterns, comma-separated */
	uint64_t rpm;                    /* 0: the configuration's default */
	uint64_t concurrent;             /* likewise */
	uint64_t created_s;
	uint64_t expires_s;                /* 0: never */
	uint64_t revoked_s;                /* 0: live */
	char subject[STORE_SUBJECT_BYTES]; /* whom its records are about */
};

struct store_credential {
	char id[STORE_ID_BYTES];
	char provider[STORE_ID_BYTES];
	char tenant[STORE_ID_BYTES]; /* or "*" */
	uint64_t version;
	uint64_t since; /* given: what is older goes */
	uint64_t created_s;
	struct span blob; /* given: borrowed for the call; received: valid until the callback returns, empty: removed */
};

/* Opens or makes `<folder>/authd.db`. `log` outlives it. 0, or negative when it cannot be used or was made by a newer
 * release. */
MUST_USE int store_open(const char *folder, const struct log *log, struct store **ret_store);
struct store *store_close(struct store *s);

/* Adds a key, and its tenant and its subject if new. 0, EXISTS (id or HMAC), NOT_FOUND (the subject is another tenant's
 * or erased), GONE. */
MUST_USE int store_key_add(struct store *s, const struct store_key *key);
/* 0, NOT_FOUND, GONE. */
MUST_USE int store_key_find(struct store *s, const uint8_t hmac[TOKEN_HMAC_BYTES], struct store_key *ret_key);
MUST_USE int store_key_find_id(struct store *s, struct span id, struct store_key *ret_key);
/* The first revocation's time stays. 0, NOT_FOUND, GONE. */
MUST_USE int store_key_revoke(struct store *s, struct span id, uint64_t now_s);
/* Keys in the order of their making, after the one named (all when `after` is empty). Fills up to `cap`. 0, NOT_FOUND,
 * GONE. */
MUST_USE int store_key_page(struct store *s, struct span after, struct store_key *keys, size_t cap, size_t *ret_n);
/* Keys revoked at `since_s` or later, the last ones first. Fills up to `cap`. 0 or GONE. */
MUST_USE int store_key_revoked_since(struct store *s, uint64_t since_s, struct store_key *keys, size_t cap,
				     size_t *ret_n);
/* Keys that are neither revoked nor expired. 0 or GONE. */
MUST_USE int store_key_count(struct store *s, uint64_t now_s, uint64_t *ret_n);

/* A part of a sealed credential that is to be exchanged for as many bytes. */
struct store_swap {
	struct span id;
	uint64_t version;
	struct span old; /* BLAKE2b-256 of the whole as it must be */
	size_t at;
	struct span part;
};

/* Adds a version, newer than any; those below `since` go. 0, STALE_VERSION, FULL, GONE. */
MUST_USE int store_credential_put(struct store *s, const struct store_credential *c);
/* The version stored last, even if removed since. 0, NOT_FOUND, GONE. */
MUST_USE int store_credential_version(struct store *s, struct span id, uint64_t *ret_version);
/* Every version's bytes go, the number of the last stays: an older one is stale for ever. 0, NOT_FOUND, GONE. */
MUST_USE int store_credential_remove(struct store *s, struct span id);
/* One version that is not the last. 0, NOT_FOUND, GONE. */
MUST_USE int store_credential_retire(struct store *s, struct span id, uint64_t version);
/* Compare and swap, in one transaction: for each of `n`, done[i] is 1 when its bytes were what they must be and are
 * replaced, 0 when it is left as it is. Alone among the changes it need not be on disk at once: a power failure may
 * bring the old bytes back until store_credential_sync(). 0 or GONE: then none is replaced. */
MUST_USE int store_credential_swap(struct store *s, const struct store_swap *swaps, size_t n, uint8_t *done);
/* Every swap is on disk, and what it replaced is gone from the write-ahead log. 0 or GONE. */
MUST_USE int store_credential_sync(struct store *s);

/* Removed ones too. Non-zero from `each` ends the walk. By provider, tenant and
 * version. 0 or GONE. */
typedef int store_each_credential(void *ctx, const struct store_credential *c);
MUST_USE int store_credential_each(struct store *s, store_each_credential *each, void *ctx);
