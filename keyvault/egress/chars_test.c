/* SPDX-License-Identifier: Apache-2.0 */
/* The table against the grammar, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "keyvault/egress/chars.h"

static void test_every_byte(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		bool small = c > 0 && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", (int)c);
		bool token = small || (c >= 'A' && c <= 'Z');
		bool text = c == '\t' || (c >= 0x20 && c != 0x7f);
		bool path = c > 0x20 && c < 0x7f && !strchr("/?%#\\", (int)c);
		for (size_t at = 0; at < 3; at++) {
			uint8_t bytes[3] = {'a', 'a', 'a'};
			bytes[at] = (uint8_t)c;
			assert_int_equal(chars_all(span_of(bytes, 3), CHARS_SMALL), small);
			assert_int_equal(chars_all(span_of(bytes, 3), CHARS_TOKEN), token);
			assert_int_equal(chars_all(span_of(bytes, 3), CHARS_TEXT), text);
			assert_int_equal(chars_all(span_of(bytes, 3), CHARS_PATH), path);
		}
	}
	assert_true(chars_all(SPAN_NULL, CHARS_TEXT));
}

static void test_text_of_every_length(void **state)
{
	uint8_t bytes[50];

	(void)state;
	assert_true(chars_text(SPAN_NULL));
	for (size_t len = 1; len < sizeof(bytes); len++)
		for (size_t at = 0; at < len; at++)
			for (unsigned c = 0; c < 256; c++) {
				memset(bytes, '\0', sizeof(bytes)); /* around it */
				memset(bytes, 'a', len);
				bytes[len / 2] = '\t';
				bytes[at] = (uint8_t)c;
				assert_int_equal(chars_text(span_of(bytes, len)),
						 c == '\t' || (c >= 0x20 && c != 0x7f));
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_byte),
					   cmocka_unit_test(test_text_of_every_length)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
