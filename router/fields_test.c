/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/fields.h"

#define FIELD(n, v)                      \
	{                                \
		SPAN_LIT(n), SPAN_LIT(v) \
	}

static void test_up(void **state)
{
	struct http_head h = {
		.n_fields = 16,
		.fields =
			{
				FIELD("Host", "a"),
				FIELD("Authorization", "Bearer k"),
				FIELD("X-Api-Key", "k"),
				FIELD("Cookie", "c"),
				FIELD("Content-Length", "3"),
				FIELD("Transfer-Encoding", "chunked"),
				FIELD("Connection", "keep-alive"),
				FIELD("Content-Type", "text/plain"),
				FIELD("X-Forwarded-For", "1.2.3.4"),
				FIELD("Accept-Encoding", "gzip"),
				FIELD("User-Agent", "ua"),
				FIELD("X-Stainless-Lang", "js"),
				FIELD("X-Stainless-", "bare"),
				FIELD("OpenAI-Project", "p"),
				FIELD("Idempotency-Key", "i"),
				FIELD("Proxy-Authorization", "k"),
			},
	};
	static const char *const expect[] = {
		"content-type: application/json", "x-request-id: id-1", "user-agent: ua",
		"x-stainless-lang: js",           "openai-project: p",  "idempotency-key: i"};
	struct buf to;
	size_t n;

	(void)state;
	buf_init(&to, 65536);
	assert_int_equal(fields_to_upstream(&h, SPAN_LIT("id-1"), &to, &n), 0);
	assert_int_equal(n, ARRAY_LEN(expect));
	struct proto_list list = {.count = n, .raw = buf_span(&to)};
	struct proto_header item;
	for (size_t i = 0; i < n; i++) {
		assert_true(proto_header_next(&list, &item));
		size_t name = strcspn(expect[i], ":");
		assert_true(span_eq(item.name, span_of(expect[i], name)));
		assert_true(span_eq_str(item.value, expect[i] + name + 2));
	}
	assert_false(proto_header_next(&list, &item));
	buf_deinit(&to);
}

static void test_too_many(void **state)
{
	static struct http_head h;
	struct buf to;
	size_t n;

	(void)state;
	for (h.n_fields = 0; h.n_fields < 48; h.n_fields++)
		h.fields[h.n_fields] = (struct http_field)FIELD("accept", "a");
	buf_init(&to, 65536);
	assert_int_equal(fields_to_upstream(&h, SPAN_LIT("id-1"), &to, &n), FIELDS_E_TOO_LARGE);
	buf_deinit(&to);
}

static void test_down(void **state)
{
	const struct proto_header items[] = {
		{SPAN_LIT("content-type"), SPAN_LIT("text/event-stream")},
		{SPAN_LIT("set-cookie"), SPAN_LIT("a=b")},
		{SPAN_LIT("x-request-id"), SPAN_LIT("not as the egress names it")},
		{SPAN_LIT("x-upstream-request-id"), SPAN_LIT("theirs")},
		{SPAN_LIT("openai-version"), SPAN_LIT("1\r\nset-cookie: smuggled")},
		{SPAN_LIT("content-length"), SPAN_LIT("3")},
	};
	uint8_t raw[512];
	size_t len = 0, n;
	struct buf to;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		assert_int_equal(proto_pack_record(&proto_header_desc, &items[i], raw + len, sizeof(raw) - len, &n), 0);
		len += n;
	}
	struct proto_list list = {.count = ARRAY_LEN(items), .raw = span_of(raw, len)};
	buf_init(&to, 4096);
	struct http_write w = {.to = &to};
	assert_true(span_eq_str(fields_find(&list, "content-type"), "text/event-stream"));
	assert_null(fields_find(&list, "none").p);
	fields_to_client(&w, &list);
	assert_int_equal(w.r, 0);
	assert_true(span_eq_str(buf_span(&to), "content-type: text/event-stream\r\nx-upstream-request-id: theirs\r\n"));
	buf_deinit(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
