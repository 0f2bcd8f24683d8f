/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "router/endpoint.h"

static enum reason match(const char *method, const char *target, struct endpoint_match *m)
{
	static struct http_head h;
	static char text[512]; /* what the match found points into it */
	struct http_scan s = {0};
	size_t bytes;

	(void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", method, target);
	assert_int_equal(http_scan(&s, span_str(text), &bytes), 0);
	assert_int_equal(http_head_parse(span_str(text), &h), 0);
	return endpoint_match(&h, m);
}

#define ID64 "0123456789abcdef-123456789abcdef0123456789ABCDEF0123456789abcdef"

static void test_ids(void **state)
{
	struct endpoint_match m;

	(void)state;
	assert_int_equal(match("GET", "/v1/receipts/5f-0aZ?a=b", &m), REASON_NONE);
	assert_true(span_eq_str(m.id, "5f-0aZ"));
	assert_int_equal(match("GET", "/v1/models", &m), REASON_NONE);
	assert_null(m.id.p);
	assert_false(endpoint_id_valid(SPAN_NULL)); /* a trusted proxy's empty x-request-id */
}

static void test_paths(void **state)
{
	static const struct {
		const char *method, *target;
		enum reason reason;
		const char *path;
	} cases[] = {
		{"POST", "/v1/chat/completions", REASON_NONE, "/v1/chat/completions"},
		{"POST", "/chat/completions", REASON_NONE, "/v1/chat/completions"},
		{"POST", "/v1/chat/completions?beta=true", REASON_NONE, "/v1/chat/completions"},
		{"GET", "/v1/models", REASON_NONE, "/v1/models"},
		{"GET", "/models", REASON_NONE, "/v1/models"},
		{"GET", "/", REASON_NONE, "/"},
		{"HEAD", "/", REASON_NONE, "/"},
		{"GET", "/healthz", REASON_NONE, "/healthz"},
		{"HEAD", "/readyz", REASON_NONE, "/readyz"},
		{"GET", "/v1/chat/completions", REASON_METHOD_NOT_ALLOWED, NULL},
		{"HEAD", "/v1/models", REASON_METHOD_NOT_ALLOWED, NULL},
		{"POST", "/healthz", REASON_METHOD_NOT_ALLOWED, NULL},
		{"DELETE", "/v1/models", REASON_METHOD_NOT_ALLOWED, NULL},
		{"GET", "/v1", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/healthz", REASON_NOT_FOUND, NULL},
		{"POST", "/v1//chat/completions", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/chat/completions/", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/./chat/completions", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/x/../chat/completions", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/chat/completion%73", REASON_NOT_FOUND, NULL},
		{"POST", "/V1/chat/completions", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/v1/chat/completions", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/chat/completions?key=abc", REASON_KEY_IN_QUERY, NULL},
		{"GET", "/nowhere?a=b&KEY=abc", REASON_KEY_IN_QUERY, NULL},
		{"GET", "/v1/models?api_key", REASON_KEY_IN_QUERY, NULL},
		{"GET", "/v1/models?monkey=1&", REASON_NONE, "/v1/models"},
		{"GET", "/v1/models?", REASON_NONE, "/v1/models"},
		{"GET", "/v1/receipts/5f-0aZ", REASON_NONE, "/v1/receipts/"},
		{"GET", "/receipts/a?x=y", REASON_NONE, "/v1/receipts/"},
		{"GET", "/v1/receipts/" ID64, REASON_NONE, "/v1/receipts/"},
		{"GET", "/v1/receipts/" ID64 "a", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/receipts/", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/receipts", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/receipts/a/b", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/receipts/a%62", REASON_NOT_FOUND, NULL},
		{"GET", "/v1/receipts/..", REASON_NOT_FOUND, NULL},
		{"POST", "/v1/receipts/a", REASON_METHOD_NOT_ALLOWED, NULL},
	};
	struct endpoint_match m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(match(cases[i].method, cases[i].target, &m), cases[i].reason);
		if (cases[i].path)
			assert_string_equal(endpoint_path(&m), cases[i].path);
	}
}

static struct span credential(struct http_field a, struct http_field b)
{
	struct http_head h = {.n_fields = 2, .fields = {a, b}};

	return endpoint_credential(&h);
}

#define FIELD(n, v) ((struct http_field){SPAN_LIT(n), SPAN_LIT(v)})

static void test_credential(void **state)
{
	struct http_field none = FIELD("x", "y");

	(void)state;
	assert_true(span_eq_str(credential(none, FIELD("Authorization", "Bearer  abc")), "abc"));
	assert_true(span_eq_str(credential(FIELD("AUTHORIZATION", "bearer abc"), none), "abc"));
	assert_true(span_eq_str(credential(FIELD("x-api-key", "abc"), none), "abc"));
	assert_true(span_eq_str(credential(FIELD("Api-Key", "abc"), none), "abc"));
	assert_true(span_eq_str(credential(FIELD("x-goog-api-key", "abc"), none), "abc"));
	assert_true(span_eq_str(credential(FIELD("x-api-key", "abc"), FIELD("authorization", "Bearer abc")), "abc"));
	assert_null(credential(FIELD("x-api-key", "abc"), FIELD("authorization", "Bearer abd")).p);
	assert_null(credential(FIELD("authorization", "Basic abc"), none).p);
	assert_null(credential(FIELD("authorization", "Bearer"), none).p);
	assert_null(credential(FIELD("authorization", "Bearer  "), none).p);
	assert_null(credential(FIELD("x-api-key", ""), none).p);
	assert_null(credential(none, none).p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_credential),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
