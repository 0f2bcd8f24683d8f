/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/http_write.h"

static void test_head(void **state)
{
	const struct http_limit limit = {60, 3, 1001}, none = {0};
	char date[HTTP_DATE_BYTES];
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	http_date(784111777, date);
	assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 */
	struct http_write w = {.to = &b};
	http_write_status(&w, 429, date);
	http_write_request_id(&w, SPAN_LIT("id-1"));
	http_write_limit(&w, &limit);
	http_write_limit(&w, &none);
	http_write_retry(&w, 2500);
	http_write_retry(&w, 0);
	assert_int_equal(w.r, 0);
	assert_true(span_eq_str(buf_span(&b),
				"HTTP/1.1 429 Too Many Requests\r\n"
				"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
				"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
				"x-request-id: id-1\r\nrequest-id: id-1\r\n"
				"x-ratelimit-limit: 60\r\nx-ratelimit-remaining: 3\r\nx-ratelimit-reset: 2\r\n"
				"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 3\r\n"
				"x-ratelimit-reset-requests: 1001ms\r\n"
				"retry-after: 3\r\nretry-after-ms: 2500\r\nx-should-retry: true\r\n"
				"x-should-retry: false\r\n"));
	buf_deinit(&b);
}

/* Texts of reasons.def go into JSON as they are. */
static void test_numbers(void **state)
{
	const uint64_t numbers[] = {0, 9, 10, 1000000, UINT64_MAX};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	struct http_write w = {.to = &b};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		http_write_field_u64(&w, "n", numbers[i]);
	assert_int_equal(w.r, 0);
	assert_true(span_eq_str(buf_span(&b), "n: 0\r\nn: 9\r\nn: 10\r\nn: 1000000\r\nn: 18446744073709551615\r\n"));
	buf_deinit(&b);
}

static void test_every_reason_is_json(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	for (unsigned i = 0; i < N_REASONS; i++) {
		const struct reason_row *row = reason_row(i);
		assert_null(strpbrk(row->text, "\"\\\r\n"));
		buf_reset(&b);
		assert_int_equal(http_write_error(&b, (enum reason)i), 0);
		struct span s = buf_span(&b);
		assert_memory_equal(s.p, "{\"error\":{\"message\":\"", 21);
		assert_memory_equal(s.p + s.len - 4, "\"}}\n", 4);
	}
	buf_reset(&b);
	assert_int_equal(http_write_error_event(&b, REASON_UPSTREAM_BROKEN), 0);
	assert_memory_equal(buf_span(&b).p, "data: {\"error\":{", 16);
	assert_memory_equal(buf_span(&b).p + buf_len(&b) - 4, "}}\n\n", 4);
	buf_reset(&b);
	assert_int_equal(http_write_json_text(&b, SPAN_LIT("a\"b\\c\n\xc3\xa4")), 0);
	assert_true(span_eq_str(buf_span(&b), "a\\\"b\\\\c\\u000a\xc3\xa4"));
	buf_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_every_reason_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
