/* SPDX-License-Identifier: Apache-2.0 */
/* However a stream is cut into reads, the same events come out; compared with a reader that has the whole text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "router/sse.h"
#include "tests/support/within.h"

/* Non-empty data of all events, each followed by '|'; `step` bytes arrive at a time. *ret_left: bytes of no event. */
static void events(struct span in, size_t step, char *ret, size_t *ret_left)
{
	struct sse s = {0};
	size_t taken = 0, have = 0, bytes;

	*ret = '\0';
	while (have < in.len) {
		have = MIN(in.len, have + step);
		for (;;) {
			uint8_t *copy = malloc(have - taken + 1);
			assert_non_null(copy);
			memcpy(copy, in.p + taken, have - taken);
			bool found = sse_next(&s, span_of(copy, have - taken), &bytes);
			struct span data = found ? sse_data(span_of(copy, bytes)) : SPAN_NULL;
			if (data.p) {
				strncat(ret, (const char *)data.p, data.len);
				strcat(ret, "|");
			}
			free(copy);
			if (!found)
				break;
			assert_within(bytes, 1, have - taken);
			taken += bytes;
		}
	}
	*ret_left = in.len - taken;
}

static void test_every_split(void **state)
{
	static const struct {
		const char *in, *data;
		size_t left; /* an LF after the last CR may wait for the next event */
	} cases[] = {
		{"data: a\n\ndata: b\n\n", "a|b|", 0},
		{"data: a\r\n\r\ndata:b\r\n\r\n", "a|b|", 1},
		{"data: a\r\rdata: b\r\r", "a|b|", 0},
		{": comment\n\nevent: x\ndata: 1\ndata: 2\n\n", "1|", 0},
		{"data: a\n\n\n\n\ndata: [DONE]\n\n", "a|[DONE]|", 0},
		{"data: a\r\n\ndata: b\n\r\n", "a|b|", 1},
		{"\n\ndata:  two spaces\n\n", " two spaces|", 0},
		{"data: cut", "", 9},
		{"data: cut\n", "", 10},
		{"data: cut\r\n", "", 11},
		{"data\n\ndatax: 1\n\ndata: y\n\n", "y|", 0},
	};
	char got[256];
	size_t left;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t step = 1; step <= strlen(cases[i].in); step++) {
			events(span_str(cases[i].in), step, got, &left);
			assert_string_equal(got, cases[i].data);
			if (cases[i].left > 1)
				assert_int_equal(left, cases[i].left);
			else
				assert_within(left, 0, cases[i].left);
		}
}

static void test_data(void **state)
{
	(void)state;
	assert_true(span_eq_str(sse_data(SPAN_LIT("data: x\n\n")), "x"));
	assert_true(span_eq_str(sse_data(SPAN_LIT("data:x\r\n\r\n")), "x"));
	assert_true(span_eq_str(sse_data(SPAN_LIT("event: e\rdata: x\r\r")), "x"));
	assert_true(span_eq_str(sse_data(SPAN_LIT("\ndata: x\n\n")), "x"));
	assert_int_equal(sse_data(SPAN_LIT("data:\n\n")).len, 0);
	assert_null(sse_data(SPAN_LIT(": data: x\n\n")).p);
	assert_null(sse_data(SPAN_NULL).p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
