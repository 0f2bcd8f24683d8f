/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/ratelimit.h"

#define KEY SPAN_LIT("key_a")

static int setup(void **state)
{
	struct ratelimit *r;

	if (ratelimit_new(RATELIMIT_BYTES_MAX, &r))
		return -1;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	ratelimit_free(*state);
	return 0;
}

static struct ratelimit_verdict take(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms)
{
	struct ratelimit_verdict v = {0};

	assert_int_equal(ratelimit_take(r, who, limit, now_ms, &v), 0);
	return v;
}

static void test_exactly_n_are_admitted(void **state)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < 1000; i++)
		admitted += take(*state, KEY, 60, 5000 + i / 10).admitted;
	assert_int_equal(admitted, 60);
}

static void test_the_window_slides(void **state)
{
	assert_true(take(*state, KEY, 2, 1000).admitted);
	assert_true(take(*state, KEY, 2, 31000).admitted);
	assert_false(take(*state, KEY, 2, 60999).admitted); /* the first is 59.999 s old */
	assert_true(take(*state, KEY, 2, 61000).admitted);  /* it has left; a fixed window would admit two */
	assert_false(take(*state, KEY, 2, 61000).admitted);
	assert_true(take(*state, KEY, 2, 91000).admitted);
}

static void test_refused_calls_do_not_count(void **state)
{
	assert_true(take(*state, KEY, 1, 0).admitted);
	for (uint64_t ms = 1; ms < RATELIMIT_WINDOW_MS; ms++)
		assert_false(take(*state, KEY, 1, ms).admitted);
	assert_true(take(*state, KEY, 1, RATELIMIT_WINDOW_MS).admitted);
}

static void test_looking_does_not_take(void **state)
{
	struct ratelimit_verdict v;

	for (int i = 0; i < 10; i++) {
		ratelimit_look(*state, KEY, 1, 100, &v);
		assert_true(v.admitted);
		assert_int_equal(v.remaining, 1);
		assert_int_equal(v.reset_ms, 0);
	}
	assert_int_equal(ratelimit_windows(*state), 0);
	assert_true(take(*state, KEY, 1, 100).admitted);
	ratelimit_look(*state, KEY, 1, 100, &v);
	assert_false(v.admitted);
}

static void test_remaining_reset_and_retry_after(void **state)
{
	struct ratelimit_verdict v = take(*state, KEY, 3, 10000);

	assert_int_equal(v.remaining, 2);
	assert_int_equal(v.reset_ms, 60000);
	assert_int_equal(v.retry_after_ms, 0);
	v = take(*state, KEY, 3, 25000);
	assert_int_equal(v.remaining, 1);
	assert_int_equal(v.reset_ms, 45000); /* until the one of 10,000 leaves */
	v = take(*state, KEY, 3, 25000);
	assert_true(v.admitted);
	assert_int_equal(v.remaining, 0);
	v = take(*state, KEY, 3, 26000);
	assert_false(v.admitted);
	assert_int_equal(v.remaining, 0);
	assert_int_equal(v.retry_after_ms, 44000);
	assert_false(take(*state, KEY, 3, 26000 + v.retry_after_ms - 1).admitted);
	assert_true(take(*state, KEY, 3, 26000 + v.retry_after_ms).admitted);
}

/* A limit lowered while more is in the window: waiting for the first to leave is not enough. */
static void test_a_lowered_limit(void **state)
{
	for (uint64_t i = 0; i < 5; i++)
		assert_true(take(*state, KEY, 5, 1000 * i).admitted);
	struct ratelimit_verdict v = take(*state, KEY, 2, 10000);

	assert_false(v.admitted);
	assert_int_equal(v.retry_after_ms, 3000 + 60000 - 10000); /* those of 0, 1, 2 and 3 s must leave */
	assert_false(take(*state, KEY, 2, 62999).admitted);
	assert_true(take(*state, KEY, 2, 63000).admitted);
}

static void test_keys_do_not_share(void **state)
{
	assert_true(take(*state, SPAN_LIT("a"), 1, 5).admitted);
	assert_true(take(*state, SPAN_LIT("b"), 1, 5).admitted);
	assert_true(take(*state, SPAN_LIT("ab"), 1, 5).admitted);
	assert_false(take(*state, SPAN_LIT("a"), 1, 5).admitted);
	assert_int_equal(ratelimit_windows(*state), 3);
}

static void test_a_clock_that_goes_back_gives_nothing_away(void **state)
{
	assert_true(take(*state, KEY, 1, 100000).admitted);
	struct ratelimit_verdict v = take(*state, KEY, 1, 5000);

	assert_false(v.admitted);
	assert_int_equal(v.retry_after_ms, RATELIMIT_WINDOW_MS);
	assert_true(take(*state, KEY, 1, 160000).admitted);
}

static void test_idle_windows_are_dropped(void **state)
{
	char who[16];

	for (unsigned i = 0; i < 1000; i++) {
		int n = snprintf(who, sizeof(who), "key_%u", i);

		assert_true(take(*state, span_of(who, (size_t)n), 60, i).admitted);
	}
	assert_int_equal(ratelimit_windows(*state), 1000);
	for (uint64_t i = 0; i < 300; i++)
		(void)take(*state, KEY, 60, 61000 + i);
	assert_int_equal(ratelimit_windows(*state), 1);
}

static void test_memory_is_bounded(void **state)
{
	(void)state;
	struct ratelimit *r;
	struct ratelimit_verdict v = {.remaining = 4711};
	char who[16];
	unsigned i;
	int res = 0;

	assert_int_equal(ratelimit_new(10000, &r), 0);
	for (i = 0; i < 1000 && res == 0; i++) {
		int n = snprintf(who, sizeof(who), "key_%u", i);

		v.remaining = 4711;
		res = ratelimit_take(r, span_of(who, (size_t)n), 60, 1, &v);
	}
	assert_int_equal(res, RATELIMIT_E_FULL);
	assert_int_equal(v.remaining, 4711);
	assert_true(ratelimit_bytes(r) <= 10000);
	assert_int_equal(ratelimit_take(r, SPAN_LIT("key_0"), 60, 1, &v), 0); /* who is in, stays in */
	assert_int_equal(ratelimit_take(r, SPAN_LIT("new"), 60, 60002, &v), 0);
	ratelimit_free(r);
}

/* A key that was busy once, and goes on at a walk, leaves the room to others. */
static void test_a_peak_that_is_over(void **state)
{
	struct ratelimit *r = *state;
	uint64_t ms = 0;

	(void)take(r, KEY, 100000, ms);
	size_t small = ratelimit_bytes(r);
	for (; ms < 5000; ms++)
		assert_true(take(r, KEY, 100000, ms).admitted);
	assert_true(ratelimit_bytes(r) > 10 * small);
	for (unsigned i = 0; i < 20; i++, ms += RATELIMIT_WINDOW_MS / 2)
		assert_true(take(r, KEY, 100000, ms).admitted);
	assert_true(ratelimit_bytes(r) < 2 * small);
}

/* A million a minute costs no more than one run a millisecond. */
static void test_the_largest_limit(void **state)
{
	struct ratelimit *r = *state;
	uint64_t admitted = 0;

	for (uint64_t ms = 0; ms < RATELIMIT_WINDOW_MS; ms++) {
		for (int i = 0; i < 20; i++)
			admitted += take(r, KEY, 1000000, ms).admitted;
	}
	assert_int_equal(admitted, 1000000);
	assert_true(ratelimit_bytes(r) < 600000);
	for (int i = 0; i < 25; i++)
		admitted += take(r, KEY, 1000000, RATELIMIT_WINDOW_MS).admitted;
	assert_int_equal(admitted, 1000020); /* the twenty of millisecond 0 left */
}

/* The oracle: a list of admission times, counted anew for each question. */
struct oracle {
	uint64_t at_ms[20000];
	size_t n;
};

static struct ratelimit_verdict oracle_take(struct oracle *o, uint64_t limit, uint64_t now_ms)
{
	struct ratelimit_verdict v = {0};
	size_t live = 0, first = o->n;

	for (size_t i = o->n; i-- > 0 && o->at_ms[i] + RATELIMIT_WINDOW_MS > now_ms;) {
		live++;
		first = i;
	}
	v.admitted = live < limit;
	if (v.admitted) {
		o->at_ms[o->n++] = now_ms;
		live++;
	} else {
		v.retry_after_ms = o->at_ms[first + live - limit] + RATELIMIT_WINDOW_MS - now_ms;
	}
	v.remaining = limit > live ? limit - live : 0;
	v.reset_ms = o->at_ms[first] + RATELIMIT_WINDOW_MS - now_ms;
	return v;
}

static void test_agrees_with_a_naive_oracle(void **state)
{
	(void)state;
	static struct oracle oracles[4];
	static const char *const names[] = {"k1", "k2", "k3", "k4"};
	struct ratelimit *r;

	srandom(20240607);
	for (unsigned round = 0; round < 40; round++) {
		uint64_t now_ms = (uint64_t)random() % 100000;
		uint64_t limits[4], step_ms = UINT64_C(1) << (random() % 12);

		assert_int_equal(ratelimit_new(RATELIMIT_BYTES_MAX, &r), 0);
		for (unsigned k = 0; k < 4; k++) {
			oracles[k].n = 0;
			limits[k] = 1 + (uint64_t)random() % 300;
		}
		for (unsigned i = 0; i < 8000; i++) {
			unsigned k = (unsigned)random() % 4;

			now_ms += (uint64_t)random() % step_ms;
			if (random() % 200 == 0)
				now_ms += RATELIMIT_WINDOW_MS * 9 / 10;
			if (random() % 500 == 0)
				limits[k] = 1 + (uint64_t)random() % 300;
			struct ratelimit_verdict want = oracle_take(&oracles[k], limits[k], now_ms), got;

			got = take(r, span_str(names[k]), limits[k], now_ms);
			assert_int_equal(got.admitted, want.admitted);
			assert_int_equal(got.remaining, want.remaining);
			assert_int_equal(got.reset_ms, want.reset_ms);
			assert_int_equal(got.retry_after_ms, want.retry_after_ms);
		}
		ratelimit_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_exactly_n_are_admitted),
		T(test_the_window_slides),
		T(test_refused_calls_do_not_count),
		T(test_looking_does_not_take),
		T(test_remaining_reset_and_retry_after),
		T(test_a_lowered_limit),
		T(test_keys_do_not_share),
		T(test_a_clock_that_goes_back_gives_nothing_away),
		T(test_idle_windows_are_dropped),
		T(test_memory_is_bounded),
		T(test_a_peak_that_is_over),
		T(test_the_largest_limit),
		T(test_agrees_with_a_naive_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
