/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "authd/cache.h"

static int setup(void **state)
{
	struct cache *c;

	if (cache_new(100, 10, &c))
		return -1;
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	cache_free(*state);
	return 0;
}

static struct store_key key_of(uint32_t n)
{
	struct store_key k = {.tenant = "acme", .models = "*", .rpm = n};

	memcpy(k.hmac, &n, sizeof(n));
	(void)snprintf(k.id, sizeof(k.id), "key_%u", n);
	return k;
}

static void put(struct cache *c, uint32_t n, uint64_t now_ms)
{
	struct store_key k = key_of(n);

	assert_int_equal(cache_put(c, cache_generation(c), &k, now_ms), 0);
}

static void put_unknown(struct cache *c, uint32_t n, uint64_t now_ms)
{
	struct store_key k = key_of(n);

	assert_int_equal(cache_put_unknown(c, cache_generation(c), k.hmac, now_ms), 0);
}

static int find(struct cache *c, uint32_t n, uint64_t now_ms)
{
	struct store_key k = key_of(n);
	const struct store_key *found = NULL;
	int r = cache_find(c, k.hmac, now_ms, &found);

	if (r == 0)
		assert_string_equal(found->id, k.id);
	else
		assert_null(found);
	return r;
}

static void test_an_answer_lives_thirty_seconds(void **state)
{
	assert_int_equal(find(*state, 1, 0), CACHE_E_MISS);
	put(*state, 1, 1000);
	assert_int_equal(find(*state, 1, 1000), 0);
	assert_int_equal(find(*state, 1, 30999), 0);
	assert_int_equal(find(*state, 1, 31000), CACHE_E_MISS);
	assert_int_equal(cache_known(*state), 0);
	put_unknown(*state, 2, 1000);
	assert_int_equal(find(*state, 2, 30999), CACHE_E_UNKNOWN);
	assert_int_equal(find(*state, 2, 31000), CACHE_E_MISS);
	assert_int_equal(cache_unknown(*state), 0);
}

/* Use does not prolong it: else a key in steady use would outlive any outage, and any change by another hand. */
static void test_use_does_not_prolong(void **state)
{
	put(*state, 1, 0);
	for (uint64_t ms = 0; ms < CACHE_TTL_MS; ms += 100)
		assert_int_equal(find(*state, 1, ms), 0);
	assert_int_equal(find(*state, 1, CACHE_TTL_MS), CACHE_E_MISS);
}

static void test_it_is_bounded_and_the_oldest_goes(void **state)
{
	for (uint32_t n = 0; n < 250; n++)
		put(*state, n, n);
	assert_int_equal(cache_known(*state), 100);
	assert_int_equal(find(*state, 149, 250), CACHE_E_MISS);
	assert_int_equal(find(*state, 150, 250), 0);
	assert_int_equal(find(*state, 249, 250), 0);
}

static void test_a_flood_of_unknown_keys_evicts_no_known_one(void **state)
{
	for (uint32_t n = 0; n < 100; n++)
		put(*state, n, 0);
	for (uint32_t n = 1000; n < 51000; n++)
		put_unknown(*state, n, 1);
	assert_int_equal(cache_unknown(*state), 10);
	for (uint32_t n = 0; n < 100; n++)
		assert_int_equal(find(*state, n, 2), 0);
}

static void test_a_lookup_in_flight_cannot_resurrect_a_revoked_key(void **state)
{
	struct store_key k = key_of(1), other = key_of(2);
	uint64_t asked = cache_generation(*state); /* the store is asked, and answers: live */

	cache_forget(*state, k.hmac); /* then the key is revoked */
	assert_int_equal(cache_put(*state, asked, &k, 10), CACHE_E_STALE);
	assert_int_equal(find(*state, 1, 10), CACHE_E_MISS);
	assert_int_equal(cache_put(*state, asked, &other, 10), CACHE_E_STALE); /* coarse, and harmless */
	put(*state, 2, 10);
	assert_int_equal(find(*state, 2, 10), 0);
}

static void test_a_forgotten_key_is_gone_at_once(void **state)
{
	struct store_key k = key_of(1);

	put(*state, 1, 0);
	put(*state, 2, 0);
	cache_forget(*state, k.hmac);
	assert_int_equal(find(*state, 1, 0), CACHE_E_MISS);
	assert_int_equal(find(*state, 2, 0), 0);
}

static void test_a_new_answer_replaces_the_old_one(void **state)
{
	put_unknown(*state, 1, 0);
	put(*state, 1, 1);
	assert_int_equal(find(*state, 1, 1), 0);
	assert_int_equal(cache_unknown(*state), 0);
	put(*state, 1, 20000);
	assert_int_equal(find(*state, 1, 40000), 0);
	assert_int_equal(cache_known(*state), 1);
	put_unknown(*state, 1, 40000);
	assert_int_equal(find(*state, 1, 40000), CACHE_E_UNKNOWN);
	assert_int_equal(cache_known(*state), 0);
}

static void test_replacing_across_full_sets_stays_bounded(void **state)
{
	for (uint32_t n = 0; n < 100; n++)
		put(*state, n, 0);
	for (uint32_t n = 200; n < 210; n++)
		put_unknown(*state, n, 0);
	put(*state, 205, 1);
	assert_int_equal(cache_known(*state), 100);
	assert_int_equal(cache_unknown(*state), 9);
}

static void test_clear_forgets_all_and_what_is_in_flight(void **state)
{
	struct store_key k = key_of(3);
	uint64_t asked = cache_generation(*state);

	put(*state, 1, 0);
	put_unknown(*state, 2, 0);
	cache_clear(*state);
	assert_int_equal(find(*state, 1, 0), CACHE_E_MISS);
	assert_int_equal(find(*state, 2, 0), CACHE_E_MISS);
	assert_int_equal(cache_put(*state, asked, &k, 0), CACHE_E_STALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_an_answer_lives_thirty_seconds),
		T(test_use_does_not_prolong),
		T(test_it_is_bounded_and_the_oldest_goes),
		T(test_a_flood_of_unknown_keys_evicts_no_known_one),
		T(test_a_lookup_in_flight_cannot_resurrect_a_revoked_key),
		T(test_a_forgotten_key_is_gone_at_once),
		T(test_a_new_answer_replaces_the_old_one),
		T(test_replacing_across_full_sets_stays_bounded),
		T(test_clear_forgets_all_and_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
