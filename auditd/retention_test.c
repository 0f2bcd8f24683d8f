/* SPDX-License-Identifier: Apache-2.0 */
/* The rule by which records are over: with clocks that are right, set back, ahead, and stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/retention.h"

#define HOUR_NS UINT64_C(3600000000000)
#define DAY_NS  (24 * HOUR_NS)
#define TODAY   (20000 * DAY_NS)

/* ---- the clock ---- */

static void test_a_clock_that_goes_right(void **state)
{
	struct retention_clock c = {.believed_ns = TODAY, .steady_ns = HOUR_NS};

	(void)state;
	for (uint64_t h = 0; h < 100; h++)
		assert_int_equal(retention_clock_now(&c, TODAY + h * HOUR_NS, (1 + h) * HOUR_NS), TODAY + h * HOUR_NS);
}

static void test_a_leap_ahead_is_followed_at_twice_the_speed(void **state)
{
	struct retention_clock c = {.believed_ns = TODAY, .steady_ns = 0};

	(void)state;
	for (uint64_t h = 0; h < 10; h++)
		assert_int_equal(retention_clock_now(&c, TODAY + 1000 * DAY_NS + h * HOUR_NS, h * HOUR_NS),
				 TODAY + 2 * h * HOUR_NS);
	/* Whatever it says, and however often it is asked. */
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(retention_clock_now(&c, UINT64_MAX, 9 * HOUR_NS), TODAY + 18 * HOUR_NS);
	/* Set right again: it is what it was. */
	assert_int_equal(retention_clock_now(&c, TODAY + 9 * HOUR_NS, 9 * HOUR_NS), 0);
	assert_int_equal(retention_clock_now(&c, TODAY + 18 * HOUR_NS, 18 * HOUR_NS), TODAY + 18 * HOUR_NS);
}

static void test_it_catches_up_and_no_more(void **state)
{
	struct retention_clock c = {.believed_ns = TODAY, .steady_ns = 0};
	uint64_t ahead = 5 * HOUR_NS;

	(void)state;
	assert_int_equal(retention_clock_now(&c, TODAY + ahead + 4 * HOUR_NS, 4 * HOUR_NS), TODAY + 8 * HOUR_NS);
	assert_int_equal(retention_clock_now(&c, TODAY + ahead + 6 * HOUR_NS, 6 * HOUR_NS),
			 TODAY + ahead + 6 * HOUR_NS);
	assert_int_equal(retention_clock_now(&c, TODAY + ahead + 9 * HOUR_NS, 9 * HOUR_NS),
			 TODAY + ahead + 9 * HOUR_NS);
}

static void test_a_clock_set_back(void **state)
{
	struct retention_clock c = {.believed_ns = TODAY, .steady_ns = 0};

	(void)state;
	assert_int_equal(retention_clock_now(&c, 7, HOUR_NS), 0);
	assert_int_equal(retention_clock_now(&c, TODAY - RETENTION_TOLERANCE_NS - 1, HOUR_NS), 0);
	assert_int_equal(retention_clock_now(&c, TODAY - RETENTION_TOLERANCE_NS, HOUR_NS),
			 TODAY - RETENTION_TOLERANCE_NS);
	/* It is not believed for ever after: what was known is still known. */
	assert_int_equal(c.believed_ns, TODAY);
	assert_int_equal(retention_clock_now(&c, TODAY + 2 * HOUR_NS, 2 * HOUR_NS), TODAY + 2 * HOUR_NS);
}

static void test_a_steady_clock_that_does_not_go(void **state)
{
	struct retention_clock c = {.believed_ns = TODAY, .steady_ns = 5 * HOUR_NS};

	(void)state;
	assert_int_equal(retention_clock_now(&c, TODAY + DAY_NS, 4 * HOUR_NS), TODAY);
	assert_int_equal(retention_clock_now(&c, TODAY + DAY_NS, 5 * HOUR_NS), TODAY);
	assert_int_equal(retention_clock_now(&c, TODAY + DAY_NS, 6 * HOUR_NS), TODAY + 2 * HOUR_NS);
}

/* ---- segments ---- */

/* Records at these hours of TODAY, up to a 0; looked at at hour `wall`. */
static struct retention_times at(uint64_t wall, const uint64_t *hours)
{
	struct retention_times t = RETENTION_TIMES_NULL;

	for (size_t i = 0; hours[i]; i++)
		retention_times_add(&t, TODAY + hours[i] * HOUR_NS, TODAY + wall * HOUR_NS);
	return t;
}
#define AT(wall, ...) at((wall), (const uint64_t[]){__VA_ARGS__, 0})

static size_t over(const struct retention_times *s, size_t n, uint64_t now_hour, uint64_t keep_hours)
{
	return retention_over(s, n, 0, TODAY + now_hour * HOUR_NS, keep_hours * HOUR_NS);
}

static void test_the_youngest_record_counts(void **state)
{
	const struct retention_times s[] = {AT(200, 1, 2, 3), AT(200, 4, 5), AT(200, 6, 70)};

	(void)state;
	assert_int_equal(over(s, 3, 27, 24), 0);
	assert_int_equal(retention_over(s, 3, 0, TODAY + 27 * HOUR_NS + 1, 24 * HOUR_NS), 1);
	assert_int_equal(over(s, 3, 29, 24), 1);
	assert_int_equal(over(s, 3, 30, 24), 2);
	assert_int_equal(over(s, 3, 94, 24), 2);
	assert_int_equal(over(s, 3, 95, 24), 3);
	assert_int_equal(over(s, 0, 95, 24), 0);
	assert_int_equal(retention_newest(s, 2, 0), TODAY + 5 * HOUR_NS);
	assert_int_equal(retention_newest(s, 2, TODAY + DAY_NS), TODAY + DAY_NS);
}

static void test_now_before_everything(void **state)
{
	const struct retention_times s[] = {AT(200, 10), AT(200, 20)};

	(void)state;
	assert_int_equal(over(s, 2, 5, 1), 0);
	assert_int_equal(retention_over(s, 2, 0, 0, HOUR_NS), 0);
}

/* Hours 50 to 60 were stamped with 1 and 2: what lies there is younger than it says. */
static void test_records_of_a_clock_that_was_set_back(void **state)
{
	const struct retention_times s[] = {AT(200, 40, 49), AT(200, 1, 2), AT(200, 61, 62), AT(200, 90)};

	(void)state;
	assert_int_equal(over(s, 4, 74, 24), 1);
	assert_int_equal(over(s, 4, 80, 24), 1); /* by its own word it were over since hour 26 */
	assert_int_equal(over(s, 4, 87, 24), 3); /* with the one after it, which is right */
	/* Also when all before it are gone: the youngest of those is remembered. */
	assert_int_equal(retention_over(s + 1, 3, TODAY + 49 * HOUR_NS, TODAY + 80 * HOUR_NS, 24 * HOUR_NS), 0);
	assert_int_equal(retention_over(s + 1, 3, TODAY + 49 * HOUR_NS, TODAY + 87 * HOUR_NS, 24 * HOUR_NS), 2);
	/* And when the step is within a segment. */
	const struct retention_times within[] = {AT(200, 40, 49, 1, 2), AT(200, 61)};
	assert_int_equal(over(within, 2, 80, 24), 0);
	assert_int_equal(over(within, 2, 86, 24), 2);
}

/* A few were stamped with next year, and then the clock was set right. */
static void test_records_of_a_clock_that_was_ahead(void **state)
{
	const struct retention_times s[] = {AT(80, 40, 9000, 9001), AT(80, 42, 43), AT(80, 44)};

	(void)state;
	assert_int_equal(over(s, 3, 66, 24), 0);
	assert_int_equal(over(s, 3, 68, 24), 2); /* they do not keep the log for a year */
	assert_int_equal(over(s, 1, 79, 24), 0); /* alone they tell nothing of their age */
}

static void test_a_clock_that_is_set_right_by_seconds(void **state)
{
	struct retention_times t = RETENTION_TIMES_NULL;

	(void)state;
	retention_times_add(&t, TODAY + RETENTION_TOLERANCE_NS, TODAY + DAY_NS);
	retention_times_add(&t, TODAY, TODAY + DAY_NS);
	assert_true(t.straight);
	retention_times_add(&t, TODAY - 1, TODAY + DAY_NS);
	assert_false(t.straight);
	assert_int_equal(t.n, 3);
}

static void test_an_empty_segment(void **state)
{
	const struct retention_times s[] = {RETENTION_TIMES_NULL, AT(200, 5)};

	(void)state;
	assert_int_equal(over(s, 1, 100, 24), 0);
	assert_int_equal(over(s, 2, 100, 24), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_clock_that_goes_right),
		cmocka_unit_test(test_a_leap_ahead_is_followed_at_twice_the_speed),
		cmocka_unit_test(test_it_catches_up_and_no_more),
		cmocka_unit_test(test_a_clock_set_back),
		cmocka_unit_test(test_a_steady_clock_that_does_not_go),
		cmocka_unit_test(test_the_youngest_record_counts),
		cmocka_unit_test(test_now_before_everything),
		cmocka_unit_test(test_records_of_a_clock_that_was_set_back),
		cmocka_unit_test(test_records_of_a_clock_that_was_ahead),
		cmocka_unit_test(test_a_clock_that_is_set_right_by_seconds),
		cmocka_unit_test(test_an_empty_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
