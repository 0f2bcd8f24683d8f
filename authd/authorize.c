/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/authorize.h"

#include <assert.h>
#include <sodium.h>

#include "common/err.h"

static const struct authorize_endpoint {
	enum proto_method method;
	bool goes_upstream; /* else it is answered here, and AUTHORIZE is not how one asks for it */
} authorize_endpoints[N_ENDPOINTS] = {
#define ENDPOINT(NAME, number, method, path, suffix, body) [ENDPOINT_##NAME] = {PROTO_##method, sizeof(suffix) > 1},
#include "proto/endpoints.def"
#undef ENDPOINT
};

/* ---- what the vault gives and takes ---- */

int authorize_set_pepper(struct authorize *a, struct span pepper)
{
	int r = a->pepper.p ? 0 : secret_alloc(a->arena, HMAC_SCHEDULE_BYTES, &a->pepper);

	assert(pepper.len == TOKEN_PEPPER_BYTES);
	if (r)
		return r;
	secret_open(a->arena);
	hmac_prepare(pepper, a->pepper.p);
	secret_close(a->arena);
	return 0;
}

void authorize_seal(struct authorize *a)
{
	secret_free(a->arena, &a->pepper);
	grants_wipe(&a->grants);
	cache_clear(a->cache);
}

/* ---- whose key ---- */

/* The cache's answer, else the store's, which is then kept. REASON_NONE and answer->key, a reason, or negative. */
static int authorize_look_up(struct authorize *a, const uint8_t hmac[TOKEN_HMAC_BYTES], uint64_t now_ms,
			     struct authorize_answer *answer)
{
	uint64_t generation = cache_generation(a->cache);
	int r = cache_find(a->cache, hmac, now_ms, &answer->key);

	if (r != CACHE_E_MISS) {
		a->cache_hits++;
		return r == CACHE_E_UNKNOWN ? REASON_KEY_INVALID : err_fold(r);
	}
	a->cache_misses++;
	r = store_key_find(a->store, hmac, &answer->fresh);
	if (r == STORE_E_GONE)
		return REASON_STORE_GONE;
	if (r == STORE_E_NOT_FOUND) {
		r = cache_put_unknown(a->cache, generation, hmac, now_ms);
		return r < 0 ? r : REASON_KEY_INVALID;
	}
	if (r)
		return err_fold(r);
	r = cache_put(a->cache, generation, &answer->fresh, now_ms);
	answer->key = &answer->fresh;
	return r < 0 ? r : REASON_NONE;
}

static int authorize_identify(struct authorize *a, struct span credential, struct authorize_now now,
			      struct authorize_answer *answer)
{
	uint8_t hmac[TOKEN_HMAC_BYTES];
	int r;

	if (!a->pepper.p)
		return REASON_VAULT_SEALED;
	if (!token_plausible(credential))
		return REASON_KEY_INVALID;
	secret_open(a->arena);
	token_hmac(a->pepper.p, credential, hmac);
	secret_close(a->arena);
	r = authorize_look_up(a, hmac, now.monotonic_ms, answer);
	if (r)
		return r;
	if (answer->key->revoked_s)
		return REASON_KEY_REVOKED;
	if (answer->key->expires_s && answer->key->expires_s <= now.unix_ms / 1000)
		return REASON_KEY_EXPIRED;
	return REASON_NONE;
}

/* ---- what for ---- */

static int authorize_scope(const struct authorize *a, const struct proto_authorize *q, const struct store_key *key)
{
	if (q->endpoint >= N_ENDPOINTS || !authorize_endpoints[q->endpoint].goes_upstream)
		return REASON_NOT_FOUND;
	if (q->model.len == 0)
		return REASON_NO_MODEL;
	if (!config_model_valid(q->model))
		return REASON_BAD_MODEL;
	return models_permit(a->models, key->models, q->model) ? REASON_MODEL_FORBIDDEN : REASON_NONE;
}

static int authorize_routes(const struct authorize *a, const struct proto_authorize *q, const struct store_key *key,
			    struct models_plan *plan)
{
	switch (models_plan(a->models, a->credentials, span_str(key->tenant), key->models, q->model,
			    (enum endpoint)q->endpoint, plan)) {
	case 0:
		return REASON_NONE;
	case MODELS_E_NO_CREDENTIAL:
		return REASON_NO_CREDENTIAL;
	default:
		return REASON_MODEL_FORBIDDEN;
	}
}

/* ---- the permission ---- */

/* A grant does not outlive its key, as far as can be told now: the key's end is of the wall clock, the grant's is not.
 */
static uint64_t authorize_grant_end(const struct store_key *key, struct authorize_now now)
{
	uint64_t life_ms = GRANTS_LIFE_MS;

	if (key->expires_s)
		life_ms = MIN(life_ms, key->expires_s * 1000 - now.unix_ms);
	return now.monotonic_ms + life_ms;
}

static int authorize_mint(struct authorize *a, const struct proto_authorize *q, unsigned lane, struct authorize_now now,
			  struct authorize_answer *answer)
{
	struct proto_grant_route routes[MODELS_ROUTES_MAX];
	const struct store_key *key = answer->key;
	size_t len;

	for (size_t i = 0; i < answer->plan.n; i++) {
		const struct models_route *route = &answer->plan.routes[i];

		routes[i] = (struct proto_grant_route){.credential = span_str(route->credential),
						       .host = span_str(route->provider->url.host),
						       .port = route->provider->url.port,
						       .method = authorize_endpoints[q->endpoint].method,
						       .path = span_of(route->path, route->path_len)};
	}
	struct proto_grant grant = {.request_id = q->request_id,
				    .tenant = span_str(key->tenant),
				    .principal = span_str(key->id),
				    .body_bytes_max = q->body_bytes,
				    .expires_ms = authorize_grant_end(key, now),
				    .routes = {.items = routes, .count = answer->plan.n}};

	int r = grants_mint(&a->grants, lane, &grant, answer->grant, &len);
	if (r)
		return r;
	answer->permit.grant = span_of(answer->grant, len);
	return 0;
}

static void authorize_fill_permit(const struct authorize *a, const struct proto_authorize *q, uint64_t limit,
				  const struct ratelimit_verdict *v, struct authorize_answer *answer)
{
	for (size_t i = 0; i < answer->plan.n; i++) {
		const struct models_route *route = &answer->plan.routes[i];

		answer->routes[i] = (struct proto_route){.credential = span_str(route->credential),
							 .provider = span_str(route->provider->name),
							 .dialect = route->provider->dialect,
							 .path = span_of(route->path, route->path_len),
							 .model = q->model};
	}
	answer->permit.tenant = span_str(answer->key->tenant);
	answer->permit.principal = span_str(answer->key->id);
	answer->permit.guard = a->guard;
	answer->permit.price_in = answer->plan.price_in;
	answer->permit.price_out = answer->plan.price_out;
	answer->permit.limit = limit;
	answer->permit.remaining = v->remaining;
	answer->permit.reset_ms = v->reset_ms;
	answer->permit.routes = (struct proto_list){.items = answer->routes, .count = answer->plan.n};
}

/* Looks at the limit only. REASON_NONE or RATE_LIMITED; its state goes into `deny`. */
static int authorize_limit(struct authorize *a, uint64_t limit, uint64_t now_ms, struct ratelimit_verdict *v,
			   struct authorize_answer *answer)
{
	ratelimit_look(a->limits, span_str(answer->key->id), limit, now_ms, v);
	answer->deny.limit = limit;
	answer->deny.remaining = v->remaining;
	answer->deny.reset_ms = v->reset_ms;
	answer->deny.retry_after_ms = v->retry_after_ms;
	return v->admitted ? REASON_NONE : REASON_RATE_LIMITED;
}

static int authorize_take(struct authorize *a, uint64_t limit, uint64_t now_ms, struct ratelimit_verdict *v,
			  const struct authorize_answer *answer)
{
	int r = ratelimit_take(a->limits, span_str(answer->key->id), limit, now_ms, v);

	assert(r || v->admitted);
	return r == RATELIMIT_E_FULL ? REASON_OVERLOADED : r;
}

static int authorize_begin(struct authorize *a, const struct proto_authorize *q, struct authorize_from from,
			   const struct store_key *key)
{
	uint64_t limit = key->concurrent ? key->concurrent : a->concurrent_default;

	if (limit == 0)
		return REASON_NONE;
	int r = concurrency_begin(a->calls, from.peer, q->call, span_str(key->id), limit);
	return r == CONCURRENCY_E_LIMIT ? REASON_CONCURRENCY_LIMITED : r == CONCURRENCY_E_FULL ? REASON_OVERLOADED : r;
}

/* The table of authorize.h from the third line on. The key is known; the limit's state goes into `deny` as soon as it
 * is. */
static int authorize_call(struct authorize *a, const struct proto_authorize *q, struct authorize_from from,
			  struct authorize_now now, struct authorize_answer *answer)
{
	const struct store_key *key = answer->key;
	uint64_t limit = key->rpm ? key->rpm : a->rpm_default;
	struct ratelimit_verdict v;
	int r = authorize_scope(a, q, key);

	if (!r)
		r = authorize_limit(a, limit, now.monotonic_ms, &v, answer);
	if (r)
		return r;
	r = authorize_routes(a, q, key, &answer->plan);
	if (r)
		return r;
	if (!grants_lane_up(&a->grants, from.lane))
		return REASON_EGRESS_GONE;
	r = authorize_begin(a, q, from, key);
	if (r)
		return r;
	r = authorize_take(a, limit, now.monotonic_ms, &v, answer);
	if (!r) {
		authorize_fill_permit(a, q, limit, &v, answer);
		r = authorize_mint(a, q, from.lane, now, answer);
	}
	if (r)
		concurrency_end(a->calls, from.peer, q->call);
	return r;
}

void authorize_deny(struct authorize *a, enum reason why, struct authorize_answer *answer)
{
	answer->reason = why;
	a->denials[answer->reason]++;
	answer->deny.reason = answer->reason;
	answer->deny.tenant = answer->key ? span_str(answer->key->tenant) : SPAN_NULL;
	answer->deny.principal = answer->key ? span_str(answer->key->id) : SPAN_NULL;
	if (answer->reason != REASON_RATE_LIMITED)
		answer->deny.retry_after_ms = reason_row(answer->reason)->retry_ms;
}

/* `r`: a reason or negative. Completes the answer and counts it. */
static int authorize_conclude(struct authorize *a, int r, struct authorize_answer *answer)
{
	if (r < 0)
		return r;
	answer->reason = (enum reason)r;
	if (answer->reason != REASON_NONE)
		authorize_deny(a, answer->reason, answer);
	return 0;
}

int authorize_key(struct authorize *a, struct span credential, struct authorize_now now,
		  struct authorize_answer *ret_answer)
{
	ret_answer->key = NULL;
	ret_answer->deny = (struct proto_deny){0};
	return authorize_conclude(a, authorize_identify(a, credential, now, ret_answer), ret_answer);
}

int authorize(struct authorize *a, const struct proto_authorize *q, struct authorize_from from,
	      struct authorize_now now, struct authorize_answer *ret_answer)
{
	int r = authorize_key(a, q->credential, now, ret_answer);

	if (r || ret_answer->reason != REASON_NONE)
		return r;
	r = authorize_conclude(a, authorize_call(a, q, from, now, ret_answer), ret_answer);
	if (r == 0 && ret_answer->reason == REASON_NONE)
		a->permits++;
	return r;
}

int authorize_receipt(struct authorize *a, struct span credential, struct authorize_now now,
		      struct authorize_answer *ret_answer)
{
	struct ratelimit_verdict v;
	int r = authorize_key(a, credential, now, ret_answer);

	if (r || ret_answer->reason != REASON_NONE)
		return r;
	uint64_t limit = ret_answer->key->rpm ? ret_answer->key->rpm : a->rpm_default;
	r = authorize_limit(a, limit, now.monotonic_ms, &v, ret_answer);
	if (!r)
		r = authorize_take(a, limit, now.monotonic_ms, &v, ret_answer);
	ret_answer->permit.limit = limit;
	ret_answer->permit.remaining = v.remaining;
	ret_answer->permit.reset_ms = v.reset_ms;
	return authorize_conclude(a, r, ret_answer);
}

int authorize_renew(struct authorize *a, struct span stale, unsigned lane, struct authorize_now now,
		    struct authorize_answer *ret_answer)
{
	size_t len;

	ret_answer->key = NULL;
	ret_answer->deny = (struct proto_deny){0};
	int r = a->pepper.p ? grants_renew(&a->grants, lane, stale, now.monotonic_ms, ret_answer->grant, &len)
			    : REASON_VAULT_SEALED;
	if (r == REASON_NONE) {
		ret_answer->permit.grant = span_of(ret_answer->grant, len);
		a->renewals++;
	}
	return authorize_conclude(a, r, ret_answer);
}
