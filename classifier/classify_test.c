/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "classifier/classify.h"
#include "classifier/json_text.h"

#define ALL UINT64_MAX

static int setup(void **state)
{
	struct classifier *c = NULL;
	int r = classifier_new(&c);

	*state = c;
	return r;
}

static int teardown(void **state)
{
	*state = classifier_free(*state);
	return 0;
}

/* The text with every finding replaced as the router would: what a person sees of a verdict. */
static char *redact(struct classifier *c, const char *json, uint64_t classes)
{
	struct classify_verdict v;
	static char out[4096];
	size_t at = 0, to = 0;

	assert_int_equal(classify(c, span_str(json), classes, &v), 0);
	assert_int_equal(v.total, v.n_findings);
	for (size_t i = 0; i < v.n_findings; i++) {
		const struct proto_finding *f = &v.findings[i];

		assert_true(f->begin >= at && f->begin < f->end && f->end <= strlen(json));
		assert_true(f->classes & BIT(f->class));
		to += (size_t)snprintf(out + to, sizeof(out) - to, f->number ? "%.*s\"<%s>\"" : "%.*s<%s>",
				       (int)(f->begin - at), json + at, class_row((enum class)f->class)->name);
		at = f->end;
	}
	snprintf(out + to, sizeof(out) - to, "%s", json + at);
	return out;
}

static void finds_in_strings_keys_and_numbers(void **state)
{
	static const char *const cases[][2] = {
		{"{}", "{}"},
		{"[\"bob@example.com\"]", "[\"<email>\"]"},
		{"{\"messages\":[{\"role\":\"user\",\"content\":\"I am bob@example.com, call +49 30 1234567.\"}]}",
		 "{\"messages\":[{\"role\":\"user\",\"content\":\"I am <email>, call <phone>.\"}]}"},
		{"{\"bob@example.com\":{\"x\":[\"a\",\"4111-1111-1111-1111\"]}}",
		 "{\"<email>\":{\"x\":[\"a\",\"<card>\"]}}"},
		{"{\"card\":4111111111111111,\"id\":4111111111111112}",
		 "{\"card\":\"<card>\",\"id\":4111111111111112}"},
		{"[0.4111111111111111,-4111111111111111,4111111111111111e1,4111111111111111]",
		 "[0.4111111111111111,-4111111111111111,4111111111111111e1,\"<card>\"]"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(redact(*state, cases[i][0], ALL), cases[i][1]);
}

static void sees_through_escapes(void **state)
{
	static const char *const cases[][2] = {
		{"[\"j\\u0061ne@example.com\"]", "[\"<email>\"]"},
		{"[\"\\n\\u006a\\u0061ne\\u0040example\\u002ecom\\n\"]", "[\"\\n<email>\\n\"]"},
		{"[\"{\\\"to\\\":\\\"bob@example.com\\\"}\"]", "[\"{\\\"to\\\":\\\"<email>\\\"}\"]"},
		{"[\"\\ud83d\\ude00\\u002b49 30\\/1234567\\ud83d\\ude00\"]",
		 "[\"\\ud83d\\ude00<phone>\\ud83d\\ude00\"]"},
		{"[\"m\\u00fcller@m\xc3\xbcnchen.de\"]", "[\"<email>\"]"},
		{"[\"bob\\n@example.com\"]", "[\"bob\\n@example.com\"]"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(redact(*state, cases[i][0], ALL), cases[i][1]);
}

/* What tools are called with and answer is JSON written into a string, perhaps more than once: its escapes are none of
 * a finding's letters, and stay whole around a label. */
static void sees_through_json_in_strings(void **state)
{
	static const char *const cases[][2] = {
		{"[\"{\\\"to\\\":\\\"one\\\\nbob@example.com\\\\ttwo\\\"}\"]",
		 "[\"{\\\"to\\\":\\\"one\\\\n<email>\\\\ttwo\\\"}\"]"},
		{"[\"one\\\\\\\\nbob@example.com\\\\\\\\ntwo\"]", "[\"one\\\\\\\\n<email>\\\\\\\\ntwo\"]"},
		{"[\"Bob \\\\u003cbob@example.com\\\\u003e\"]", "[\"Bob \\\\u003c<email>\\\\u003e\"]"},
		{"[\"jos\\\\u00e9@m\\\\u00fcnchen.de\"]", "[\"<email>\"]"},
		{"[\"\\\\ud83d\\\\ude00bob\\\\u0040example.com\"]", "[\"\\\\ud83d\\\\ude00<email>\"]"},
		{"[\"call\\\\n+49 30 1234567\"]", "[\"call\\\\n<phone>\"]"},
		{"[\"call \\\\u003c\\\\u002B49 30\\\\/1234567\\\\u003e\"]", "[\"call \\\\u003c<phone>\\\\u003e\"]"},
		{"[\"card\\\\u00a04111 1111 1111 1111\\\\r\"]", "[\"card\\\\u00a0<card>\\\\r\"]"},
		{"[\"\\u005c\\u006ebob@example.com\"]", "[\"\\u005c\\u006e<email>\"]"},
		{"[\"C:\\\\x\\\\bob\\\\\"]", "[\"C:\\\\x\\\\bob\\\\\"]"},
		{"[\"C:\\\\user\\\\@\\\\u12\\\\anna@example.com\\\\u\"]",
		 "[\"C:\\\\user\\\\@\\\\u12\\\\<email>\\\\u\"]"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(redact(*state, cases[i][0], ALL), cases[i][1]);
}

static void never_crosses_values(void **state)
{
	static const char *const cases[] = {
		"[\"4111 1111 \",\"1111 1111 \"]", "[\"someone\",\"@example.com\"]",
		"[\"bob@exam\",\"ple.com and\"]",  "[4111111111111,111]",
		"{\"call +49\":\"30 1234567\"}",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(redact(*state, cases[i], ALL), cases[i]);
}

static void merges_overlaps(void **state)
{
	static const char text[] = "[\"+4111111111111111@example.com\"]", two[] = "[\"+4111 1111 1111 1111 5\"]";
	struct classify_verdict v;

	assert_string_equal(redact(*state, text, ALL), "[\"<email>\"]");
	assert_int_equal(classify(*state, span_str(text), ALL, &v), 0);
	assert_int_equal(v.findings[0].classes, BIT(CLASS_EMAIL) | BIT(CLASS_CARD));
	assert_string_equal(redact(*state, two, ALL), "[\"<card> 5\"]");
	assert_string_equal(redact(*state, "[\"+41 4111 1111 1111 1111\"]", ALL), "[\"<card>\"]");
	assert_string_equal(redact(*state, "[\"+41 4111 1111 1111 1111\"]", BIT(CLASS_PHONE)), "[\"<phone> 1111\"]");
	assert_string_equal(redact(*state, text, BIT(CLASS_CARD)), "[\"+<card>@example.com\"]");
	assert_string_equal(redact(*state, text, BIT(31)), text);
}

static void refuses_what_is_not_json(void **state)
{
	static const char *const cases[] = {"", "{", "[\"bob@example.com\",]", "{\"model\":1,\"model\":2}"};
	struct classify_verdict v;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(classify(*state, span_str(cases[i]), ALL, &v), CLASSIFY_E_JSON);
}

static char *repeat(const char *piece, size_t n, size_t *ret_len)
{
	size_t each = strlen(piece);
	char *text = malloc(n * (each + 1) + 2), *p = text;

	assert_non_null(text);
	*p++ = '[';
	for (size_t i = 0; i < n; i++) {
		memcpy(p, piece, each);
		p += each;
		*p++ = i + 1 < n ? ',' : ']';
	}
	*ret_len = (size_t)(p - text);
	return text;
}

static void counts_up_to_what_it_can_list(void **state)
{
	static const struct {
		size_t n, total;
	} cases[] = {{512, 512}, {513, 513}, {2000, 513}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct classify_verdict v;
		size_t len;
		char *text = repeat("\"bob@example.com\"", cases[i].n, &len);

		assert_int_equal(classify(*state, span_of(text, len), ALL, &v), 0);
		assert_int_equal(v.total, cases[i].total);
		assert_int_equal(v.n_findings, 512);
		free(text);
	}
}

/* However values fall into batches, the findings are where they are. */
static void is_the_same_across_batches(void **state)
{
	static const char filler[] = "\"nothing to see here\"", secret[] = "\"b\\u006fb@example.com\"";
	const size_t fillers[] = {JSON_TEXT_VALUES - 2, JSON_TEXT_VALUES - 1, JSON_TEXT_VALUES, JSON_TEXT_BYTES};

	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		struct classify_verdict v;
		size_t len;
		char *text = repeat(filler, fillers[i], &len);
		char *whole = malloc(len + 2 * sizeof(secret) + 2);
		size_t at = len, total;

		/* [filler,...,secret,secret] */
		memcpy(whole, text, len - 1);
		total = len - 1 + (size_t)sprintf(whole + len - 1, ",%s,%s]", secret, secret);
		assert_int_equal(classify(*state, span_of(whole, total), ALL, &v), 0);
		assert_int_equal(v.n_findings, 2);
		for (size_t k = 0; k < 2; k++) {
			assert_int_equal(v.findings[k].begin, at + 1);
			assert_int_equal(v.findings[k].end, at + sizeof(secret) - 2);
			at += sizeof(secret);
		}
		free(whole);
		free(text);
	}
}

/* The dearest text for its length must stay linear: counted in findings, not in time. */
static void survives_the_dearest_text(void **state)
{
	static const char *const dear[] = {"@", "a@", "4 ", "+", "4", "+4", "@b.de", "\\u0040", "\\n"};
	const size_t bytes = CLASSIFY_BYTES_MAX - 16;
	char *text = malloc(CLASSIFY_BYTES_MAX);

	assert_non_null(text);
	for (size_t i = 0; i < ARRAY_LEN(dear); i++) {
		struct classify_verdict v;
		size_t n = strlen(dear[i]), len = 2;

		memcpy(text, "[\"", 2);
		for (; len + n < bytes; len += n)
			memcpy(text + len, dear[i], n);
		memcpy(text + len, "\"]", 2);
		assert_int_equal(classify(*state, span_of(text, len + 2), ALL, &v), 0);
	}
	assert_int_equal(classify(*state, span_of(text, CLASSIFY_BYTES_MAX + 1), ALL, &(struct classify_verdict){0}),
			 CLASSIFY_E_JSON);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_in_strings_keys_and_numbers),
		cmocka_unit_test(sees_through_escapes),
		cmocka_unit_test(sees_through_json_in_strings),
		cmocka_unit_test(never_crosses_values),
		cmocka_unit_test(merges_overlaps),
		cmocka_unit_test(refuses_what_is_not_json),
		cmocka_unit_test(counts_up_to_what_it_can_list),
		cmocka_unit_test(is_the_same_across_batches),
		cmocka_unit_test(survives_the_dearest_text),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
