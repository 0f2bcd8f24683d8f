/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/reasons.h"
#include "router/splice.h"

#define EMAIL(b, e)                                                                         \
	{                                                                                   \
		.class = CLASS_EMAIL, .classes = BIT(CLASS_EMAIL), .begin = (b), .end = (e) \
	}

static uint64_t guard(enum class class, enum guard_action action)
{
	return (uint64_t)action << (2 * (unsigned)class);
}

/* The reader gives lists as packed bytes, so that is what splice_plan() must be given. */
static int plan(const struct proto_finding *findings, size_t n, uint64_t total, uint64_t policy, struct span body,
		struct span keep, struct splices *s)
{
	uint8_t raw[1024];
	size_t len = 0, one;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(
			proto_pack_record(&proto_finding_desc, &findings[i], raw + len, sizeof(raw) - len, &one), 0);
		len += one;
	}
	struct proto_verdict v = {.total = total, .findings = {.count = n, .raw = span_of(raw, len)}};
	return splice_plan(&v, policy, body, keep, s);
}

static void test_redact(void **state)
{
	struct span text = SPAN_LIT("{\"model\":\"m\",\"to\":\"a@b.c\",\"card\":4111111111111111}");
	const struct proto_finding f[] = {
		EMAIL(19, 24),
		{.class = CLASS_CARD, .classes = BIT(CLASS_CARD), .number = 1, .begin = 33, .end = 49},
	};
	struct splices s;
	struct body to;

	(void)state;
	uint64_t redact = guard(CLASS_EMAIL, GUARD_REDACT) | guard(CLASS_CARD, GUARD_REDACT);
	assert_int_equal(plan(f, 2, 2, redact, text, span_of(text.p + 10, 1), &s), 0);
	body_init(&to, NULL);
	assert_int_equal(splice_body(text, s.at, s.n, &to), 0);
	assert_true(span_eq_str(body_span(&to), "{\"model\":\"m\",\"to\":\"<EMAIL>\",\"card\":\"<CARD>\"}"));
	assert_int_equal(splice_shift(&s, 10), 0);
	assert_int_equal(splice_shift(&s, 24), 2);
	assert_int_equal(splice_shift(&s, 49), 2 + 8 - 16);
	body_deinit(&to);
}

static void test_policy(void **state)
{
	struct span text = SPAN_LIT("0123456789");
	const struct proto_finding email[] = {EMAIL(2, 5)};
	const struct proto_finding both[] = {
		{.class = CLASS_EMAIL, .classes = BIT(CLASS_EMAIL) | BIT(CLASS_CARD), .begin = 2, .end = 5},
	};
	struct splices s;

	(void)state;
	assert_int_equal(plan(email, 1, 1, 0, text, SPAN_NULL, &s), 0);
	assert_int_equal(s.n + s.flagged, 0);
	assert_int_equal(plan(email, 1, 1, guard(CLASS_EMAIL, GUARD_FLAG), text, SPAN_NULL, &s), 0);
	assert_true(s.n == 0 && s.flagged);
	assert_int_equal(plan(email, 1, 1, guard(CLASS_EMAIL, GUARD_BLOCK), text, SPAN_NULL, &s), SPLICE_E_BLOCKED);
	/* the strictest of all classes in the range */
	assert_int_equal(plan(both, 1, 1, guard(CLASS_CARD, GUARD_BLOCK), text, SPAN_NULL, &s), SPLICE_E_BLOCKED);
	/* more than can be listed: what is only flagged passes all the same, if there is nothing else to look for */
	assert_int_equal(plan(email, 1, 2, guard(CLASS_EMAIL, GUARD_FLAG), text, SPAN_NULL, &s), 0);
	assert_true(s.n == 0 && s.flagged);
	assert_int_equal(plan(email, 1, 2, guard(CLASS_EMAIL, GUARD_REDACT), text, SPAN_NULL, &s), SPLICE_E_BLOCKED);
	assert_int_equal(
		plan(email, 1, 2, guard(CLASS_EMAIL, GUARD_FLAG) | guard(CLASS_CARD, GUARD_BLOCK), text, SPAN_NULL, &s),
		SPLICE_E_BLOCKED);
	/* in the model's name */
	assert_int_equal(plan(email, 1, 1, guard(CLASS_EMAIL, GUARD_REDACT), text, span_of(text.p + 4, 3), &s),
			 SPLICE_E_BLOCKED);
}

static void test_lies(void **state)
{
	struct span text = SPAN_LIT("0123456789");
	static const struct proto_finding bad[][2] = {
		{EMAIL(0, 11), EMAIL(0, 0)},
		{EMAIL(3, 3), EMAIL(0, 0)},
		{EMAIL(4, 3), EMAIL(0, 0)},
		{EMAIL(4, 6), EMAIL(5, 7)},
		{EMAIL(4, 6), EMAIL(1, 2)},
		{{.class = 9, .classes = BIT(9), .begin = 1, .end = 2}, EMAIL(0, 0)},
		{{.class = CLASS_EMAIL, .classes = BIT(CLASS_CARD), .begin = 1, .end = 2}, EMAIL(0, 0)},
	};
	struct splices s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(plan(bad[i], 2, 2, 0, text, SPAN_NULL, &s), SPLICE_E_INVALID);
}

static void test_large(void **state)
{
	static uint8_t text[BODY_BYTES_MAX];
	struct splice at = {5, 6, SPAN_LIT("abc")};
	struct body to;

	(void)state;
	memset(text, 'x', sizeof(text));
	body_init(&to, NULL);
	assert_int_equal(splice_body(span_of(text, sizeof(text)), &at, 1, &to), SPLICE_E_TOO_LARGE);
	assert_int_equal(splice_body(span_of(text, 100000), &at, 1, &to), 0);
	assert_int_equal(to.len, 100002);
	assert_memory_equal(body_span(&to).p, "xxxxxabcxxx", 11);
	body_deinit(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redact),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
