/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "authd/concurrency.h"

#define KEY       SPAN_LIT("key_a")
#define CALLS_MAX 100

static const char router0[1], router1[1];

static int setup(void **state)
{
	struct concurrency *c;

	if (concurrency_new(CALLS_MAX, &c))
		return -1;
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	concurrency_free(*state);
	return 0;
}

static void test_so_many_and_no_more(void **state)
{
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(concurrency_begin(*state, router0, i, KEY, 3), 0);
	assert_int_equal(concurrency_begin(*state, router0, 4, KEY, 3), CONCURRENCY_E_LIMIT);
	assert_int_equal(concurrency_begin(*state, router1, 1, KEY, 3), CONCURRENCY_E_LIMIT);
	assert_int_equal(concurrency_begin(*state, router1, 1, SPAN_LIT("key_b"), 3), 0);
	assert_int_equal(concurrency_calls(*state), 4);
	concurrency_end(*state, router0, 2);
	assert_int_equal(concurrency_begin(*state, router1, 2, KEY, 3), 0);
	assert_int_equal(concurrency_begin(*state, router1, 3, KEY, 3), CONCURRENCY_E_LIMIT);
}

static void test_nobody_ends_what_is_not_his(void **state)
{
	assert_int_equal(concurrency_begin(*state, router0, 7, KEY, 1), 0);
	concurrency_end(*state, router1, 7);
	concurrency_end(*state, router0, 8);
	assert_int_equal(concurrency_begin(*state, router0, 9, KEY, 1), CONCURRENCY_E_LIMIT);
	concurrency_end(*state, router0, 7);
	concurrency_end(*state, router0, 7);
	assert_int_equal(concurrency_calls(*state), 0);
	assert_int_equal(concurrency_begin(*state, router0, 9, KEY, 1), 0);
}

static void test_a_router_that_goes_has_none(void **state)
{
	assert_int_equal(concurrency_begin(*state, router0, 1, KEY, 4), 0);
	assert_int_equal(concurrency_begin(*state, router1, 1, KEY, 4), 0);
	assert_int_equal(concurrency_begin(*state, router0, 2, KEY, 4), 0);
	concurrency_forget(*state, router0);
	assert_int_equal(concurrency_calls(*state), 1);
	assert_int_equal(concurrency_begin(*state, router1, 2, KEY, 2), 0);
	assert_int_equal(concurrency_begin(*state, router1, 3, KEY, 2), CONCURRENCY_E_LIMIT);
}

static void test_a_limit_that_was_lowered(void **state)
{
	for (uint64_t i = 1; i <= 5; i++)
		assert_int_equal(concurrency_begin(*state, router0, i, KEY, 5), 0);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(concurrency_begin(*state, router0, 10, KEY, 2), CONCURRENCY_E_LIMIT);
		concurrency_end(*state, router0, i);
	}
	assert_int_equal(concurrency_begin(*state, router0, 10, KEY, 2), 0);
}

static void test_room_for_all(void **state)
{
	for (uint64_t i = 1; i <= CALLS_MAX; i++)
		assert_int_equal(concurrency_begin(*state, router0, i, KEY, 1000), 0);
	assert_int_equal(concurrency_begin(*state, router0, CALLS_MAX + 1, KEY, 1000), CONCURRENCY_E_FULL);
	concurrency_end(*state, router0, 1);
	assert_int_equal(concurrency_begin(*state, router0, CALLS_MAX + 1, KEY, 1000), 0);
}

/* Against arrays; from three routers that use the same numbers. */
static void test_agrees_with_a_naive_oracle(void **state)
{
	static const char *const names[] = {"key_0", "key_1", "key_2", "key_3"};
	static const char routers[3][1];
	int of[3][16];
	uint64_t under_way[4] = {0}, random = 1;

	memset(of, -1, sizeof(of));
	for (int step = 0; step < 100000; step++) {
		random = random * 6364136223846793005U + 1442695040888963407U;
		size_t peer = (random >> 33) % 3, number = (random >> 40) % 16, key = (random >> 50) % 4;
		if (of[peer][number] >= 0) {
			concurrency_end(*state, routers[peer], number);
			under_way[of[peer][number]]--;
			of[peer][number] = -1;
			continue;
		}
		int r = concurrency_begin(*state, routers[peer], number, span_str(names[key]), key + 3);
		assert_int_equal(r, under_way[key] < key + 3 ? 0 : CONCURRENCY_E_LIMIT);
		if (r == 0) {
			of[peer][number] = (int)key;
			under_way[key]++;
		}
		assert_int_equal(concurrency_calls(*state), under_way[0] + under_way[1] + under_way[2] + under_way[3]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_so_many_and_no_more),
		T(test_nobody_ends_what_is_not_his),
		T(test_a_router_that_goes_has_none),
		T(test_a_limit_that_was_lowered),
		T(test_room_for_all),
		T(test_agrees_with_a_naive_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
