/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "router/http_body.h"

struct result {
	int r;
	char data[256];
	size_t data_len, used;
};

/* Feeds `in` as two reads that meet at `split`. */
static struct result decode(const struct http_head *head, struct span in, size_t split)
{
	struct result res = {.r = HTTP_BODY_E_MORE};
	struct http_body b;
	size_t have = split;

	http_body_init(&b, head);
	while (res.r == 0 || res.r == HTTP_BODY_E_MORE) {
		struct span data;
		size_t used, n = have - res.used;
		uint8_t *copy = malloc(n + 1);
		assert_non_null(copy);
		memcpy(copy, in.p + res.used, n);
		res.r = http_body_next(&b, span_of(copy, n), &used, &data);
		if (data.len > 0)
			memcpy(res.data + res.data_len, data.p, data.len);
		res.data_len += data.len;
		res.used += used;
		free(copy);
		if (res.r == HTTP_BODY_E_MORE && have == in.len)
			break;
		if (res.r == HTTP_BODY_E_MORE)
			have = in.len;
	}
	return res;
}

static void check(const struct http_head *head, struct span in, int expect, const char *data, size_t rest)
{
	for (size_t split = 0; split <= in.len; split++) {
		struct result res = decode(head, in, split);
		assert_int_equal(res.r, expect);
		if (expect == HTTP_BODY_E_DONE) {
			assert_true(span_eq_str(span_of(res.data, res.data_len), data));
			assert_int_equal(in.len - res.used, rest);
		}
	}
}

static const struct http_head chunked = {.framing = HTTP_FRAMING_CHUNKED};

static void test_chunked(void **state)
{
	(void)state;
	check(&chunked, SPAN_LIT("5\r\nhello\r\n0\r\n\r\n"), HTTP_BODY_E_DONE, "hello", 0);
	check(&chunked, SPAN_LIT("0\r\n\r\n"), HTTP_BODY_E_DONE, "", 0);
	check(&chunked, SPAN_LIT("00000003\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), HTTP_BODY_E_DONE, "abc0123456789",
	      0);
	check(&chunked, SPAN_LIT("a\r\n0123456789\r\n000\r\n\r\nGET / HTTP/1.1\r\n"), HTTP_BODY_E_DONE, "0123456789",
	      16);
}

static void test_chunked_refused(void **state)
{
	static const struct span bad[] = {
		{(const uint8_t *)"5;ext=1\r\nhello\r\n0\r\n\r\n", 21}, /* extension */
		{(const uint8_t *)"5;\nhello\r\n0\r\n\r\n", 16},        /* extension that hides an LF */
		{(const uint8_t *)"5 \r\nhello\r\n0\r\n\r\n", 16},      /* space after the size */
		{(const uint8_t *)" 5\r\nhello\r\n0\r\n\r\n", 16},
		{(const uint8_t *)"0x5\r\nhello\r\n0\r\n\r\n", 17},
		{(const uint8_t *)"-5\r\nhello\r\n0\r\n\r\n", 16},
		{(const uint8_t *)"+5\r\nhello\r\n0\r\n\r\n", 16},
		{(const uint8_t *)"\r\nhello\r\n0\r\n\r\n", 14},   /* no size */
		{(const uint8_t *)"5\nhello\r\n0\r\n\r\n", 14},    /* bare LF after the size */
		{(const uint8_t *)"5\rxhello\r\n0\r\n\r\n", 15},   /* bare CR */
		{(const uint8_t *)"5\r\nhelloX\r\n0\r\n\r\n", 16}, /* longer than said */
		{(const uint8_t *)"5\r\nhello0\r\n\r\n", 13},      /* no CRLF after the data (CVE-2025-23167) */
		{(const uint8_t *)"5\r\nhello\n0\r\n\r\n", 14},
		{(const uint8_t *)"000000005\r\nhello\r\n0\r\n\r\n", 23}, /* nine digits */
		{(const uint8_t *)"ffffffffffffffff5\r\n", 19},           /* overflow */
		{(const uint8_t *)"0\r\nX: y\r\n\r\n", 11},               /* trailer */
		{(const uint8_t *)"0\r\n\n", 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		check(&chunked, bad[i], HTTP_BODY_E_BAD, NULL, 0);
}

static void test_length(void **state)
{
	const struct http_head none = {.framing = HTTP_FRAMING_NONE}, zero = {.framing = HTTP_FRAMING_LENGTH};
	const struct http_head five = {.framing = HTTP_FRAMING_LENGTH, .content_length = 5};

	(void)state;
	check(&five, SPAN_LIT("helloGET"), HTTP_BODY_E_DONE, "hello", 3);
	check(&five, SPAN_LIT("hell"), HTTP_BODY_E_MORE, NULL, 0);
	check(&zero, SPAN_LIT("GET"), HTTP_BODY_E_DONE, "", 3);
	check(&none, SPAN_LIT("GET"), HTTP_BODY_E_DONE, "", 3);
}

static void test_incomplete(void **state)
{
	(void)state;
	check(&chunked, SPAN_LIT("5\r\nhello\r\n0\r\n"), HTTP_BODY_E_MORE, NULL, 0);
	check(&chunked, SPAN_LIT("5\r\nhel"), HTTP_BODY_E_MORE, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_chunked_refused),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_incomplete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
