/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/grants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>

#define NOW_MS UINT64_C(7200000) /* monotonic */

static const uint8_t keys[3][GRANT_KEY_BYTES] = {"the first key", "the second", "the third"};

static struct fixture {
	struct grants grants;
	uint8_t first[GRANT_BYTES_MAX]; /* a grant of epoch 7, under the first key */
	size_t first_len;
	uint8_t bytes[GRANT_BYTES_MAX];
	size_t len;
} f;

static const uint8_t *schedule(size_t key)
{
	static uint8_t prepared[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(keys[key], GRANT_KEY_BYTES), prepared);
	return prepared;
}

static void tell(unsigned lane, uint64_t epoch, uint64_t series, size_t key)
{
	const struct proto_edge_key k = {lane, epoch, series, 0, span_of(keys[key], GRANT_KEY_BYTES)};

	assert_int_equal(grants_set_lane(&f.grants, &k, NOW_MS), 0);
}

static void set_lane(unsigned lane, uint64_t epoch, size_t key)
{
	tell(lane, epoch, 1, key);
}

static const struct proto_grant_route route = {.credential = {(const uint8_t *)"openai", 6},
					       .host = {(const uint8_t *)"api.openai.com", 14},
					       .port = 443,
					       .method = PROTO_POST,
					       .path = {(const uint8_t *)"/v1/chat/completions", 20}};

static void mint(uint8_t to[GRANT_BYTES_MAX], size_t *ret_len)
{
	struct proto_grant grant = {.request_id = SPAN_LIT("req-1"),
				    .tenant = SPAN_LIT("acme"),
				    .principal = SPAN_LIT("key_1"),
				    .body_bytes_max = 100,
				    .expires_ms = NOW_MS + GRANTS_LIFE_MS,
				    .routes = {.items = &route, .count = 1}};

	assert_int_equal(grants_mint(&f.grants, 0, &grant, to, ret_len), 0);
}

static int setup(void **state)
{
	(void)state;
	f = (struct fixture){0};
	if (secret_arena_new(GRANTS_ARENA_BYTES, &f.grants.arena))
		return -1;
	set_lane(0, 7, 0);
	mint(f.first, &f.first_len);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	grants_wipe(&f.grants);
	assert_int_equal(secret_arena_used(f.grants.arena), 0);
	assert_false(grants_lane_up(&f.grants, 0));
	f.grants.arena = secret_arena_free(f.grants.arena);
	return 0;
}

static enum reason renew(const uint8_t *stale, size_t len, unsigned lane, uint64_t after_ms)
{
	int r = grants_renew(&f.grants, lane, span_of(stale, len), NOW_MS + after_ms, f.bytes, &f.len);

	assert_true(r >= 0);
	return (enum reason)r;
}

/* A grant of so many routes; its number. */
static uint64_t number_of(unsigned lane, size_t n, uint64_t epoch, uint64_t series)
{
	struct proto_grant_route routes[4] = {route, route, route, route};
	struct proto_grant grant = {.request_id = SPAN_LIT("req-1"),
				    .tenant = SPAN_LIT("acme"),
				    .principal = SPAN_LIT("key_1"),
				    .routes = {.items = routes, .count = n}};

	assert_int_equal(grants_mint(&f.grants, lane, &grant, f.bytes, &f.len), 0);
	assert_int_equal(grant.epoch, epoch);
	assert_int_equal(grant.series, series);
	assert_int_equal(grant.renewed, 0);
	return grant.number;
}

static void test_each_route_has_a_number(void **state)
{
	(void)state;

	assert_int_equal(number_of(0, 1, 7, 1), 1); /* the setup made one */
	assert_int_equal(number_of(0, 4, 7, 1), 2);
	assert_int_equal(number_of(0, 2, 7, 1), 6);
	assert_int_equal(number_of(0, 1, 7, 1), 8);
	set_lane(1, 7, 1);
	assert_int_equal(number_of(1, 1, 7, 1), 0); /* each lane counts for itself */
	assert_int_equal(number_of(0, 1, 7, 1), 9);
}

static void test_counting_begins_anew_with_key_or_series_only(void **state)
{
	(void)state;

	set_lane(0, 7, 0); /* the core was away and says it again */
	assert_int_equal(number_of(0, 1, 7, 1), 1);
	tell(0, 7, 2, 0);
	assert_int_equal(number_of(0, 1, 7, 2), 0);
	tell(0, 8, 2, 1);
	assert_int_equal(number_of(0, 1, 8, 2), 0);
	assert_int_equal(number_of(0, 1, 8, 2), 1);
}

static void test_the_arena_has_room_for_every_lane(void **state)
{
	(void)state;

	for (unsigned i = 0; i < 2; i++) /* each a key and the one before */
		for (unsigned lane = 0; lane < GRANTS_LANES_MAX; lane++)
			set_lane(lane, 8 + i, 1 + i);
	assert_true(grants_lane_up(&f.grants, GRANTS_LANES_MAX - 1));
	assert_false(grants_lane_up(&f.grants, GRANTS_LANES_MAX));
}

static void test_a_renewed_grant_is_the_same_under_the_new_key(void **state)
{
	(void)state;
	struct proto_grant was, is;

	set_lane(0, 8, 1);
	assert_int_equal(renew(f.first, f.first_len, 0, 5000), REASON_NONE);
	assert_int_equal(grant_open(schedule(0), span_of(f.first, f.first_len), &was), 0);
	assert_int_equal(grant_open(schedule(1), span_of(f.bytes, f.len), &is), 0);
	assert_int_equal(was.renewed, 0);
	assert_int_equal(is.renewed, 1); /* so the egress lets one of any number through */
	assert_int_equal(is.series, was.series);
	assert_int_equal(is.number, was.number);
	assert_int_equal(is.expires_ms, was.expires_ms);
	assert_int_equal(was.epoch, 7);
	assert_int_equal(is.epoch, 8);
	assert_int_equal(is.lane, 0);
	assert_int_equal(is.body_bytes_max, was.body_bytes_max);
	assert_true(span_eq(is.request_id, was.request_id) && span_eq(is.tenant, was.tenant));
	assert_true(span_eq(is.principal, was.principal) && span_eq(is.routes.raw, was.routes.raw));
}

static void test_only_the_epoch_before_is_renewed(void **state)
{
	(void)state;
	uint8_t second[GRANT_BYTES_MAX], again[GRANT_BYTES_MAX];
	size_t second_len, again_len;

	assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_GRANT_STALE); /* there has been no other */
	set_lane(0, 8, 1);
	mint(second, &second_len);
	assert_int_equal(renew(second, second_len, 0, 0), REASON_GRANT_STALE);
	assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_NONE);
	set_lane(0, 8, 1); /* the core was away and says it again */
	assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_NONE);
	memcpy(again, f.bytes, f.len);
	again_len = f.len;
	set_lane(0, 9, 2);
	assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_GRANT_STALE);
	assert_int_equal(renew(again, again_len, 0, 0), REASON_GRANT_STALE); /* its numbers are of epoch 7 */
	assert_int_equal(renew(second, second_len, 0, 0), REASON_NONE);
	grants_wipe(&f.grants);
	assert_int_equal(renew(second, second_len, 0, 0), REASON_EGRESS_GONE);
	set_lane(0, 10, 0);
	assert_int_equal(renew(second, second_len, 0, 0), REASON_GRANT_STALE); /* a seal leaves nothing to go by */
}

static void test_what_was_revoked_is_not_renewed(void **state)
{
	(void)state;
	uint8_t second[GRANT_BYTES_MAX];
	size_t second_len;
	struct proto_edge_key k = {0, 7, 2, 2, span_of(keys[0], GRANT_KEY_BYTES)};

	assert_int_equal(grants_set_lane(&f.grants, &k, NOW_MS), 0); /* an operator revokes */
	mint(second, &second_len);
	tell(0, 8, 2, 1); /* and the egress dies */
	assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_GRANT_REVOKED);
	assert_int_equal(renew(second, second_len, 0, 0), REASON_NONE);
	mint(second, &second_len);
	k = (struct proto_edge_key){0, 9, 3, 3, span_of(keys[2], GRANT_KEY_BYTES)};
	assert_int_equal(grants_set_lane(&f.grants, &k, NOW_MS), 0); /* all of them, with a new key */
	assert_int_equal(renew(second, second_len, 0, 0), REASON_GRANT_REVOKED);
}

static void test_what_was_changed_or_is_of_another_lane_is_not(void **state)
{
	(void)state;

	set_lane(0, 8, 1);
	set_lane(1, 8, 1);
	set_lane(1, 9, 2);
	assert_int_equal(renew(f.first, f.first_len, 1, 0), REASON_GRANT_STALE);
	assert_int_equal(renew(f.first, f.first_len, 2, 0), REASON_EGRESS_GONE);
	assert_int_equal(renew(f.first, f.first_len, GRANTS_LANES_MAX, 0), REASON_EGRESS_GONE);
	for (size_t i = 0; i < f.first_len; i++) {
		assert_int_equal(renew(f.first, i, 0, 0), REASON_GRANT_STALE);
		f.first[i] ^= 1;
		assert_int_equal(renew(f.first, f.first_len, 0, 0), REASON_GRANT_STALE);
		f.first[i] ^= 1;
	}
}

/* Whoever was that egress can make grants that authd never made. */
static void test_a_replaced_key_is_of_use_for_a_minute(void **state)
{
	(void)state;
	struct proto_grant g;
	uint8_t made[GRANT_BYTES_MAX];
	size_t len;

	set_lane(0, 8, 1);
	assert_int_equal(renew(f.first, f.first_len, 0, GRANTS_LIFE_MS - 1), REASON_NONE);
	assert_int_equal(renew(f.first, f.first_len, 0, GRANTS_LIFE_MS), REASON_GRANT_EXPIRED);
	assert_int_equal(grant_open(schedule(0), span_of(f.first, f.first_len), &g), 0);
	g.expires_ms = NOW_MS + 2 * GRANTS_LIFE_MS;
	assert_int_equal(grant_mint(schedule(0), &g, made, sizeof(made), &len), 0);
	assert_int_equal(renew(made, len, 0, GRANTS_LIFE_MS - 1), REASON_GRANT_EXPIRED); /* longer than any lives */
	assert_int_equal(renew(made, len, 0, GRANTS_LIFE_MS), REASON_NONE);
	assert_int_equal(renew(made, len, 0, GRANTS_LIFE_MS + 1), REASON_GRANT_STALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_each_route_has_a_number),
		T(test_counting_begins_anew_with_key_or_series_only),
		T(test_the_arena_has_room_for_every_lane),
		T(test_a_renewed_grant_is_the_same_under_the_new_key),
		T(test_only_the_epoch_before_is_renewed),
		T(test_what_was_revoked_is_not_renewed),
		T(test_what_was_changed_or_is_of_another_lane_is_not),
		T(test_a_replaced_key_is_of_use_for_a_minute),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
