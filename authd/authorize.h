/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this call be made? The one decision of the hot path, without I/O but for the store's look-up.
 *
 *   syntax and checksum of the key      KEY_INVALID
 *   pepper there?                       VAULT_SEALED
 *   cache, else store                   KEY_INVALID, STORE_GONE
 *   revoked, expired                    KEY_REVOKED, KEY_EXPIRED
 *   endpoint, model, scope of the key   NOT_FOUND, NO_MODEL, BAD_MODEL, MODEL_FORBIDDEN
 *   rate limit, looked at only          RATE_LIMITED
 *   routes with a stored credential     NO_CREDENTIAL
 *   edge key of the router's lane       EGRESS_GONE
 *   calls under way                     CONCURRENCY_LIMITED
 *   rate limit, taken; grant, minted    PERMIT
 *
 * What is refused for any reason takes nothing from the limit. What cannot be evaluated is refused as 503, never as a
 * wrong key. Pepper and edge keys lie in the secret arena, which is open only around the computations that need them.
 *
 * A permit that came to nothing because its egress has started anew is renewed (grants.h): that is no new call.
 */
#pragma once

#include "authd/cache.h"
#include "authd/concurrency.h"
#include "authd/grants.h"
#include "authd/models.h"
#include "authd/ratelimit.h"

/* What the secret arena must hold for this module: the pepper, besides. */
#define AUTHORIZE_ARENA_BYTES (GRANTS_ARENA_BYTES + 1024)

struct authorize_now {
	uint64_t monotonic_ms; /* for windows and the cache */
	uint64_t unix_ms;      /* for expiry */
};

/* Who asks: the router's connection, which is only compared, and its worker number. */
struct authorize_from {
	const void *peer;
	unsigned lane;
};

/* Zeroed but for the borrowed parts, which its user fills in and which outlive it, and the three numbers. */
struct authorize {
	struct store *store;
	struct cache *cache;
	struct ratelimit *limits;
	struct concurrency *calls;
	const struct models *models;
	const struct credentials *credentials;
	struct secret_arena *arena;
	uint64_t rpm_default, concurrent_default;
	uint64_t guard; /* as in PERMIT */

	struct secret pepper; /* prepared; SECRET_NULL: the vault is closed */
	struct grants grants;

	uint64_t permits, renewals, denials[N_REASONS], cache_hits, cache_misses;
};

/* Either message, and the memory that its spans view; valid until the credentials, the cache or the answer change. */
struct authorize_answer {
	enum reason reason; /* NONE: `permit` is the answer, else `deny` */
	struct proto_permit permit;
	struct proto_deny deny;

	const struct store_key *key; /* NULL: not known whose */
	struct store_key fresh;
	struct models_plan plan;
	struct proto_route routes[MODELS_ROUTES_MAX];
	uint8_t grant[GRANT_BYTES_MAX];
};

/* The vault speaks. 0, SECRET_E_FULL (a defect of sizes). The bytes may lie in an open arena. */
MUST_USE int authorize_set_pepper(struct authorize *a, struct span pepper);
/* The vault is closed: wipes pepper and edge keys, empties the cache. Idempotent. */
void authorize_seal(struct authorize *a);

/* 0 and *ret_answer, or negative. What it permits is under way until concurrency_end() of q->call. */
MUST_USE int authorize(struct authorize *a, const struct proto_authorize *q, struct authorize_from from,
		       struct authorize_now now, struct authorize_answer *ret_answer);
/* After an answer that permits: it is denied for a reason that others found. Counted. */
void authorize_deny(struct authorize *a, enum reason why, struct authorize_answer *answer);
/* The same permission for the epoch that is: `permit.grant`, and nothing else of it; or a reason. 0 or negative. */
MUST_USE int authorize_renew(struct authorize *a, struct span stale, unsigned lane, struct authorize_now now,
			     struct authorize_answer *ret_answer);
/* Whose key is this? The first four lines of the table only: for GET /v1/models. On reason NONE, ret_answer->key is
 * set. */
MUST_USE int authorize_key(struct authorize *a, struct span credential, struct authorize_now now,
			   struct authorize_answer *ret_answer);
/* Likewise, and takes one from its limit: for GET /v1/receipts. On reason NONE, the limit's state is in `permit`. */
MUST_USE int authorize_receipt(struct authorize *a, struct span credential, struct authorize_now now,
			       struct authorize_answer *ret_answer);
