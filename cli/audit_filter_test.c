/* SPDX-License-Identifier: Apache-2.0 */
/* What may be asked for, and what fits; and the quantiles of what was found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cli/args.h"
#include "cli/audit_filter.h"
#include "cli/audit_histogram.h"

#define NOW UINT64_C(1767225600) /* 2026-01-01T00:00:00Z */
#define NS  UINT64_C(1000000000)

static void test_globs(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool fits;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "abcd", false},
		{"?", "", false},
		{"?", "a", true},
		{"key.*", "key.create", true},
		{"key.*", "keyXcreate", false},
		{"*b*b", "abab", true},
		{"*b*b", "aba", false},
		{"a**?", "ab", true},
		{"a**?", "a", false},
		{"[a]", "a", false},
		{"*aab", "aaaaaaab", true},
		{"abc", "ab", false},
		{"ab", "abc", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (audit_glob(cases[i].pattern, span_str(cases[i].text)) != cases[i].fits)
			fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		uint64_t want_s, want_end_s;
	} good[] = {
		{"now", NOW, NOW},
		{"90s", NOW - 90, NOW - 90},
		{"90m", NOW - 5400, NOW - 5400},
		{"24h", NOW - 86400, NOW - 86400},
		{"7d", NOW - 604800, NOW - 604800},
		{"1w", NOW - 604800, NOW - 604800},
		{"0s", NOW, NOW},
		{"99999999w", 0, 0},
		{"2025-12-31", NOW - 86400, NOW},
		{"2025-12-31T23:59", NOW - 60, NOW - 60},
		{"2025-12-31T23:59Z", NOW - 60, NOW - 60},
		{"2025-12-31T23:59:58", NOW - 2, NOW - 2},
		{"2025-12-31T23:59:58Z", NOW - 2, NOW - 2},
	};
	static const char *const bad[] = {"",
					  "yesterday",
					  "-1h",
					  "1",
					  "1y",
					  "h",
					  "1hh",
					  "2026-13-01",
					  "2026-01-01Z",
					  "2026-01-01T",
					  "2026-01-01T12:00+01:00",
					  "2026-01-01 12:00",
					  " 1h",
					  "1969-12-31",
					  "2026-02-30",
					  "2026-04-31T12:00",
					  "100000001s",
					  "99999999999999999999999h"};
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(audit_time_parse(good[i].text, NOW, false, &ns));
		assert_int_equal(ns, good[i].want_s * NS);
		assert_true(audit_time_parse(good[i].text, NOW, true, &ns));
		assert_int_equal(ns, good[i].want_end_s * NS);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (audit_time_parse(bad[i], NOW, false, &ns))
			fail_msg("accepted: '%s'", bad[i]);
}

static void test_what_is_far_ahead_stays_ahead(void **state)
{
	uint64_t ns;

	(void)state;
	assert_true(audit_time_parse("2600-01-01", NOW, false, &ns)); /* more nanoseconds than can be counted */
	assert_int_equal(ns, UINT64_MAX);
	assert_true(audit_time_parse("9999-12-31", NOW, true, &ns));
	assert_int_equal(ns, UINT64_MAX);
}

static void test_statuses(void **state)
{
	static const char *const bad[] = {"",     "x",       "4x",   "4xxx",     "xxx", "400-",
					  "-400", "500-400", "4000", "400-4999", "1 2"};
	uint64_t low, high;

	(void)state;
	assert_true(audit_status_parse("429", &low, &high) && low == 429 && high == 429);
	assert_true(audit_status_parse("4xx", &low, &high) && low == 400 && high == 499);
	assert_true(audit_status_parse("0", &low, &high) && low == 0 && high == 0);
	assert_true(audit_status_parse("400-451", &low, &high) && low == 400 && high == 451);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (audit_status_parse(bad[i], &low, &high))
			fail_msg("accepted: '%s'", bad[i]);
}

/* Options by themselves and together. */
static void test_records(void **state)
{
	static const struct {
		const char *option, *value;
		int want;
		bool fits;
	} cases[] = {
		{"--action", "request.complete", CLI_DONE, true},
		{"--action", "key.*", CLI_DONE, false},
		{"--action", "nothing.*", CLI_USAGE, false},
		{"--actor", "key_*", CLI_DONE, true},
		{"--actor", "key_", CLI_DONE, false},
		{"--tenant", "acme", CLI_DONE, true},
		{"--tenant", "globex", CLI_DONE, false},
		{"--model", "gpt-*", CLI_DONE, true},
		{"--model", "claude*", CLI_DONE, false},
		{"--status", "2xx", CLI_DONE, true},
		{"--status", "201-299", CLI_DONE, false},
		{"--status", "many", CLI_USAGE, false},
		{"--request-id", "r-1", CLI_DONE, true},
		{"--request-id", "r-*", CLI_DONE, false},
		{"--since", "1h", CLI_DONE, true},
		{"--since", "1s", CLI_DONE, false},
		{"--until", "1s", CLI_DONE, true},
		{"--until", "1h", CLI_DONE, false},
		{"--until", "soon", CLI_USAGE, false},
		{"--since", "2025-12-31T23:59:50Z", CLI_DONE, true},
		{"--until", "2025-12-31T23:59:50Z", CLI_DONE, false},
	};
	const struct proto_leaf leaf = {
		.code = EVENT_REQUEST_COMPLETE,
		.time_ns = (NOW - 10) * NS,
		.status = 200,
		.actor = SPAN_LIT("key_1"),
		.tenant = SPAN_LIT("acme"),
		.model = SPAN_LIT("gpt-4o"),
		.request_id = SPAN_LIT("r-1"),
	};
	static struct audit_filter f;
	FILE *sink = fopen("/dev/null", "we");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char words[4][32] = {"bulkhead", "audit", "search", ""}, value[32];
		char *argv[] = {words[0], words[1], words[2], words[3], value};
		struct cli cli = {.out = sink, .err = sink};
		bool help;
		(void)snprintf(words[3], sizeof(words[3]), "%s", cases[i].option);
		(void)snprintf(value, sizeof(value), "%s", cases[i].value);
		assert_int_equal(args_parse(&cli, ARRAY_LEN(argv), argv, &help), CLI_DONE);
		assert_int_equal(audit_filter_init(&cli, NOW, &f), cases[i].want);
		if (cases[i].want == CLI_DONE && audit_filter_match(&f, &leaf) != cases[i].fits)
			fail_msg("%s %s", cases[i].option, cases[i].value);
	}
	(void)fclose(sink);
}

static void test_a_time_that_ends_before_it_begins(void **state)
{
	static const struct {
		const char *since, *until;
		int want;
	} cases[] = {
		{"2026-01-02", "2026-01-01", CLI_USAGE},
		{"2026-01-01", "2026-01-01", CLI_DONE}, /* all of that day */
		{"1h", "2h", CLI_USAGE},
		{"2h", "1h", CLI_DONE},
		{"2600-01-01", "9999-12-31", CLI_USAGE}, /* which no record can be of */
	};
	FILE *sink = fopen("/dev/null", "we");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char words[5][32] = {"bulkhead", "audit", "search", "--since", "--until"}, since[32], until[32];
		char *argv[] = {words[0], words[1], words[2], words[3], since, words[4], until};
		struct cli cli = {.out = sink, .err = sink};
		static struct audit_filter f;
		bool help;
		(void)snprintf(since, sizeof(since), "%s", cases[i].since);
		(void)snprintf(until, sizeof(until), "%s", cases[i].until);
		assert_int_equal(args_parse(&cli, ARRAY_LEN(argv), argv, &help), CLI_DONE);
		assert_int_equal(audit_filter_init(&cli, NOW, &f), cases[i].want);
	}
	(void)fclose(sink);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Against the sorted values: never below the true quantile, never a thirty-second part above. */
static void test_quantiles(void **state)
{
	static struct histogram h;
	static uint64_t values[4987];
	uint64_t random = 1;

	(void)state;
	assert_int_equal(histogram_quantile(&h, 500), 0);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		values[i] = random >> (i % 64);
		histogram_add(&h, values[i]);
	}
	qsort(values, ARRAY_LEN(values), sizeof(values[0]), compare);
	for (unsigned q = 1; q <= 1000; q++) {
		uint64_t is = values[(ARRAY_LEN(values) * q + 999) / 1000 - 1], says = histogram_quantile(&h, q);
		assert_true(says >= is && says - is <= is / 32);
	}
	assert_true(histogram_quantile(&h, 1000) == values[ARRAY_LEN(values) - 1] &&
		    h.max == values[ARRAY_LEN(values) - 1]);
	histogram_add(&h, UINT64_MAX);
	assert_true(histogram_quantile(&h, 1000) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_globs),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_what_is_far_ahead_stays_ahead),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_a_time_that_ends_before_it_begins),
		cmocka_unit_test(test_quantiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
