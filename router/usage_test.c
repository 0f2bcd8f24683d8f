/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/usage.h"

static struct usage read_span(struct span text)
{
	struct usage u = {0, 0};

	(void)usage_read(&u, text);
	return u;
}

static struct usage read_usage(const char *text)
{
	return read_span(span_str(text));
}

static void test_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t in, out;
	} cases[] = {
		{"{\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}", 12, 34},
		{"{\"usage\" : {\"completion_tokens\" : 3 , \"prompt_tokens\" : 9}}", 9, 3},
		{"{\"usage\":null}", 0, 0},
		{"{\"usage\":null},{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}", 1, 2},
		{"{\"usage\":{\"prompt_tokens\":1}},{\"usage\":null}", 1, 0},
		{"{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":5}\"}", 0, 0},
		{"{\"usage\":{\"prompt_tokens\":99999999999999999999999}}", UINT32_MAX, 0},
		{"{\"usage\":{\"prompt_tokens\":-4,\"completion_tokens\":1e3}}", 0, 1},
		{"{\"usage\":{\"prompt_tokens\":", 0, 0},
		{"", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usage u = read_usage(cases[i].text);
		assert_int_equal(u.tokens_in, cases[i].in);
		assert_int_equal(u.tokens_out, cases[i].out);
	}
}

/* As much of an event as is held back. Read to its end from each name, it would take longer than anybody waits. */
static void test_nothing_but_names(void **state)
{
	static const char object[] = "\"usage\":{\"prompt_tokens\":12}";
	static char text[1 << 20];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "\"usage"[i % 6];
	assert_int_equal(read_span(span_of((uint8_t *)text, sizeof(text))).tokens_in, 0);
	memcpy(text + sizeof(text) - sizeof(object), object, sizeof(object) - 1);
	assert_int_equal(read_span(span_of((uint8_t *)text, sizeof(text))).tokens_in, 12);
}

static void test_tail_keeps_the_end(void **state)
{
	static uint8_t all[3 * USAGE_TAIL_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t step = 1; step <= sizeof(all); step += 37) {
		struct usage_tail t = {0};
		for (size_t at = 0; at < sizeof(all); at += step) {
			usage_tail_add(&t, span_of(all + at, MIN(step, sizeof(all) - at)));
			size_t seen = MIN(at + step, sizeof(all)), len = MIN(seen, (size_t)USAGE_TAIL_BYTES);
			assert_int_equal(t.len, len);
			assert_memory_equal(t.bytes, all + seen - len, len);
		}
	}
}

/* However a body is cut, the same numbers; a small one is never kept. */
static void test_any_cut(void **state)
{
	static const char text[] =
		"{\"id\":\"x\",\"usage\":{\"details\":{\"cached\":7},\"prompt_tokens\":123,\"completion_"
		"tokens\":4567,\"total_tokens\":4690},\"tier\":\"}\"}\n";
	const size_t len = sizeof(text) - 1;

	(void)state;
	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b++) {
			struct usage_tail t = {0};
			struct usage u = {0, 0};
			usage_pass(&u, &t, span_of(text, a));
			usage_pass(&u, &t, span_of(text + a, b - a));
			usage_pass(&u, &t, span_of(text + b, len - b));
			usage_end(&u, &t);
			assert_int_equal(u.tokens_in, 123);
			assert_int_equal(u.tokens_out, 4567);
			assert_true(a < len || t.len == 0);
		}
	}
}

/* Before the choices, as some have it; the end counts when both have one. */
static void test_begin(void **state)
{
	static const char first[] =
		"{\"id\":\"x\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6},\"choices\":[";
	uint8_t body[4 * USAGE_TAIL_BYTES];
	struct usage u = {0, 0}, known = {1, 2}, far = {0, 0};

	(void)state;
	memset(body, 'x', sizeof(body));
	memcpy(body, first, sizeof(first) - 1);
	usage_begin(&u, span_of(body, sizeof(body)));
	assert_true(u.tokens_in == 5 && u.tokens_out == 6);
	usage_begin(&known, span_of(body, sizeof(body)));
	assert_true(known.tokens_in == 1 && known.tokens_out == 2);
	memmove(body + USAGE_TAIL_BYTES, body, sizeof(first) - 1);
	memset(body, 'x', sizeof(first) - 1);
	usage_begin(&far, span_of(body, sizeof(body)));
	usage_begin(&far, SPAN_NULL);
	assert_true(far.tokens_in == 0 && far.tokens_out == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_nothing_but_names),
		cmocka_unit_test(test_tail_keeps_the_end),
		cmocka_unit_test(test_any_cut),
		cmocka_unit_test(test_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
