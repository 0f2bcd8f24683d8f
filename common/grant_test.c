/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>

#include "common/grant.h"
#include "proto/proto.h"

static const uint8_t key_a[GRANT_KEY_BYTES] = "an edge key of egress worker 0";
static const uint8_t key_b[GRANT_KEY_BYTES] = "an edge key of egress worker 1";

static int mint_with(const uint8_t key[GRANT_KEY_BYTES], const struct proto_grant *grant, uint8_t *to, size_t cap,
		     size_t *ret_len)
{
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(key, GRANT_KEY_BYTES), schedule);
	return grant_mint(schedule, grant, to, cap, ret_len);
}

static int open_with(const uint8_t key[GRANT_KEY_BYTES], struct span bytes, struct proto_grant *ret_grant)
{
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(key, GRANT_KEY_BYTES), schedule);
	return grant_open(schedule, bytes, ret_grant);
}

static const struct proto_grant_route routes[] = {
	{.credential = {(const uint8_t *)"openai", 6},
	 .host = {(const uint8_t *)"api.openai.com", 14},
	 .port = 443,
	 .method = PROTO_POST,
	 .path = {(const uint8_t *)"/v1/chat/completions", 20}},
	{.credential = {(const uint8_t *)"local", 5},
	 .host = {(const uint8_t *)"upstream.test", 13},
	 .port = 18443,
	 .method = PROTO_POST,
	 .path = {(const uint8_t *)"/v1/chat/completions", 20}},
};

static struct proto_grant sample(void)
{
	return (struct proto_grant){
		.series = 3,
		.number = 70000,
		.epoch = 7,
		.lane = 1,
		.request_id = SPAN_LIT("req-1"),
		.tenant = SPAN_LIT("acme"),
		.principal = SPAN_LIT("key_1"),
		.body_bytes_max = 4096,
		.expires_ms = 1800000000000,
		.routes = {.items = routes, .count = ARRAY_LEN(routes)},
	};
}

static size_t mint_sample(uint8_t to[GRANT_BYTES_MAX])
{
	struct proto_grant g = sample();
	size_t len = 0;

	assert_int_equal(mint_with(key_a, &g, to, GRANT_BYTES_MAX, &len), 0);
	return len;
}

static void test_open_returns_what_was_minted(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len = mint_sample(bytes);
	struct proto_grant g;
	struct proto_grant_route route;

	assert_int_equal(open_with(key_a, span_of(bytes, len), &g), 0);
	assert_int_equal(g.series, 3);
	assert_int_equal(g.number, 70000);
	assert_int_equal(g.renewed, 0);
	assert_int_equal(g.epoch, 7);
	assert_int_equal(g.lane, 1);
	assert_true(span_eq_str(g.request_id, "req-1"));
	assert_true(span_eq_str(g.tenant, "acme"));
	assert_true(span_eq_str(g.principal, "key_1"));
	assert_int_equal(g.body_bytes_max, 4096);
	assert_int_equal(g.expires_ms, 1800000000000);
	assert_true(proto_grant_route_next(&g.routes, &route));
	assert_true(span_eq_str(route.host, "api.openai.com"));
	assert_true(proto_grant_route_next(&g.routes, &route));
	assert_true(span_eq_str(route.host, "upstream.test"));
	assert_int_equal(route.port, 18443);
	assert_false(proto_grant_route_next(&g.routes, &route));
}

static void test_every_flipped_bit_is_refused(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len = mint_sample(bytes);
	struct proto_grant g;

	for (size_t bit = 0; bit < len * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		assert_int_equal(open_with(key_a, span_of(bytes, len), &g), GRANT_E_FORGED);
		bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
	}
	assert_int_equal(open_with(key_a, span_of(bytes, len), &g), 0);
}

static void test_every_other_length_is_refused(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX + 1] = {0};
	size_t len = mint_sample(bytes);
	struct proto_grant g;

	for (size_t n = 0; n <= sizeof(bytes); n++)
		assert_int_equal(open_with(key_a, span_of(bytes, n), &g), n == len ? 0 : GRANT_E_FORGED);
	assert_int_equal(open_with(key_a, SPAN_NULL, &g), GRANT_E_FORGED);
}

static void test_a_foreign_key_is_refused(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len = mint_sample(bytes);
	struct proto_grant g;

	assert_int_equal(open_with(key_b, span_of(bytes, len), &g), GRANT_E_FORGED);
	for (size_t bit = 0; bit < sizeof(key_a) * 8; bit++) {
		uint8_t key[GRANT_KEY_BYTES];

		memcpy(key, key_a, sizeof(key));
		key[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		assert_int_equal(open_with(key, span_of(bytes, len), &g), GRANT_E_FORGED);
	}
}

/* The same key may have authenticated something else; only the label tells the two apart. */
static void test_a_mac_without_the_label_is_refused(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len = mint_sample(bytes);
	struct proto_grant g;

	assert_int_equal(crypto_auth_hmacsha256(bytes, bytes + GRANT_MAC_BYTES, len - GRANT_MAC_BYTES, key_a), 0);
	assert_int_equal(open_with(key_a, span_of(bytes, len), &g), GRANT_E_FORGED);
}

/* A right MAC over a record that is not one: refused, and the caller's struct is untouched. */
static void test_an_authentic_record_is_still_parsed_strictly(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX + 1] = {0};
	size_t len = mint_sample(bytes) + 1; /* a trailing byte */
	struct proto_grant g = {.epoch = 42};
	crypto_auth_hmacsha256_state s;

	crypto_auth_hmacsha256_init(&s, key_a, sizeof(key_a));
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)"bulkhead grant 1", 16);
	crypto_auth_hmacsha256_update(&s, bytes + GRANT_MAC_BYTES, len - GRANT_MAC_BYTES);
	crypto_auth_hmacsha256_final(&s, bytes);
	assert_int_equal(open_with(key_a, span_of(bytes, len), &g), GRANT_E_MALFORMED);
	assert_int_equal(g.epoch, 42);
}

static void test_mint_says_when_it_does_not_fit(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len = mint_sample(bytes), ret = 99;
	struct proto_grant g = sample();

	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(mint_with(key_a, &g, bytes, cap, &ret), GRANT_E_SPACE);
	assert_int_equal(ret, 99);
	assert_int_equal(mint_with(key_a, &g, bytes, len, &ret), 0);
	assert_int_equal(ret, len);
}

static void test_mint_refuses_what_the_schema_forbids(void **state)
{
	(void)state;
	uint8_t bytes[GRANT_BYTES_MAX];
	struct proto_grant g = sample();
	size_t len;

	g.epoch = 0;
	assert_true(mint_with(key_a, &g, bytes, sizeof(bytes), &len) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_returns_what_was_minted),
		cmocka_unit_test(test_every_flipped_bit_is_refused),
		cmocka_unit_test(test_every_other_length_is_refused),
		cmocka_unit_test(test_a_foreign_key_is_refused),
		cmocka_unit_test(test_a_mac_without_the_label_is_refused),
		cmocka_unit_test(test_an_authentic_record_is_still_parsed_strictly),
		cmocka_unit_test(test_mint_says_when_it_does_not_fit),
		cmocka_unit_test(test_mint_refuses_what_the_schema_forbids),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
