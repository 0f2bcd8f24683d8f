/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "keyvault/egress/auth.h"

#define MAX_FIELDS 8
#define HEAD_CAP   16384

struct field {
	const char *name, *value;
};

/* As auth_header.c does it. */
struct test_auth {
	const char *prefix;
};

static int write_auth(const void *ctx, const struct head *h, struct text *to)
{
	const struct test_auth *auth = ctx;
	const struct proto_binding b = {.header = h->auth_name, .prefix = span_str(auth->prefix)};

	return auth_header_write(&(struct auth_use){.binding = &b, .secret = SPAN_LIT("sk-secret")}, h, to);
}

static const struct test_auth bearer_auth = {"Bearer "}, plain_auth = {""};

/* The head for these fields: *ret_text ends with NUL and is the caller's to free. */
static int build(struct head h, const struct field *fields, size_t n, char **ret_text)
{
	uint8_t packed[4096];
	size_t used = 0, len;

	/* As unpacked messages hold them. */
	for (size_t i = 0; i < n; i++) {
		struct proto_header item = {.name = span_str(fields[i].name), .value = span_str(fields[i].value)};
		assert_int_equal(
			proto_pack_record(&proto_header_desc, &item, packed + used, sizeof(packed) - used, &len), 0);
		used += len;
	}
	h.fields = (struct proto_list){.count = n, .raw = span_of(packed, used)};
	*ret_text = NULL;
	*ret_text = malloc(HEAD_CAP + 1);
	int r = head_write(&h, (uint8_t *)*ret_text, HEAD_CAP, &len);
	if (r)
		free(TAKE(*ret_text));
	else
		(*ret_text)[len] = 0;
	return r;
}

static struct head base(void)
{
	return (struct head){
		.method = PROTO_POST,
		.path = SPAN_LIT("/v1/chat/completions"),
		.host = SPAN_LIT("api.openai.com"),
		.port = 443,
		.body_bytes = 17,
		.auth_name = SPAN_LIT("authorization"),
		.auth = write_auth,
		.auth_ctx = &bearer_auth,
	};
}

static void bearer(void **state)
{
	static const struct field fields[] = {{"content-type", "application/json"}, {"user-agent", "x"}};
	char *text;

	(void)state;
	assert_int_equal(build(base(), fields, 2, &text), 0);
	assert_string_equal(text, "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n"
				  "content-type: application/json\r\nuser-agent: x\r\naccept-encoding: identity\r\n"
				  "content-length: 17\r\nauthorization: Bearer sk-secret\r\n\r\n");
	free(text);
}

static void named_header_get_and_port(void **state)
{
	struct head h = base();
	char *text;

	(void)state;
	h.method = PROTO_GET;
	h.body_bytes = 0;
	h.host = SPAN_LIT("::1");
	h.port = 8443;
	h.auth_name = SPAN_LIT("x-goog-api-key");
	h.auth_ctx = &plain_auth;
	assert_int_equal(build(h, NULL, 0, &text), 0);
	assert_string_equal(text, "GET /v1/chat/completions HTTP/1.1\r\nhost: [::1]:8443\r\n"
				  "accept-encoding: identity\r\nx-goog-api-key: sk-secret\r\n\r\n");
	free(text);
}

static void drops_what_is_not_the_routers(void **state)
{
	static const char *const names[] = {"host",
					    "content-length",
					    "transfer-encoding",
					    "connection",
					    "te",
					    "trailer",
					    "upgrade",
					    "expect",
					    "proxy-authorization",
					    "authorization",
					    "x-api-key",
					    "api-key",
					    "x-goog-api-key",
					    "cookie",
					    "set-cookie",
					    "accept-encoding",
					    "x-forwarded-host",
					    "forwarded",
					    "x-amz-security-token",
					    "x-my-auth",
					    "x-portkey-custom-host",
					    "keep-alive",
					    "x-http-method-override",
					    "content-encoding",
					    "http2-settings"};
	struct head h = base();

	(void)state;
	h.auth_name = SPAN_LIT("x-my-auth");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct field f = {names[i], "evil.test"};
		char *text;
		assert_int_equal(build(h, &f, 1, &text), 0);
		if (strstr(text, "evil"))
			fail_msg("%s was passed on", names[i]);
		free(text);
	}
}

static void refuses_splitting(void **state)
{
	static const struct field bad[] = {
		{"a", "b\r\nhost: evil.test"},
		{"a", "b\n"},
		{"a", "b\rc"},
		{"a\r\nb", "c"},
		{"a b", "c"},
		{"a:", "c"},
		{"A", "c"},
		{"\xc3\xbc", "c"},
		{"a", "\x7f"},
		{"a", "\x01"},
	};
	char *text;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(build(base(), &bad[i], 1, &text), HEAD_E_FIELD);
}

static void size_limit(void **state)
{
	static char value[2000];
	struct field fields[MAX_FIELDS];
	uint8_t packed[20000];
	size_t used = 0, len;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	for (size_t i = 0; i < MAX_FIELDS; i++)
		fields[i] = (struct field){"a", value};
	for (size_t i = 0; i < MAX_FIELDS + 1; i++) {
		struct proto_header item = {.name = span_str(fields[0].name), .value = span_str(value)};
		assert_int_equal(
			proto_pack_record(&proto_header_desc, &item, packed + used, sizeof(packed) - used, &len), 0);
		used += len;
	}
	struct head h = base();
	h.fields = (struct proto_list){.count = MAX_FIELDS + 1, .raw = span_of(packed, used)};
	static uint8_t to[20000];
	size_t need;
	assert_int_equal(head_write(&h, to, HEAD_CAP, &len), HEAD_E_SIZE);
	assert_null(memmem(to, sizeof(to), "sk-secret", 9));
	assert_int_equal(head_write(&h, to, sizeof(to), &need), 0);
	for (size_t cap = 0; cap < need; cap++) {
		memset(to, 0, sizeof(to));
		assert_int_equal(head_write(&h, to, cap, &len), HEAD_E_SIZE);
		assert_null(memmem(to, sizeof(to), "sk-secret", 9));
	}
	assert_int_equal(head_write(&h, to, need, &len), 0);
}

static void paths(void **state)
{
	static const char *const good[] = {"/",
					   "/v1/chat/completions",
					   "/v1/a?b=c/../d&e=%2f",
					   "/a/.b/..c/d.",
					   "/v1/a%20b",
					   "/v1/",
					   "/?",
					   "/a/?b",
					   "/a?b//c/..",
					   "/a/...",
					   "/.a./..."};
	static const char *const bad[] = {"",
					  "v1",
					  "//evil.test/",
					  "/a//b",
					  "/a/../b",
					  "/a/..",
					  "/.",
					  "/a/./b",
					  "/a/%2e%2e/b",
					  "/a%2Fb",
					  "/a%5cb",
					  "/a%00",
					  "/a b",
					  "/a\tb",
					  "/a\r\nb",
					  "/a#b",
					  "/a\\b",
					  "/a%",
					  "/a%zz",
					  "/\xc3\xbc",
					  "/a%252e",
					  "https://evil.test/",
					  "/a/..?b",
					  "/..",
					  "/a/.",
					  "/.?b",
					  "//",
					  "/a//",
					  "/a?b\\c",
					  "/a?b#c",
					  "/a?b c",
					  "/%2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(head_path_ok(span_str(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (head_path_ok(span_str(bad[i])))
			fail_msg("'%s' was accepted", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bearer),
		cmocka_unit_test(named_header_get_and_port),
		cmocka_unit_test(drops_what_is_not_the_routers),
		cmocka_unit_test(refuses_splitting),
		cmocka_unit_test(size_limit),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
