/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider credentials in use. The first exchange that needs one asks the core (UNSEAL); others wait for the same
 * answer. The secret and the scrubber's patterns lie in the arena; a credential that is dropped loses its secret at
 * once and its patterns when the last reply that may echo it is over.
 *
 *   asking -> ready -> retired
 */
#pragma once

#include "common/secret.h"
#include "keyvault/egress/pool.h"
#include "keyvault/egress/scrub.h"

#define CREDENTIAL_BINDING_BYTES_MAX 1280
#define CREDENTIALS_MAX              1024
#define CREDENTIAL_DEADLINE_MS       5000

enum credential_state { CREDENTIAL_ASKING, CREDENTIAL_READY, CREDENTIAL_RETIRED };

struct credential {
	struct credential_cache *cache;
	struct list in_cache, waiters; /* of struct credential_waiter */
	enum credential_state state;
	size_t refs; /* the cache's own, waiters, exchanges */
	char id[65];
	uint8_t binding_bytes[CREDENTIAL_BINDING_BYTES_MAX];
	struct proto_binding binding; /* views binding_bytes */
	struct secret secret;         /* null once retired */
	struct scrub scrub;
	struct pool pool;
	bool pooled;
};

/* Which roots to trust for an origin; NULL: it is no configured provider. */
typedef struct tls_ctx *credential_trust(void *ctx, struct span provider, struct span host, uint64_t port);

struct credential_cache {
	struct secret_arena *arena;
	struct ipc_edge *keyvault;
	const struct pool_env *pool_env;
	credential_trust *trust;
	void *ctx;
	struct list all;
	size_t n;
};

struct credential_waiter {
	struct list in_credential;
	/* From a later turn, or from within credential_drop: REASON_NONE, or why there is none. */
	void (*ready)(struct credential_waiter *w, enum reason why);
};

enum credential_err {
	CREDENTIAL_E_WAIT = 1, /* `w` is queued */
	CREDENTIAL_E_DOWN,     /* the core cannot be asked */
	CREDENTIAL_E_FULL,     /* more credentials than any deployment has */
};

void credential_cache_init(struct credential_cache *c, struct secret_arena *arena, struct ipc_edge *keyvault,
			   const struct pool_env *pool_env, credential_trust *trust, void *ctx);
/* 0 or CREDENTIAL_E_WAIT with a reference in *ret_credential, which credential_unref() returns; or another
 * CREDENTIAL_E_*. */
MUST_USE int credential_get(struct credential_cache *c, struct span id, struct credential_waiter *w,
			    struct credential **ret_credential);
/* No longer waiting. Idempotent. */
void credential_forget(struct credential_waiter *w);
void credential_unref(struct credential *c);
/* Removed or replaced: wipes the secret, closes idle connections, refuses those who wait. */
void credential_drop(struct credential_cache *c, struct span id);
void credential_drop_all(struct credential_cache *c, enum reason why);
/* True while connections are open or opening. */
bool credential_tick(struct credential_cache *c, uint64_t now_ms);
