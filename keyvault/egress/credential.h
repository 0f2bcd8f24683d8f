/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider credentials in use. The first exchange that needs one asks the core (UNSEAL); others wait for the same
 * answer. What is sent is its key: the secret, or an access token that is made of it (token.h). Key and the scrubber's
 * patterns lie in the arena; a credential that is dropped loses its key at once and the patterns when the last reply
 * that may echo it is over. Where the arena is full, those that nobody uses make room: there may be one for each
 * tenant.
 *
 *   asking -> ready -> retired
 */
#pragma once

#include "common/secret.h"
#include "keyvault/egress/auth.h"
#include "keyvault/egress/pool.h"
#include "keyvault/egress/scrub.h"

#define CREDENTIAL_BINDING_BYTES_MAX 2560
#define CREDENTIALS_MAX              1024 /* at once */
#define CREDENTIAL_DEADLINE_MS       5000

struct token;

/* What is sent. Counted: replies are scrubbed of it when the credential has another one by then. */
struct credential_key {
	struct secret_arena *arena;
	size_t refs;
	struct secret secret; /* null once retired */
	struct scrub scrub;
	uint64_t serial;             /* of a token; 0: it is the secret itself, and does not age */
	uint64_t renew_ms, stale_ms; /* from when on another is got, and this one not used any more */
	uint64_t born_ms;
	bool second; /* the one before was refused */
};

enum credential_state { CREDENTIAL_ASKING, CREDENTIAL_READY, CREDENTIAL_RETIRED };

struct credential {
	struct credential_cache *cache;
	struct list in_cache, waiters; /* of struct credential_waiter */
	enum credential_state state;
	size_t refs; /* the cache's own, waiters, exchanges, a token on the way */
	char id[65];
	uint8_t binding_bytes[CREDENTIAL_BINDING_BYTES_MAX];
	struct proto_binding binding; /* views binding_bytes */
	const struct auth_scheme *scheme;
	struct credential_key *key; /* NULL: a token is not here yet, or retired */
	struct token *token;        /* NULL: none is on the way */
	struct pool pool, token_pool;
	bool pooled, token_pooled, refused;
	bool replaced; /* with RETIRED: there may be another in its place, or none */
	/* ASKING: when a core that does not know yet is asked again (0: it is being asked), and until when. */
	uint64_t again_ms, until_ms;
};

/* Which roots to trust for an origin; NULL: it is no configured provider's, or no configured token service's. */
typedef struct tls_ctx *credential_trust(void *ctx, const struct proto_binding *binding);

struct credential_cache {
	struct secret_arena *arena;
	struct ipc_edge *keyvault;
	struct pool_env *pool_env;
	credential_trust *trust;
	void *ctx;
	struct list all; /* the one used last is first */
	size_t n;
	struct list tokens; /* on the way; token.c */
};

struct credential_waiter {
	struct list in_credential;
	/* From a later turn, or from within credential_drop: REASON_NONE, or why there is none. */
	void (*ready)(struct credential_waiter *w, enum reason why);
};

enum credential_err {
	CREDENTIAL_E_WAIT = 1, /* `w` is queued */
	CREDENTIAL_E_DOWN,     /* the core cannot be asked */
	CREDENTIAL_E_FULL,     /* too many are in use at once */
};

void credential_cache_init(struct credential_cache *c, struct secret_arena *arena, struct ipc_edge *keyvault,
			   struct pool_env *pool_env, credential_trust *trust, void *ctx);
/* 0 or CREDENTIAL_E_WAIT with a reference in *ret_credential, which credential_unref() returns; or another
 * CREDENTIAL_E_*. On 0 it has a key that can be sent. */
MUST_USE int credential_get(struct credential_cache *c, struct span id, struct credential_waiter *w,
			    struct credential **ret_credential);
/* No longer waiting. Idempotent. */
void credential_forget(struct credential_waiter *w);
struct credential *credential_ref(struct credential *c);
void credential_unref(struct credential *c);
/* Removed or replaced: wipes the key, closes idle connections, tells those who wait. */
void credential_drop(struct credential_cache *c, struct span id);
/* The provider, or the calendar, does not accept this version: the core is told, and asked again for the next use. */
void credential_reject(struct credential *c);
/* `core_lost`: what it gave is dropped, but a token that is on the way is got all the same. */
void credential_drop_all(struct credential_cache *c, enum reason why, bool core_lost);
/* True while connections are open or opening, or tokens on the way. */
bool credential_tick(struct credential_cache *c, uint64_t now_ms);

/* The key of a ready credential, to be returned by credential_key_unref(), which takes and returns NULL. */
struct credential_key *credential_key_ref(struct credential *c);
struct credential_key *credential_key_unref(struct credential_key *key);
/* The arena is open. 0 or a reason. */
enum reason credential_key_new(struct credential_cache *c, const struct auth_scheme *scheme, struct span secret,
			       struct credential_key **ret_key);
/* As secret_alloc(), but with the room of credentials that nobody uses. */
MUST_USE int credential_alloc(struct credential_cache *c, size_t len, struct secret *ret_secret);
/* The provider answered 401 to this key: a token is given up for another one, but not one that was just got so. */
void credential_refuse(struct credential *c, const struct credential_key *key);
/* token.c: it is here (taken over), or why not. */
void credential_note_token(struct credential *c, struct credential_key *key, enum reason why);
