/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/authorize_world.h"

/* ---- permits ---- */

static void test_a_permit_and_its_grant(void **state)
{
	(void)state;
	struct proto_grant g;
	struct proto_grant_route route;

	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_true(span_eq_str(world.answer.permit.tenant, "acme"));
	assert_true(span_eq_str(world.answer.permit.principal, "key_1"));
	assert_int_equal(world.answer.permit.guard, 0x1b);
	assert_int_equal(world.answer.permit.limit, 3);
	assert_int_equal(world.answer.permit.remaining, 2);
	assert_int_equal(world.answer.permit.reset_ms, 60000);
	assert_int_equal(world.answer.permit.routes.count, 1);
	assert_true(span_eq_str(world.answer.routes[0].path, "/v1/chat/completions"));
	assert_true(span_eq_str(world.answer.routes[0].model, "gpt-x") &&
		    span_eq_str(world.answer.routes[0].provider, "openai"));

	assert_int_equal(world_open(world_edge_keys[0], world.answer.permit.grant, &g), 0);
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

	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(proto_pack(&proto_permit_desc, 1, &world.answer.permit, bytes, sizeof(bytes), &len), 0);
	world.store.keys[0].revoked_s = 1;
	cache_clear(world.a.cache);
	assert_int_equal(world_ask_usual(), REASON_KEY_REVOKED);
	assert_int_equal(proto_pack(&proto_deny_desc, 1, &world.answer.deny, bytes, sizeof(bytes), &len), 0);
	assert_true(span_eq_str(world.answer.deny.tenant, "acme"));
	assert_true(span_eq_str(world.answer.deny.principal, "key_1"));
}

static void test_each_lane_has_its_own_key(void **state)
{
	(void)state;
	struct proto_authorize q = world_question();
	struct proto_grant g;

	assert_int_equal(world_ask(&q, 1), REASON_EGRESS_GONE);
	assert_int_equal(world_ask(&q, 255), REASON_EGRESS_GONE);
	assert_int_equal(world_ask(&q, 256), REASON_EGRESS_GONE);
	assert_int_equal(world_set_lane(1, 9, 1), 0);
	assert_int_equal(world_ask(&q, 1), REASON_NONE);
	assert_int_equal(world_open(world_edge_keys[0], world.answer.permit.grant, &g), GRANT_E_FORGED);
	assert_int_equal(world_open(world_edge_keys[1], world.answer.permit.grant, &g), 0);
	assert_int_equal(g.lane, 1);
	assert_int_equal(g.epoch, 9);
}

static void test_a_grant_does_not_outlive_its_key(void **state)
{
	(void)state;
	struct proto_grant g;

	world.store.keys[0].expires_s = WORLD_NOW_MS / 1000 + 5;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_open(world_edge_keys[0], world.answer.permit.grant, &g), 0);
	assert_int_equal(g.expires_ms, 1000 + 5000);
	world.wall_ms = -3600000; /* the wall clock is set back an hour: the key lives longer, its grants do not */
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_open(world_edge_keys[0], world.answer.permit.grant, &g), 0);
	assert_int_equal(g.expires_ms, 1000 + GRANTS_LIFE_MS);
}

/* Nor is a full window its concern: it was permitted before. */
static void test_a_renewal_takes_nothing(void **state)
{
	(void)state;
	struct authorize_now now = {.monotonic_ms = 1000, .unix_ms = WORLD_NOW_MS};
	uint8_t stale[GRANT_BYTES_MAX];

	for (int i = 0; i < 3; i++)
		assert_int_equal(world_ask_usual(), REASON_NONE);
	size_t len = world.answer.permit.grant.len;
	memcpy(stale, world.answer.grant, len);
	assert_int_equal(world_set_lane(0, 8, 1), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(authorize_renew(&world.a, span_of(stale, len), 0, now, &world.answer), 0);
		assert_int_equal(world.answer.reason, REASON_NONE);
	}
	assert_int_equal(world.a.permits, 3);
	assert_int_equal(world.a.renewals, 3);
	world.ms = 60000;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world.answer.permit.remaining, 2);
	authorize_seal(&world.a);
	assert_int_equal(authorize_renew(&world.a, span_of(stale, len), 0, now, &world.answer), 0);
	assert_int_equal(world.answer.reason, REASON_VAULT_SEALED);
	assert_int_equal(world.answer.deny.retry_after_ms, 5000);
}

/* ---- refusals, in their order ---- */

static void test_garbage_is_refused_without_a_lookup(void **state)
{
	(void)state;
	struct proto_authorize q = world_question();

	world.key[20] = world.key[20] == 'a' ? 'b' : 'a';
	assert_int_equal(world_ask_usual(), REASON_KEY_INVALID);
	q.credential = SPAN_LIT("sk-proj-123");
	assert_int_equal(world_ask(&q, 0), REASON_KEY_INVALID);
	authorize_seal(&world.a); /* readiness is asked for with garbage */
	assert_int_equal(world_ask(&q, 0), REASON_VAULT_SEALED);
	assert_int_equal(world.store.asked, 0);
	assert_int_equal(world.answer.deny.tenant.len, 0);
}

static void test_sealed(void **state)
{
	(void)state;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(cache_known(world.a.cache), 1);
	authorize_seal(&world.a);
	assert_int_equal(cache_known(world.a.cache), 0);
	assert_int_equal(world_ask_usual(), REASON_VAULT_SEALED);
	assert_int_equal(world.answer.deny.retry_after_ms, 5000);
	assert_int_equal(secret_arena_used(world.a.arena), 0);
	assert_int_equal(authorize_set_pepper(&world.a, span_of(world_pepper, sizeof(world_pepper))), 0);
	assert_int_equal(world_ask_usual(), REASON_EGRESS_GONE);
	assert_int_equal(world_set_lane(0, 8, 0), 0);
	assert_int_equal(world_ask_usual(), REASON_NONE);
}

static void test_an_unknown_key_is_asked_for_once(void **state)
{
	(void)state;
	world.store.n = 0;
	for (int i = 0; i < 5; i++)
		assert_int_equal(world_ask_usual(), REASON_KEY_INVALID);
	assert_int_equal(world.store.asked, 1);
	assert_int_equal(world.a.cache_hits, 4);
}

static void test_another_pepper_knows_no_key(void **state)
{
	(void)state;
	static const uint8_t other[TOKEN_PEPPER_BYTES] = "another vault's";

	assert_int_equal(authorize_set_pepper(&world.a, span_of(other, sizeof(other))), 0);
	assert_int_equal(world_ask_usual(), REASON_KEY_INVALID);
}

static void test_expiry_is_by_the_wall_clock(void **state)
{
	(void)state;
	world.store.keys[0].expires_s = WORLD_NOW_MS / 1000 + 10;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	world.ms = 9999;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	world.ms = 10000; /* still in the cache, and expired all the same */
	assert_int_equal(world_ask_usual(), REASON_KEY_EXPIRED);
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
	struct proto_authorize q = world_question();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		q.model = span_str(rows[i].model);
		q.endpoint = rows[i].endpoint;
		assert_int_equal(world_ask(&q, 0), rows[i].reason);
		assert_true(span_eq_str(world.answer.deny.principal, "key_1"));
	}
	assert_int_equal(ratelimit_windows(world.a.limits), 0);
}

static void test_no_credential_is_not_any_credential(void **state)
{
	(void)state;
	world.credentials.n = 0;
	assert_int_equal(world_ask_usual(), REASON_NO_CREDENTIAL);
	assert_int_equal(world.answer.deny.retry_after_ms, 30000);
}

/* ---- the store goes away ---- */

static void test_an_outage_is_answered_from_what_is_known_then_503(void **state)
{
	(void)state;
	char stranger[TOKEN_BYTES];
	struct proto_authorize q = world_question();

	world.store.keys[0].rpm = 100;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	world.store.gone = true;
	world.ms = CACHE_TTL_MS - 1;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	world_add_key(2, stranger);
	q.credential = span_of(stranger, sizeof(stranger));
	assert_int_equal(world_ask(&q, 0), REASON_STORE_GONE); /* never 401 */
	assert_int_equal(reason_row(world.answer.reason)->status, 503);
	world.ms = CACHE_TTL_MS;
	assert_int_equal(world_ask_usual(), REASON_STORE_GONE);
	assert_int_equal(world.answer.deny.retry_after_ms, 1000);
	world.store.gone = false;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask(&q, 0), REASON_NONE);
}

static void revoke_meanwhile(struct store *s)
{
	s->keys[0].revoked_s = 1;
	cache_forget(world.a.cache, s->keys[0].hmac);
	s->meanwhile = NULL;
}

static void test_revoked_while_the_store_answers(void **state)
{
	(void)state;
	world.store.meanwhile = revoke_meanwhile;
	(void)world_ask_usual(); /* this one was on its way */
	assert_int_equal(world_ask_usual(), REASON_KEY_REVOKED);
	assert_int_equal(world.store.asked, 2);
	assert_int_equal(world_ask_usual(), REASON_KEY_REVOKED); /* from the cache: answers are kept again */
	assert_int_equal(world.store.asked, 2);
}

static void test_whose_key_takes_nothing(void **state)
{
	(void)state;
	struct authorize_now now = {.monotonic_ms = 1, .unix_ms = WORLD_NOW_MS};

	for (int i = 0; i < 10; i++) {
		assert_int_equal(authorize_key(&world.a, span_of(world.key, sizeof(world.key)), now, &world.answer), 0);
		assert_int_equal(world.answer.reason, REASON_NONE);
		assert_string_equal(world.answer.key->id, "key_1");
	}
	assert_int_equal(ratelimit_windows(world.a.limits), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
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
		T(test_an_outage_is_answered_from_what_is_known_then_503),
		T(test_revoked_while_the_store_answers),
		T(test_whose_key_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
