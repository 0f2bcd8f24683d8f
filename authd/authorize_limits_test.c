/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/authorize_world.h"

static void test_the_limit(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		world.ms = 1000 * i;
		assert_int_equal(world_ask_usual(), REASON_NONE);
		assert_int_equal(world.answer.permit.remaining, 2 - i);
	}
	assert_int_equal(world_ask_usual(), REASON_RATE_LIMITED);
	assert_int_equal(world.answer.deny.limit, 3);
	assert_int_equal(world.answer.deny.remaining, 0);
	assert_int_equal(world.answer.deny.retry_after_ms, 58000);
	assert_int_equal(world.answer.deny.reset_ms, 58000);
	world.ms = 60000;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask_usual(), REASON_RATE_LIMITED);
}

static void test_a_key_without_a_limit_has_the_default(void **state)
{
	(void)state;
	world.store.keys[0].rpm = 0;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world.answer.permit.limit, 60);
	assert_int_equal(world.answer.permit.remaining, 59);
}

static void test_what_is_refused_for_other_reasons_takes_nothing(void **state)
{
	(void)state;
	struct proto_authorize q = world_question();

	for (int i = 0; i < 10; i++)
		assert_int_equal(world_ask(&q, 1), REASON_EGRESS_GONE);
	world.credentials.n = 0;
	for (int i = 0; i < 10; i++)
		assert_int_equal(world_ask_usual(), REASON_NO_CREDENTIAL);
	world.credentials.n = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask_usual(), REASON_RATE_LIMITED);
	assert_int_equal(world.a.permits, 3);
	assert_int_equal(world.a.denials[REASON_EGRESS_GONE], 10);
	assert_int_equal(world.a.denials[REASON_RATE_LIMITED], 1);
}

static void test_calls_under_way(void **state)
{
	(void)state;
	world.store.keys[0].concurrent = 2;
	world.store.keys[0].rpm = 100;
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask_usual(), REASON_CONCURRENCY_LIMITED);
	assert_int_equal(world.answer.deny.retry_after_ms, 1000);
	assert_int_equal(world.answer.deny.limit, 100);
	assert_int_equal(world.answer.deny.remaining, 98); /* what is refused takes nothing */
	concurrency_end(world.a.calls, &world, 1);
	assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world.answer.permit.remaining, 97);
}

static void test_what_is_refused_later_is_not_under_way(void **state)
{
	(void)state;
	world.a.concurrent_default = 1;
	world.a.limits = ratelimit_free(world.a.limits);
	assert_int_equal(ratelimit_new(1, &world.a.limits), 0); /* room for no window */
	assert_int_equal(world_ask_usual(), REASON_OVERLOADED);
	assert_int_equal(concurrency_calls(world.a.calls), 0);
}

static void test_calls_under_way_of_all_keys(void **state)
{
	(void)state;
	world.a.concurrent_default = 10;
	world.store.keys[0].rpm = 100;
	for (int i = 0; i < 4; i++) /* as many as world_setup() has room for */
		assert_int_equal(world_ask_usual(), REASON_NONE);
	assert_int_equal(world_ask_usual(), REASON_OVERLOADED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
		T(test_the_limit),
		T(test_a_key_without_a_limit_has_the_default),
		T(test_what_is_refused_for_other_reasons_takes_nothing),
		T(test_calls_under_way),
		T(test_what_is_refused_later_is_not_under_way),
		T(test_calls_under_way_of_all_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
