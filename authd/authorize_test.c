/* SPDX-License-Identifier: Apache-2.0 */
/* The store is a fake with a switch: store_sqlite.c has its own test, and here its absence is what matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>

#include "authd/authorize.h"
#include "proto/proto.h"

static const struct log log_of_test = {.daemon = "test"};

#define NOW_MS UINT64_C(1800000000000)

/* ---- the fake store ---- */

struct store {
	struct store_key keys[8];
	size_t n;
	bool gone;
	unsigned asked;
	void (*meanwhile)(struct store *s); /* something that happens while the store answers */
};

int store_key_find(struct store *s, const uint8_t hmac[TOKEN_HMAC_BYTES], struct store_key *ret_key)
{
	s->asked++;
	if (s->gone)
		return STORE_E_GONE;
	for (size_t i = 0; i < s->n; i++) {
		if (sodium_memcmp(s->keys[i].hmac, hmac, TOKEN_HMAC_BYTES) != 0)
			continue;
		*ret_key = s->keys[i];
		if (s->meanwhile)
			s->meanwhile(s);
		return 0;
	}
	return STORE_E_NOT_FOUND;
}

int store_credential_each(struct store *s, store_each_credential *each, void *ctx)
{
	(void)s;
	(void)each;
	(void)ctx;
	return STORE_E_GONE;
}

/* ---- a vault, a configuration, a key ---- */

static const uint8_t pepper[TOKEN_PEPPER_BYTES] = "pepper";
static const uint8_t edge_keys[2][GRANT_KEY_BYTES] = {"edge key of lane 0", "edge key of lane 1"};

static struct config_provider providers[] = {{.name = "openai", .base_url = "https://api.openai.com/v1"},
					     {.name = "local", .base_url = "https://upstream.test:18443/v1"}};
static struct config_model rules[] = {{.match = "gpt-*", .providers = "openai,local"},
				      {.match = "open-*", .providers = "local"}};
static const struct config config = {
	.providers = providers, .n_providers = ARRAY_LEN(providers), .models = rules, .n_models = ARRAY_LEN(rules)};

struct fixture {
	struct store store;
	struct credentials credentials;
	struct models *models;
	struct authorize a;
	struct authorize_answer answer;
	char key[TOKEN_BYTES];
	uint64_t ms;     /* since the beginning */
	int64_t wall_ms; /* that the wall clock was set forward */
};

static struct fixture f;

static int open_with(const uint8_t key[GRANT_KEY_BYTES], struct span bytes, struct proto_grant *ret_grant)
{
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(key, GRANT_KEY_BYTES), schedule);
	return grant_open(schedule, bytes, ret_grant);
}

static struct store_key *add_key(uint8_t seed, char text[TOKEN_BYTES])
{
	struct store_key *k = &f.store.keys[f.store.n++];
	uint8_t random[TOKEN_RANDOM_BYTES];

	memset(random, seed, sizeof(random));
	token_format(random, text);
	*k = (struct store_key){.tenant = "acme", .models = "gpt-*", .rpm = 3, .prefix = "bh_sk_aaaaaaaaa"};
	(void)snprintf(k->id, sizeof(k->id), "key_%u", seed);
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(pepper, sizeof(pepper)), schedule);
	token_hmac(schedule, span_of(text, TOKEN_BYTES), k->hmac);
	return k;
}

static const struct credentials_row openai_row = {"openai", "openai", "*", 1, 0, true};

static int set_lane(unsigned lane, uint64_t epoch, size_t key)
{
	return grants_set_lane(&f.a.grants,
			       &(struct proto_edge_key){lane, epoch, 1, 0, span_of(edge_keys[key], GRANT_KEY_BYTES)},
			       1000);
}

static int setup(void **state)
{
	(void)state;
	f = (struct fixture){0};
	f.a = (struct authorize){.store = &f.store, .credentials = &f.credentials, .rpm_default = 60, .guard = 0x1b};
	assert_int_equal(credentials_add(&f.credentials, &openai_row), 0);
	add_key(1, f.key);
	if (models_new(&config, &log_of_test, &f.models) || cache_new(100, 10, &f.a.cache) ||
	    ratelimit_new(RATELIMIT_BYTES_MAX, &f.a.limits) || secret_arena_new(AUTHORIZE_ARENA_BYTES, &f.a.arena))
		return -1;
	f.a.models = f.models;
	f.a.grants.arena = f.a.arena;
	return authorize_set_pepper(&f.a, span_of(pepper, sizeof(pepper))) || set_lane(0, 7, 0);
}

static int teardown(void **state)
{
	(void)state;
	authorize_seal(&f.a);
	assert_int_equal(secret_arena_used(f.a.arena), 0);
	f.a.limits = ratelimit_free(f.a.limits);
	f.a.cache = cache_free(f.a.cache);
	f.a.arena = secret_arena_free(f.a.arena);
	f.models = models_free(f.models);
	credentials_deinit(&f.credentials);
	return 0;
}

static struct proto_authorize question(void)
{
	return (struct proto_authorize){.credential = span_of(f.key, sizeof(f.key)),
					.address = SPAN_LIT("127.0.0.1"),
					.endpoint = ENDPOINT_CHAT_COMPLETIONS,
					.model = SPAN_LIT("gpt-x"),
					.request_id = SPAN_LIT("req-1"),
					.body_bytes = 1234};
}

static enum reason ask_of(const struct proto_authorize *q, unsigned lane)
{
	struct authorize_now now = {.monotonic_ms = 1000 + f.ms, .unix_ms = NOW_MS + f.ms + (uint64_t)f.wall_ms};

	assert_int_equal(authorize(&f.a, q, lane, now, &f.answer), 0);
	if (f.answer.reason != REASON_NONE)
		assert_int_equal(f.answer.deny.reason, f.answer.reason);
	return f.answer.reason;
}

static enum reason ask(void)
{
	struct proto_authorize q = question();
	return ask_of(&q, 0);
}

/* ---- permits ---- */

static void test_a_permit_and_its_grant(void **state)
{
	(void)state;
	struct proto_grant g;
	struct proto_grant_route route;

	assert_int_equal(ask(), REASON_NONE);
	assert_true(span_eq_str(f.answer.permit.tenant, "acme"));
	assert_true(span_eq_str(f.answer.permit.principal, "key_1"));
	assert_int_equal(f.answer.permit.guard, 0x1b);
	assert_int_equal(f.answer.permit.limit, 3);
	assert_int_equal(f.answer.permit.remaining, 2);
	assert_int_equal(f.answer.permit.reset_ms, 60000);
	assert_int_equal(f.answer.permit.routes.count, 1);
	assert_true(span_eq_str(f.answer.routes[0].path, "/v1/chat/completions"));
	assert_true(span_eq_str(f.answer.routes[0].model, "gpt-x") &&
		    span_eq_str(f.answer.routes[0].provider, "openai"));

	assert_int_equal(open_with(edge_keys[0], f.answer.permit.grant, &g), 0);
	assert_int_equal(g.epoch, 7);
	assert_int_equal(g.lane, 0);
	assert_int_equal(g.body_bytes_max, 1234);
	assert_int_equal(g.expires_ms, 1000 + GRANTS_LIFE_MS);
	assert_true(span_eq_str(g.request_id, "req-1") && span_eq_str(g.tenant, "acme") &&
		    span_eq_str(g.principal, "key_1"));
	assert_true(proto_grant_route_next(&g.routes, &route));
	assert_true(span_eq_str(route.credential, "openai") && span_eq_str(route.host, "api.openai.com"));
	assert_true(route.port == 443 && route.method == PROTO_POST && span_eq_str(route.path, "/v1/chat/completions"));
	assert_false(proto_grant_route_next(&g.routes, &route));
}

/* What leaves is within the bounds of the schema: the packer refuses otherwise. */
static void test_the_answers_can_be_packed(void **state)
{
	(void)state;
	uint8_t bytes[PROTO_FRAME_BYTES_MAX];
	size_t len;

	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(proto_pack(&proto_permit_desc, 1, &f.answer.permit, bytes, sizeof(bytes), &len), 0);
	f.store.keys[0].revoked_s = 1;
	cache_clear(f.a.cache);
	assert_int_equal(ask(), REASON_KEY_REVOKED);
	assert_int_equal(proto_pack(&proto_deny_desc, 1, &f.answer.deny, bytes, sizeof(bytes), &len), 0);
	assert_true(span_eq_str(f.answer.deny.tenant, "acme"));
	assert_true(span_eq_str(f.answer.deny.principal, "key_1"));
}

static void test_each_lane_has_its_own_key(void **state)
{
	(void)state;
	struct proto_authorize q = question();
	struct proto_grant g;

	assert_int_equal(ask_of(&q, 1), REASON_EGRESS_GONE);
	assert_int_equal(ask_of(&q, 255), REASON_EGRESS_GONE);
	assert_int_equal(ask_of(&q, 256), REASON_EGRESS_GONE);
	assert_int_equal(set_lane(1, 9, 1), 0);
	assert_int_equal(ask_of(&q, 1), REASON_NONE);
	assert_int_equal(open_with(edge_keys[0], f.answer.permit.grant, &g), GRANT_E_FORGED);
	assert_int_equal(open_with(edge_keys[1], f.answer.permit.grant, &g), 0);
	assert_int_equal(g.lane, 1);
	assert_int_equal(g.epoch, 9);
}

static void test_a_grant_does_not_outlive_its_key(void **state)
{
	(void)state;
	struct proto_grant g;

	f.store.keys[0].expires_s = NOW_MS / 1000 + 5;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(open_with(edge_keys[0], f.answer.permit.grant, &g), 0);
	assert_int_equal(g.expires_ms, 1000 + 5000);
	f.wall_ms = -3600000; /* the wall clock is set back an hour: the key lives longer, its grants do not */
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(open_with(edge_keys[0], f.answer.permit.grant, &g), 0);
	assert_int_equal(g.expires_ms, 1000 + GRANTS_LIFE_MS);
}

/* Nor is a full window its concern: it was permitted before. */
static void test_a_renewal_takes_nothing(void **state)
{
	(void)state;
	struct authorize_now now = {.monotonic_ms = 1000, .unix_ms = NOW_MS};
	uint8_t stale[GRANT_BYTES_MAX];

	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(), REASON_NONE);
	size_t len = f.answer.permit.grant.len;
	memcpy(stale, f.answer.grant, len);
	assert_int_equal(set_lane(0, 8, 1), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(authorize_renew(&f.a, span_of(stale, len), 0, now, &f.answer), 0);
		assert_int_equal(f.answer.reason, REASON_NONE);
	}
	assert_int_equal(f.a.permits, 3);
	assert_int_equal(f.a.renewals, 3);
	f.ms = 60000;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(f.answer.permit.remaining, 2);
	authorize_seal(&f.a);
	assert_int_equal(authorize_renew(&f.a, span_of(stale, len), 0, now, &f.answer), 0);
	assert_int_equal(f.answer.reason, REASON_VAULT_SEALED);
	assert_int_equal(f.answer.deny.retry_after_ms, 5000);
}

/* ---- refusals, in their order ---- */

static void test_garbage_is_refused_without_a_lookup(void **state)
{
	(void)state;
	struct proto_authorize q = question();

	f.key[20] = f.key[20] == 'a' ? 'b' : 'a';
	assert_int_equal(ask(), REASON_KEY_INVALID);
	q.credential = SPAN_LIT("sk-proj-123");
	assert_int_equal(ask_of(&q, 0), REASON_KEY_INVALID);
	authorize_seal(&f.a); /* readiness is asked for with garbage */
	assert_int_equal(ask_of(&q, 0), REASON_VAULT_SEALED);
	assert_int_equal(f.store.asked, 0);
	assert_int_equal(f.answer.deny.tenant.len, 0);
}

static void test_sealed(void **state)
{
	(void)state;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(cache_known(f.a.cache), 1);
	authorize_seal(&f.a);
	assert_int_equal(cache_known(f.a.cache), 0);
	assert_int_equal(ask(), REASON_VAULT_SEALED);
	assert_int_equal(f.answer.deny.retry_after_ms, 5000);
	assert_int_equal(secret_arena_used(f.a.arena), 0);
	assert_int_equal(authorize_set_pepper(&f.a, span_of(pepper, sizeof(pepper))), 0);
	assert_int_equal(ask(), REASON_EGRESS_GONE);
	assert_int_equal(set_lane(0, 8, 0), 0);
	assert_int_equal(ask(), REASON_NONE);
}

static void test_an_unknown_key_is_asked_for_once(void **state)
{
	(void)state;
	f.store.n = 0;
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(), REASON_KEY_INVALID);
	assert_int_equal(f.store.asked, 1);
	assert_int_equal(f.a.cache_hits, 4);
}

static void test_another_pepper_knows_no_key(void **state)
{
	(void)state;
	static const uint8_t other[TOKEN_PEPPER_BYTES] = "another vault's";

	assert_int_equal(authorize_set_pepper(&f.a, span_of(other, sizeof(other))), 0);
	assert_int_equal(ask(), REASON_KEY_INVALID);
}

static void test_expiry_is_by_the_wall_clock(void **state)
{
	(void)state;
	f.store.keys[0].expires_s = NOW_MS / 1000 + 10;
	assert_int_equal(ask(), REASON_NONE);
	f.ms = 9999;
	assert_int_equal(ask(), REASON_NONE);
	f.ms = 10000; /* still in the cache, and expired all the same */
	assert_int_equal(ask(), REASON_KEY_EXPIRED);
}

static void test_what_is_asked_for(void **state)
{
	(void)state;
	static const struct {
		const char *model;
		uint64_t endpoint;
		enum reason reason;
	} rows[] = {
		{"gpt-x", 63, REASON_NOT_FOUND},
		{"gpt-x", ENDPOINT_MODELS, REASON_NOT_FOUND},
		{"", ENDPOINT_CHAT_COMPLETIONS, REASON_NO_MODEL},
		{"../gpt-x", ENDPOINT_CHAT_COMPLETIONS, REASON_BAD_MODEL},
		{"gpt-..", ENDPOINT_CHAT_COMPLETIONS, REASON_BAD_MODEL},
		{"open-x", ENDPOINT_CHAT_COMPLETIONS, REASON_MODEL_FORBIDDEN}, /* a rule, but not this key's scope */
		{"claude", ENDPOINT_CHAT_COMPLETIONS, REASON_MODEL_FORBIDDEN},
	};
	struct proto_authorize q = question();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		q.model = span_str(rows[i].model);
		q.endpoint = rows[i].endpoint;
		assert_int_equal(ask_of(&q, 0), rows[i].reason);
		assert_true(span_eq_str(f.answer.deny.principal, "key_1"));
	}
	assert_int_equal(ratelimit_windows(f.a.limits), 0);
}

static void test_no_credential_is_not_any_credential(void **state)
{
	(void)state;
	f.credentials.n = 0;
	assert_int_equal(ask(), REASON_NO_CREDENTIAL);
	assert_int_equal(f.answer.deny.retry_after_ms, 30000);
}

static void test_the_limit(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		f.ms = 1000 * i;
		assert_int_equal(ask(), REASON_NONE);
		assert_int_equal(f.answer.permit.remaining, 2 - i);
	}
	assert_int_equal(ask(), REASON_RATE_LIMITED);
	assert_int_equal(f.answer.deny.limit, 3);
	assert_int_equal(f.answer.deny.remaining, 0);
	assert_int_equal(f.answer.deny.retry_after_ms, 58000);
	assert_int_equal(f.answer.deny.reset_ms, 58000);
	f.ms = 60000;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(ask(), REASON_RATE_LIMITED);
}

static void test_a_key_without_a_limit_has_the_default(void **state)
{
	(void)state;
	f.store.keys[0].rpm = 0;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(f.answer.permit.limit, 60);
	assert_int_equal(f.answer.permit.remaining, 59);
}

static void test_what_is_refused_for_other_reasons_takes_nothing(void **state)
{
	(void)state;
	struct proto_authorize q = question();

	for (int i = 0; i < 10; i++)
		assert_int_equal(ask_of(&q, 1), REASON_EGRESS_GONE);
	f.credentials.n = 0;
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(), REASON_NO_CREDENTIAL);
	f.credentials.n = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(ask(), REASON_RATE_LIMITED);
	assert_int_equal(f.a.permits, 3);
	assert_int_equal(f.a.denials[REASON_EGRESS_GONE], 10);
	assert_int_equal(f.a.denials[REASON_RATE_LIMITED], 1);
}

/* ---- the store goes away ---- */

static void test_an_outage_is_answered_from_what_is_known_then_503(void **state)
{
	(void)state;
	char stranger[TOKEN_BYTES];
	struct proto_authorize q = question();

	f.store.keys[0].rpm = 100;
	assert_int_equal(ask(), REASON_NONE);
	f.store.gone = true;
	f.ms = CACHE_TTL_MS - 1;
	assert_int_equal(ask(), REASON_NONE);
	add_key(2, stranger);
	q.credential = span_of(stranger, sizeof(stranger));
	assert_int_equal(ask_of(&q, 0), REASON_STORE_GONE); /* never 401 */
	assert_int_equal(reason_row(f.answer.reason)->status, 503);
	f.ms = CACHE_TTL_MS;
	assert_int_equal(ask(), REASON_STORE_GONE);
	assert_int_equal(f.answer.deny.retry_after_ms, 1000);
	f.store.gone = false;
	assert_int_equal(ask(), REASON_NONE);
	assert_int_equal(ask_of(&q, 0), REASON_NONE);
}

static void revoke_meanwhile(struct store *s)
{
	s->keys[0].revoked_s = 1;
	cache_forget(f.a.cache, s->keys[0].hmac);
	s->meanwhile = NULL;
}

static void test_revoked_while_the_store_answers(void **state)
{
	(void)state;
	f.store.meanwhile = revoke_meanwhile;
	(void)ask(); /* this one was on its way */
	assert_int_equal(ask(), REASON_KEY_REVOKED);
	assert_int_equal(f.store.asked, 2);
	assert_int_equal(ask(), REASON_KEY_REVOKED); /* from the cache: answers are kept again */
	assert_int_equal(f.store.asked, 2);
}

static void test_whose_key_takes_nothing(void **state)
{
	(void)state;
	struct authorize_now now = {.monotonic_ms = 1, .unix_ms = NOW_MS};

	for (int i = 0; i < 10; i++) {
		assert_int_equal(authorize_key(&f.a, span_of(f.key, sizeof(f.key)), now, &f.answer), 0);
		assert_int_equal(f.answer.reason, REASON_NONE);
		assert_string_equal(f.answer.key->id, "key_1");
	}
	assert_int_equal(ratelimit_windows(f.a.limits), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_a_permit_and_its_grant),
		T(test_the_answers_can_be_packed),
		T(test_each_lane_has_its_own_key),
		T(test_a_grant_does_not_outlive_its_key),
		T(test_a_renewal_takes_nothing),
		T(test_garbage_is_refused_without_a_lookup),
		T(test_sealed),
		T(test_an_unknown_key_is_asked_for_once),
		T(test_another_pepper_knows_no_key),
		T(test_expiry_is_by_the_wall_clock),
		T(test_what_is_asked_for),
		T(test_no_credential_is_not_any_credential),
		T(test_the_limit),
		T(test_a_key_without_a_limit_has_the_default),
		T(test_what_is_refused_for_other_reasons_takes_nothing),
		T(test_an_outage_is_answered_from_what_is_known_then_503),
		T(test_revoked_while_the_store_answers),
		T(test_whose_key_takes_nothing),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
