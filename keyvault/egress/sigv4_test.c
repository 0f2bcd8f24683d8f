/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases that AWS publishes as its Signature Version 4 test suite: key AKIDEXAMPLE, 30 August 2015, us-east-1,
 * service "service". The requests are given as the suite has them, some with bytes that no request line of ours holds.
 */
#include "keyvault/egress/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define TOKEN                                                                                                       \
	"AQoDYXdzEPT//////////"                                                                                     \
	"wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUu"                 \
	"wthAx7mSEI/qkPpKPi/"                                                                                       \
	"kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVX"           \
	"AkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/" \
	"oLxBA=="
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define HOST       "host;x-amz-date"
#define FORM       "application/x-www-form-urlencoded"

struct suite_case {
	const char *name, *method, *target;
	struct {
		const char *name, *value;
	} more[2];
	const char *body, *signed_names, *signature;
};

static const struct suite_case suite[] = {
	{"get-vanilla",
	 "GET",
	 "/",
	 {{0}},
	 "",
	 HOST,
	 "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"post-vanilla",
	 "POST",
	 "/",
	 {{0}},
	 "",
	 HOST,
	 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"get-unreserved",
	 "GET",
	 "/" UNRESERVED,
	 {{0}},
	 "",
	 HOST,
	 "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-vanilla-query-order-key-case",
	 "GET",
	 "/?Param2=value2&Param1=value1",
	 {{0}},
	 "",
	 HOST,
	 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-vanilla-query-order-value",
	 "GET",
	 "/?Param1=value2&Param1=value1",
	 {{0}},
	 "",
	 HOST,
	 "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
	{"get-vanilla-utf8-query",
	 "GET",
	 "/?\xe1\x88\xb4=bar",
	 {{0}},
	 "",
	 HOST,
	 "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{"post-vanilla-query",
	 "POST",
	 "/?Param1=value1",
	 {{0}},
	 "",
	 HOST,
	 "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{"get-slashes",
	 "GET",
	 "//example//",
	 {{0}},
	 "",
	 HOST,
	 "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
	{"get-header-value-order",
	 "GET",
	 "/",
	 {{"my-header1", "value4,value1,value3,value2"}},
	 "",
	 "host;my-header1;x-amz-date",
	 "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
	{"get-header-key-duplicate",
	 "GET",
	 "/",
	 {{"my-header1", "value2,value2,value1"}},
	 "",
	 "host;my-header1;x-amz-date",
	 "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
	{"get-header-value-trim",
	 "GET",
	 "/",
	 {{"my-header2", "\"a   b   c\""}, {"my-header1", " value1"}},
	 "",
	 "host;my-header1;my-header2;x-amz-date",
	 "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	{"post-header-key-sort",
	 "POST",
	 "/",
	 {{"my-header1", "value1"}},
	 "",
	 "host;my-header1;x-amz-date",
	 "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{"post-header-value-case",
	 "POST",
	 "/",
	 {{"my-header1", "VALUE1"}},
	 "",
	 "host;my-header1;x-amz-date",
	 "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
	{"post-x-www-form-urlencoded",
	 "POST",
	 "/",
	 {{"content-type", FORM}},
	 "Param1=value1",
	 "content-type;host;x-amz-date",
	 "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	{"post-x-www-form-urlencoded-parameters",
	 "POST",
	 "/",
	 {{"content-type", FORM "; charset=utf8"}},
	 "Param1=value1",
	 "content-type;host;x-amz-date",
	 "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
	{"post-sts-header-before",
	 "POST",
	 "/",
	 {{"x-amz-security-token", TOKEN}},
	 "",
	 "host;x-amz-date;x-amz-security-token",
	 "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
	{"get-vanilla-with-session-token",
	 "GET",
	 "/",
	 {{"x-amz-security-token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}},
	 "",
	 "host;x-amz-date;x-amz-security-token",
	 "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
};

static struct sigv4 request(const char *method, const char *target)
{
	struct sigv4 s = {.method = method,
			  .target = span_str(target),
			  .fields = {{SPAN_LIT("x-amz-date"), SPAN_LIT("20150830T123600Z")},
				     {SPAN_LIT("host"), SPAN_LIT("example.amazonaws.com")}},
			  .n_fields = 2,
			  .key_id = SPAN_LIT("AKIDEXAMPLE"),
			  .secret = SPAN_LIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
			  .region = SPAN_LIT("us-east-1"),
			  .service = SPAN_LIT("service")};

	sigv4_date(1440938160, s.date);
	return s;
}

static void published_signatures(void **state)
{
	uint8_t work[SIGV4_WORK_BYTES], value[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(suite); i++) {
		const struct suite_case *c = &suite[i];
		struct sigv4 s = request(c->method, c->target);
		for (size_t k = 0; k < ARRAY_LEN(c->more) && c->more[k].name; k++)
			s.fields[s.n_fields++] =
				(struct sigv4_field){span_str(c->more[k].name), span_str(c->more[k].value)};
		s.body = span_str(c->body);
		struct text t = TEXT_OF(value, sizeof(value) - 1), expected;
		uint8_t wanted[1024];
		expected = TEXT_OF(wanted, sizeof(wanted) - 1);
		text_put_str(&expected,
			     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
			     "SignedHeaders=");
		text_put_str(&expected, c->signed_names);
		text_put_str(&expected, ", Signature=");
		text_put_str(&expected, c->signature);
		assert_int_equal(sigv4_sign(&s, work, sizeof(work), &t), 0);
		value[t.len] = wanted[expected.len] = 0;
		if (!span_eq(text_span(&t), text_span(&expected)))
			fail_msg("%s: %s", c->name, (char *)value);
	}
}

static void expect_canonical(const char *target, const char *path, const char *query)
{
	uint8_t got[4096], want[4096];
	struct text t = TEXT_OF(got, sizeof(got)), w = TEXT_OF(want, sizeof(want));
	struct sigv4 s = request("GET", target);

	assert_int_equal(sigv4_canonical(&s, &t), 0);
	text_put_str(&w, "GET\n");
	text_put_str(&w, path);
	text_put_str(&w, "\n");
	text_put_str(&w, query);
	text_put_str(&w, "\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n"
			 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	if (!span_eq(text_span(&t), text_span(&w)))
		fail_msg("%s: %.*s", target, (int)t.len, (char *)got);
}

/* The suite's folder normalize-path, get-utf8 and get-space: the second line of their .creq. */
static void published_paths(void **state)
{
	(void)state;
	expect_canonical("/example/..", "/", "");                     /* get-relative */
	expect_canonical("/example1/example2/../..", "/", "");        /* get-relative-relative */
	expect_canonical("//", "/", "");                              /* get-slash */
	expect_canonical("/./", "/", "");                             /* get-slash-dot-slash */
	expect_canonical("/./example", "/example", "");               /* get-slash-pointless-dot */
	expect_canonical("//example//", "/example/", "");             /* get-slashes */
	expect_canonical("/example space/", "/example%20space/", ""); /* get-space */
	expect_canonical("/\xe1\x88\xb4", "/%E1%88%B4", "");          /* get-utf8 */
}

/* A path that is escaped on the wire is escaped once more: model names of Bedrock hold colons. */
static void escaped_paths(void **state)
{
	(void)state;
	expect_canonical("/model/anthropic.claude-3%3A0/converse", "/model/anthropic.claude-3%253A0/converse", "");
	expect_canonical("/model/a:0/invoke", "/model/a%3A0/invoke", "");
	expect_canonical("/a%2Fb", "/a%252Fb", "");
	expect_canonical("/a/..b/.c", "/a/..b/.c", "");
	expect_canonical("", "/", "");
}

static void queries(void **state)
{
	(void)state;
	expect_canonical("/?b=1&a=2", "/", "a=2&b=1");
	expect_canonical("/?a=10&a=9&a=1", "/", "a=1&a=10&a=9");
	expect_canonical("/?a=1&a=1", "/", "a=1&a=1");
	expect_canonical("/?b&a=1", "/", "a=1&b=");
	expect_canonical("/?a=1=2", "/", "a=1%3D2");
	expect_canonical("/?q=a%20b&p=%2f%3F", "/", "p=%2F%3F&q=a%20b");
	expect_canonical("/?q=a+b", "/", "q=a%2Bb");
	expect_canonical("/?x=a.b&x=a%2Fb", "/", "x=a%2Fb&x=a.b");
	expect_canonical("/?bad=%4&worse=%zz", "/", "bad=%254&worse=%25zz");
	expect_canonical("/?&&", "/", "");
}

static void dates(void **state)
{
	char date[SIGV4_DATE_BYTES + 1];

	(void)state;
	sigv4_date(1440938160, date);
	assert_string_equal(date, "20150830T123600Z");
	sigv4_date(951868799, date); /* the end of a leap day */
	assert_string_equal(date, "20000229T235959Z");
}

/* What does not fit is refused, at every size. */
static void too_small(void **state)
{
	uint8_t value[512];
	bool signed_once = false;

	(void)state;
	for (size_t len = 1; len <= 640; len++) {
		struct sigv4 s = request("GET", "/?Param2=value2&Param1=value1");
		uint8_t *work = malloc(len);
		struct text t = TEXT_OF(value, sizeof(value));
		int r = sigv4_sign(&s, work, len, &t);
		assert_true(r == SIGV4_E_SIZE || r == 0);
		assert_true(!signed_once || r == 0);
		signed_once |= r == 0;
		if (r == 0)
			assert_memory_equal(value + t.len - 64,
					    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", 64);
		free(work);
	}
	assert_true(signed_once);
	for (size_t len = 0; len < 200; len++) {
		uint8_t work[SIGV4_WORK_BYTES];
		struct sigv4 s = request("GET", "/");
		struct text t = TEXT_OF(value, len);
		int r = sigv4_sign(&s, work, sizeof(work), &t);
		assert_int_equal(r, len < 186 ? SIGV4_E_SIZE : 0);
		assert_true(t.len <= len);
	}
	uint8_t work[SIGV4_WORK_BYTES];
	char many[2 * (SIGV4_PARAMS_MAX + 1) + 3] = "/?";
	for (size_t i = 0; i <= SIGV4_PARAMS_MAX; i++)
		memcpy(many + 2 + 2 * i, "a&", 2);
	struct sigv4 s = request("GET", many);
	struct text t = TEXT_OF(value, sizeof(value));
	assert_int_equal(sigv4_sign(&s, work, sizeof(work), &t), SIGV4_E_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_signatures),
		cmocka_unit_test(published_paths),
		cmocka_unit_test(escaped_paths),
		cmocka_unit_test(queries),
		cmocka_unit_test(dates),
		cmocka_unit_test(too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
