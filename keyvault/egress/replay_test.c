/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define WINDOW REPLAY_WINDOW_ROUTES

static int set_up(void **state)
{
	static struct replay r;

	assert_int_equal(replay_init(&r), 0);
	*state = &r;
	return 0;
}

static int tear_down(void **state)
{
	replay_deinit(*state);
	return 0;
}

static void each_number_once(void **state)
{
	struct replay *r = *state;

	for (uint64_t n = 0; n < 1000; n++) {
		uint64_t number = n * 619 % 1000; /* in any order */
		assert_int_equal(replay_use(r, false, 1, number), 0);
		assert_int_equal(replay_use(r, false, 1, number), REPLAY_E_USED);
	}
	for (uint64_t number = 0; number < 1000; number++)
		assert_int_equal(replay_use(r, false, 1, number), REPLAY_E_USED);
	replay_reset(r);
	assert_int_equal(replay_use(r, false, 1, 7), 0);
}

/* Wherever the greatest number stands in its word: the whole window below it is there, and nothing far below. */
static void the_window_ends_where_it_says(void **state)
{
	struct replay *r = *state;

	for (uint64_t i = 0; i < 64; i++) {
		uint64_t top = 5000000 * (i + 1) + i;
		assert_int_equal(replay_use(r, false, 1, top), 0);
		assert_int_equal(replay_use(r, false, 1, top - WINDOW), 0);
		assert_int_equal(replay_use(r, false, 1, top - WINDOW), REPLAY_E_USED);
		assert_int_equal(replay_use(r, false, 1, top - WINDOW - 64), REPLAY_E_OUTRUN);
		assert_int_equal(replay_use(r, false, 1, 0), REPLAY_E_OUTRUN);
		assert_int_equal(replay_use(r, false, 1, top), REPLAY_E_USED);
	}
}

/* A number goes from unused over used to outrun, and never back. */
static void what_was_used_stays_so(void **state)
{
	struct replay *r = *state;

	assert_int_equal(replay_use(r, false, 1, 100), 0);
	for (uint64_t top = 101; top < 4 * WINDOW; top += 61) {
		assert_int_equal(replay_use(r, false, 1, top), 0);
		int e = replay_use(r, false, 1, 100);
		assert_int_equal(e, top - top % 64 - 64 < 64 * REPLAY_WORDS ? REPLAY_E_USED : REPLAY_E_OUTRUN);
	}
}

static void far_jumps(void **state)
{
	struct replay *r = *state;
	const uint64_t far[] = {WINDOW - 1, WINDOW,           64 * REPLAY_WORDS, 64 * REPLAY_WORDS + 1,
				1u << 31,   UINT64_C(1) << 60};
	uint64_t last = 0;

	assert_int_equal(replay_use(r, false, 1, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(far); i++) {
		last += far[i];
		assert_int_equal(replay_use(r, false, 1, last), 0);
		assert_int_equal(replay_use(r, false, 1, last), REPLAY_E_USED);
		for (uint64_t back = 1; back < 1000; back++) /* nothing is left of a turn before */
			assert_int_equal(replay_use(r, false, 1, last - back * 64), 0);
	}
	assert_int_equal(replay_use(r, false, 1, UINT64_MAX), 0);
	assert_int_equal(replay_use(r, false, 1, UINT64_MAX), REPLAY_E_USED);
	assert_int_equal(replay_use(r, false, 1, last), REPLAY_E_OUTRUN);
}

/* A number of every word of the ring; `turn` puts them into the same places. */
static void use_each_word(struct replay *r, uint64_t series, uint64_t turn)
{
	for (uint64_t i = REPLAY_WORDS; i-- > 0;)
		assert_int_equal(replay_use(r, false, series, (turn * REPLAY_WORDS + i) * 64), 0);
}

static void nothing_is_left_of_what_was(void **state)
{
	struct replay *r = *state;

	use_each_word(r, 1, 0);
	use_each_word(r, 1, 1);
	use_each_word(r, 1, 7);
	for (uint64_t series = 2; series < 6; series++) /* in the memory of the one before the last */
		use_each_word(r, series, 0);
	replay_reset(r);
	use_each_word(r, 5, 0);
}

static void two_series_each_of_its_own(void **state)
{
	struct replay *r = *state;

	assert_int_equal(replay_use(r, false, 5, 9), 0);
	assert_int_equal(replay_use(r, false, 7, 9), 0);
	assert_int_equal(replay_use(r, false, 5, 9), REPLAY_E_USED);
	assert_int_equal(replay_use(r, false, 5, 8), 0);
	assert_int_equal(replay_use(r, false, 7, 8), 0);
	assert_int_equal(replay_use(r, false, 6, 1), 0); /* comes late; what is older is over */
	assert_int_equal(replay_use(r, false, 5, 1), REPLAY_E_OUTRUN);
	assert_int_equal(replay_use(r, false, 6, 1), REPLAY_E_USED);
	assert_int_equal(replay_use(r, false, 8, 1), 0);
	assert_int_equal(replay_use(r, false, 7, 9), REPLAY_E_USED);
	assert_int_equal(replay_use(r, false, 6, 2), REPLAY_E_OUTRUN);
	assert_int_equal(replay_use(r, false, 6, 1), REPLAY_E_OUTRUN);
}

static void renewed_ones_are_others(void **state)
{
	struct replay *r = *state;

	assert_int_equal(replay_use(r, false, 5, 9), 0);
	assert_int_equal(replay_use(r, true, 5, 9), 0);
	assert_int_equal(replay_use(r, true, 5, 9), REPLAY_E_USED);
	assert_int_equal(replay_use(r, true, 3, 9), 0);
	assert_int_equal(replay_use(r, true, 2, 9), REPLAY_E_OUTRUN);
	assert_int_equal(replay_use(r, false, 4, 9), 0);
	assert_int_equal(replay_use(r, false, 5, 9), REPLAY_E_USED);
}

/* ---- against a table of everything that was ever used ---- */

#define ORACLE_NUMBERS ((size_t)1 << 22)
#define ORACLE_SERIES  3 /* of each kind */
#define ORACLE_USES    2000000

struct oracle {
	uint8_t used[2][ORACLE_SERIES + 1][ORACLE_NUMBERS / 8];
	uint64_t greatest[2][ORACLE_SERIES + 1];
	uint64_t seed;
};

static uint64_t oracle_random(struct oracle *o)
{
	uint64_t z = (o->seed += 0x9E3779B97F4A7C15u);

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

/* Mostly near the greatest one, sometimes anywhere, sometimes far ahead. */
static uint64_t oracle_number(struct oracle *o, uint64_t greatest)
{
	uint64_t what = oracle_random(o) % 1000, n = oracle_random(o);

	if (what == 0)
		return greatest + n % 4000;
	if (what < 600)
		return greatest + n % 4;
	if (what < 900)
		return greatest - MIN(greatest, n % 2000);
	return n % (greatest + 1);
}

/* Whatever is asked in whatever order: never twice, never refused within the window, refused below it. */
static void as_a_naive_set(void **state)
{
	struct replay *r = *state;
	struct oracle *o = calloc(1, sizeof(*o));
	size_t allowed = 0, again = 0, outrun = 0;

	assert_non_null(o);
	for (size_t i = 0; i < ORACLE_USES; i++) {
		/* two neighbouring series at a time, as in life: the newest and the one before */
		bool renewed = oracle_random(o) % 8 == 0;
		uint64_t series = 1 + i / (ORACLE_USES / (ORACLE_SERIES - 1)) + oracle_random(o) % 2;
		uint64_t *greatest = &o->greatest[renewed][series];
		uint64_t number = oracle_number(o, *greatest) % ORACLE_NUMBERS;
		uint8_t *byte = &o->used[renewed][series][number / 8], bit = (uint8_t)BIT(number % 8);
		int e = replay_use(r, renewed, series, number);

		*greatest = MAX(*greatest, number);
		if (e == REPLAY_E_OUTRUN)
			assert_true(*greatest - number > WINDOW);
		else
			assert_int_equal(e, *byte & bit ? REPLAY_E_USED : 0);
		if (*greatest - number >= WINDOW + 64)
			assert_int_equal(e, REPLAY_E_OUTRUN);
		*byte |= bit;
		allowed += e == 0;
		again += e == REPLAY_E_USED;
		outrun += e == REPLAY_E_OUTRUN;
	}
	print_message("%zu allowed, %zu used before, %zu outrun\n", allowed, again, outrun);
	assert_true(allowed > 100000 && again > 100000 && outrun > 10000);
	free(o);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(each_number_once),
		T(the_window_ends_where_it_says),
		T(what_was_used_stays_so),
		T(far_jumps),
		T(nothing_is_left_of_what_was),
		T(two_series_each_of_its_own),
		T(renewed_ones_are_others),
		T(as_a_naive_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
