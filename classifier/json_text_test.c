/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "classifier/json_text.h"

static struct json_value string(const char *raw)
{
	return (struct json_value){JSON_KIND_STRING, strchr(raw, '\\') != NULL, span_str(raw)};
}

static void add(struct json_text *t, struct json_value v)
{
	assert_int_equal(json_text_add(t, &v), 0);
}

static void decodes(void **state)
{
	static struct json_text t;

	(void)state;
	json_text_init(&t, 1024);
	assert_int_equal(json_text_span(&t).len, 0);
	add(&t, string("plain"));
	add(&t, string(""));
	add(&t, string("a\\n\\\"\\u0041\\u00e9\\ud83d\\ude00z"));
	add(&t, (struct json_value){JSON_KIND_NUMBER, false, SPAN_LIT("42")});
	assert_true(span_eq_str(json_text_span(&t), "\xff"
						    "plain\xff\xff"
						    "a\n\"A\xc3\xa9\xf0\x9f\x98\x80z\xff"
						    "42\xff"));
	json_text_reset(&t);
	add(&t, string("x"));
	assert_true(span_eq_str(json_text_span(&t), "\xffx\xff"));
	json_text_deinit(&t);
}

/* Every range of whole characters, asked for in order, comes back as the bytes that spelled it. */
static void finds_the_way_back(void **state)
{
	static struct json_text t;
	static const char plain[] = "0123456789", escaped[] = "a\\n\\u0041\xc3\xa9\\ud83d\\ude00z";
	struct json_range r;

	(void)state;
	json_text_init(&t, 1024);
	add(&t, string(plain));
	add(&t, string(escaped));
	add(&t, (struct json_value){JSON_KIND_NUMBER, false, SPAN_LIT("4111111111111111")});
	add(&t, string(escaped));
	/* barrier, 10, barrier, "a\nA" and so on: 1 1 1 2 4 1 */
	r = json_text_raw(&t, 3, 5);
	assert_true(r.raw.p == (const uint8_t *)plain + 2 && r.raw.len == 2 && !r.number);
	r = json_text_raw(&t, 13, 15);
	assert_true(span_eq_str(r.raw, "\\n\\u0041"));
	r = json_text_raw(&t, 15, 17);
	assert_true(span_eq_str(r.raw, "\xc3\xa9"));
	r = json_text_raw(&t, 17, 22);
	assert_true(span_eq_str(r.raw, "\\ud83d\\ude00z"));
	r = json_text_raw(&t, 23, 39);
	assert_true(span_eq_str(r.raw, "4111111111111111") && r.number);
	r = json_text_raw(&t, 40, 50);
	assert_true(span_eq_str(r.raw, escaped) && !r.number);
	json_text_deinit(&t);
}

static void says_when_full(void **state)
{
	static struct json_text t;
	struct json_value one = string("x"), big = {JSON_KIND_STRING, false, SPAN_NULL};
	char *big_text = malloc(JSON_TEXT_BYTES);

	(void)state;
	json_text_init(&t, JSON_TEXT_BYTES);
	for (unsigned i = 0; i < JSON_TEXT_VALUES; i++)
		assert_int_equal(json_text_add(&t, &one), 0);
	assert_int_equal(json_text_add(&t, &one), JSON_TEXT_E_FULL);
	json_text_reset(&t);
	memset(big_text, 'y', JSON_TEXT_BYTES);
	big.raw = span_of(big_text, JSON_TEXT_BYTES);
	assert_int_equal(json_text_add(&t, &one), 0);
	assert_int_equal(json_text_add(&t, &big), 0);
	assert_int_equal(json_text_add(&t, &one), JSON_TEXT_E_FULL);
	json_text_deinit(&t);
	free(big_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes),
		cmocka_unit_test(finds_the_way_back),
		cmocka_unit_test(says_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
