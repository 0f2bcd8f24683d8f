/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json_scan.h"

struct verdict {
	int r;
	const char *text;
	size_t len;
};
#define CASE(r, s)                      \
	{                               \
		(r), (s), sizeof(s) - 1 \
	}

/* In a block of its own size, so that the address sanitizer sees a read past the end. */
static int scan_exact(const char *text, size_t len, json_visit *visit, void *ctx, struct json_body *ret_body)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct json_body body;
	int r;

	memcpy(copy, text, len);
	r = json_scan(span_of(copy, len), visit, ctx, &body);
	free(copy);
	if (r == 0 && ret_body)
		assert_int_equal(json_scan(span_of(text, len), NULL, NULL, ret_body), 0);
	return r;
}

static void check(const struct verdict *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = scan_exact(cases[i].text, cases[i].len, NULL, NULL, NULL);

		if (r != cases[i].r)
			fail_msg("%s: %d, expected %d", cases[i].text, r, cases[i].r);
	}
}

static void accepts(void **state)
{
	static const struct verdict cases[] = {
		CASE(0, "{}"),
		CASE(0, " \t\r\n[ ]\n"),
		CASE(0, "0"),
		CASE(0, "-0"),
		CASE(0, "-0.0e-0"),
		CASE(0, "123456789.5E+10"),
		CASE(0, "1e999"),
		CASE(0, "\"\""),
		CASE(0, "true"),
		CASE(0, "[null,false,true,\"\",0,{},[]]"),
		CASE(0, "{\"\":0,\"a\":{\"a\":[{}]}}"),
		CASE(0, "{\"a\":1,\"a\":2}"),
		CASE(0, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uABcd\\ud834\\udd1e\""),
		CASE(0, "\"\x7f\""),
		CASE(0, "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf"
			"\xbf\""),
		CASE(0, "\"0123456789abcdef0123456789abcdef\xe2\x82\xac\\n0123456789abcdef\""),
		CASE(0, "{\"metadata\":{\"model\":1,\"model\":2}}"),
		CASE(0, "[{\"model\":1},{\"model\":2}]"),
	};

	(void)state;
	check(cases, ARRAY_LEN(cases));
}

static void refuses_structure(void **state)
{
	static const struct verdict cases[] = {
		CASE(1, ""),
		CASE(1, " "),
		CASE(1, "{"),
		CASE(1, "["),
		CASE(1, "}"),
		CASE(1, "{]"),
		CASE(1, "[}"),
		CASE(1, "[1,]"),
		CASE(1, "[,1]"),
		CASE(1, "[1 2]"),
		CASE(1, "[1"),
		CASE(1, "[1]]"),
		CASE(1, "{} {}"),
		CASE(1, "{}x"),
		CASE(1, "{\"a\"}"),
		CASE(1, "{\"a\":}"),
		CASE(1, "{\"a\":1,}"),
		CASE(1, "{,\"a\":1}"),
		CASE(1, "{a:1}"),
		CASE(1, "{'a':1}"),
		CASE(1, "{1:1}"),
		CASE(1, "{\"a\" 1}"),
		CASE(1, "{\"a\":1 \"b\":2}"),
		CASE(1, "{\"a\""),
		CASE(1, "{\"a\":"),
	};

	(void)state;
	check(cases, ARRAY_LEN(cases));
}

static void refuses_scalars(void **state)
{
	static const struct verdict cases[] = {
		CASE(1, "01"),
		CASE(1, "-"),
		CASE(1, "-01"),
		CASE(1, "+1"),
		CASE(1, "1."),
		CASE(1, ".5"),
		CASE(1, "1e"),
		CASE(1, "1e+"),
		CASE(1, "1.e1"),
		CASE(1, "0x10"),
		CASE(1, "NaN"),
		CASE(1, "Infinity"),
		CASE(1, "tru"),
		CASE(1, "truE"),
		CASE(1, "nul"),
		CASE(1, "\""),
		CASE(1, "\"\\\""),
		CASE(1, "\"\\x41\""),
		CASE(1, "\"\\u12\""),
		CASE(1, "\"\\u12g4\""),
		CASE(1, "\"\\ud834\""),
		CASE(1, "\"\\ud834\\u0041\""),
		CASE(1, "\"\\ud834x\""),
		CASE(1, "\"\\udd1e\""),
		CASE(1, "\"\\udd1e\\ud834\""),
		CASE(1, "\"a\nb\""),
		CASE(1, "\"a\0b\""),
		CASE(1, "\"01234567\x1f\""),
		CASE(1, "[1]\0"),
		CASE(1, "\xef\xbb\xbf{}"),
		CASE(1, "[1/**/]"),
		CASE(1, "\f[]"),
		CASE(1, "[\xc2\xa0]"),
	};

	(void)state;
	check(cases, ARRAY_LEN(cases));
}

static void refuses_broken_utf8(void **state)
{
	static const struct verdict cases[] = {
		CASE(JSON_SCAN_E_UTF8, "\"\x80\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xc0\x80\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xc1\xbf\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xc2\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xc2"),
		CASE(JSON_SCAN_E_UTF8, "\"\xe0\x9f\xbf\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xed\xa0\x80\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xe2\x82\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xe2\x82"),
		CASE(JSON_SCAN_E_UTF8, "\"\xf0\x8f\xbf\xbf\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xf4\x90\x80\x80\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xf0\x9f\x98"),
		CASE(JSON_SCAN_E_UTF8, "\"\xf5\x80\x80\x80\""),
		CASE(JSON_SCAN_E_UTF8, "\"\xff\""),
		CASE(JSON_SCAN_E_UTF8, "{\"0123456789\xfe\":1}"),
	};

	(void)state;
	check(cases, ARRAY_LEN(cases));
}

static void limits_depth(void **state)
{
	char text[2 * JSON_DEPTH_MAX + 2];

	(void)state;
	for (unsigned d = 1; d <= JSON_DEPTH_MAX + 1; d++) {
		memset(text, '[', d);
		memset(text + d, ']', d);
		assert_int_equal(scan_exact(text, 2 * d, NULL, NULL, NULL), d > JSON_DEPTH_MAX ? JSON_SCAN_E_DEPTH : 0);
	}
}

static void finds_fields(void **state)
{
	static const char text[] =
		"{ \"messages\" : [ {\"model\":\"inner\"} ] ,\"model\":\"gpt-\\u0034o\",\"stream\":true,"
		"\"max_tokens\":17,\"n\":null,\"stream_options\":{\"include_usage\":true},\"user\":\"\" }";
	struct json_body body, options;
	uint8_t model[16];
	uint64_t n;
	size_t len;

	(void)state;
	assert_int_equal(scan_exact(text, sizeof(text) - 1, NULL, NULL, &body), 0);
	assert_int_equal(body.value.kind, JSON_KIND_OBJECT);
	assert_int_equal(body.value.raw.len, sizeof(text) - 1);
	assert_true(span_eq_str(body.fields[JSON_FIELD_MESSAGES].raw, "[ {\"model\":\"inner\"} ]"));
	assert_int_equal(body.fields[JSON_FIELD_MESSAGES].kind, JSON_KIND_ARRAY);
	assert_true(span_eq_str(body.fields[JSON_FIELD_MODEL].raw, "gpt-\\u0034o"));
	assert_true(body.fields[JSON_FIELD_MODEL].escaped);
	assert_int_equal(json_text(&body.fields[JSON_FIELD_MODEL], model, sizeof(model), &len), 0);
	assert_true(span_eq_str(span_of(model, len), "gpt-4o"));
	assert_int_equal(json_text(&body.fields[JSON_FIELD_MODEL], model, 5, &len), JSON_VALUE_E_RANGE);
	assert_int_equal(body.fields[JSON_FIELD_STREAM].kind, JSON_KIND_TRUE);
	assert_int_equal(json_u64(&body.fields[JSON_FIELD_MAX_TOKENS], &n), 0);
	assert_int_equal(n, 17);
	assert_int_equal(body.fields[JSON_FIELD_N].kind, JSON_KIND_NULL);
	assert_int_equal(body.fields[JSON_FIELD_USER].kind, JSON_KIND_STRING);
	assert_int_equal(body.fields[JSON_FIELD_USER].raw.len, 0);
	assert_int_equal(body.fields[JSON_FIELD_INPUT].kind, JSON_KIND_ABSENT);
	assert_int_equal(json_scan(body.fields[JSON_FIELD_STREAM_OPTIONS].raw, NULL, NULL, &options), 0);
	assert_int_equal(options.fields[JSON_FIELD_INCLUDE_USAGE].kind, JSON_KIND_TRUE);
}

static void refuses_ambiguous_fields(void **state)
{
	static const struct verdict cases[] = {
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\":1,\"model\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\":null,\"model\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\":[],\"model\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\":1,\"mod\\u0065l\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"mod\\u0065l\":1,\"model\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\":1,\"Model\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"MODEL\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"model\\u0000x\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"u\xc5\xbf"
					    "er\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"max_to\xe2\x84\xaa"
					    "ens\":1}"),
		CASE(JSON_SCAN_E_AMBIGUOUS, "{\"stream\":true,\"a\":[{\"b\":{}}],\"stream\":false}"),
		CASE(0, "{\"mod\\u0065l\":1}"),
		CASE(0, "{\"model\":1,\"models\":1,\"mode\":1,\"\":1,\" model\":1}"),
		CASE(0, "{\"model\":{\"model\":1,\"Model\":2},\"x\":{\"model\":3}}"),
		CASE(0, "{\"model\":1,\"a key longer than any of the names\":1}"),
	};

	(void)state;
	check(cases, ARRAY_LEN(cases));
}

static void reads_numbers(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t n;
	} cases[] = {
		{"0", 0, 0},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", JSON_VALUE_E_RANGE, 0},
		{"99999999999999999999999", JSON_VALUE_E_RANGE, 0},
		{"-1", JSON_VALUE_E_KIND, 0},
		{"1.0", JSON_VALUE_E_KIND, 0},
		{"1e3", JSON_VALUE_E_KIND, 0},
		{"true", JSON_VALUE_E_KIND, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_body body;
		uint64_t n = 0;

		assert_int_equal(json_scan(span_str(cases[i].text), NULL, NULL, &body), 0);
		assert_int_equal(json_u64(&body.value, &n), cases[i].r);
		assert_int_equal(n, cases[i].n);
	}
}

static void reads_characters(void **state)
{
	static const char raw[] = "a\\n\\u00e9\xc3\xa9\xe2\x82\xac\\ud83d\\ude00\xf0\x9f\x98\x80";
	static const struct {
		uint32_t c;
		size_t used, utf8;
	} expected[] = {{'a', 1, 1},    {'\n', 2, 1},     {0xe9, 6, 2},   {0xe9, 2, 2},
			{0x20ac, 3, 3}, {0x1f600, 12, 4}, {0x1f600, 4, 4}};
	struct span s = span_str(raw);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		uint8_t utf8[4];
		uint32_t c;
		size_t used = json_char(s, &c);

		assert_int_equal(c, expected[i].c);
		assert_int_equal(used, expected[i].used);
		assert_int_equal(json_utf8(c, utf8), expected[i].utf8);
		s = span_of(s.p + used, s.len - used);
	}
	assert_int_equal(s.len, 0);
}

struct visits {
	char text[256];
	int stop_at;
};

static int note(void *ctx, const struct json_value *value, bool is_key)
{
	struct visits *v = ctx;
	size_t n = strlen(v->text);

	snprintf(v->text + n, sizeof(v->text) - n, "%s%.*s;",
		 is_key                            ? "@"
		 : value->kind == JSON_KIND_NUMBER ? "#"
						   : "",
		 SPAN_ARG(value->raw));
	return --v->stop_at == 0 ? -EIO : 0;
}

static void visits_texts(void **state)
{
	static const char text[] = "{\"a\":[\"b\\n\",-1.5e3,true,{\"c\":\"\"}],\"d\":4111111111111111}";
	struct visits v = {.stop_at = -1};
	struct json_body body;

	(void)state;
	assert_int_equal(json_scan(span_str(text), note, &v, &body), 0);
	assert_string_equal(v.text, "@a;b\\n;#-1.5e3;@c;;@d;#4111111111111111;");
	v = (struct visits){.stop_at = 2};
	assert_int_equal(json_scan(span_str(text), note, &v, &body), -EIO);
	assert_string_equal(v.text, "@a;b\\n;");
}

/* A special byte at each place of a word must be seen. */
static void sees_every_byte(void **state)
{
	static const struct {
		char c;
		int r;
	} specials[] = {{'\n', JSON_SCAN_E_SYNTAX},
			{'\0', JSON_SCAN_E_SYNTAX},
			{'"', JSON_SCAN_E_SYNTAX},
			{'\\', JSON_SCAN_E_SYNTAX},
			{'\x80', JSON_SCAN_E_UTF8},
			{'\xff', JSON_SCAN_E_UTF8},
			{' ', 0},
			{'!', 0},
			{'#', 0},
			{'[', 0},
			{']', 0},
			{'\x7f', 0}};
	char text[90];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
		for (size_t at = 1; at < sizeof(text) - 2; at++) {
			memset(text, 'q', sizeof(text));
			text[0] = text[sizeof(text) - 1] = '"';
			text[at] = specials[i].c;
			assert_int_equal(scan_exact(text, sizeof(text), NULL, NULL, NULL), specials[i].r);
		}
	}
}

/* The end of a string is found at each place, however many bytes follow it. */
static void finds_every_end(void **state)
{
	struct json_body body;
	char text[120];

	(void)state;
	for (size_t len = 0; len < 80; len++)
		for (size_t space = 0; space < 34; space++) {
			memset(text, 'q', sizeof(text));
			text[0] = text[1 + len] = '"';
			memset(text + 2 + len, ' ', space);
			assert_int_equal(scan_exact(text, 2 + len + space, NULL, NULL, &body), 0);
			assert_int_equal(body.value.raw.len, len);
			assert_ptr_equal(body.value.raw.p, text + 1);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses_structure),
		cmocka_unit_test(refuses_scalars),
		cmocka_unit_test(refuses_broken_utf8),
		cmocka_unit_test(limits_depth),
		cmocka_unit_test(finds_fields),
		cmocka_unit_test(refuses_ambiguous_fields),
		cmocka_unit_test(reads_numbers),
		cmocka_unit_test(reads_characters),
		cmocka_unit_test(visits_texts),
		cmocka_unit_test(sees_every_byte),
		cmocka_unit_test(finds_every_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
