/* SPDX-License-Identifier: Apache-2.0 */
/* What decodes is what would be encoded, byte for byte: tried with every byte at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "common/base64.h"

static const int variants[] = {
	[BASE64_STANDARD] = sodium_base64_VARIANT_ORIGINAL,
	[BASE64_STANDARD_RAW] = sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
	[BASE64_URL] = sodium_base64_VARIANT_URLSAFE,
};

static void one_spelling(void **state)
{
	uint8_t bytes[12], got[12];
	char text[32], again[32];
	size_t n;

	(void)state;
	for (unsigned form = 0; form < ARRAY_LEN(variants); form++) {
		for (size_t len = 0; len <= 9; len++) {
			randombytes_buf(bytes, len);
			sodium_bin2base64(text, sizeof(text), bytes, len, variants[form]);
			assert_true(base64_decode(form, span_str(text), got, len, &n));
			assert_int_equal(n, len);
			assert_memory_equal(got, bytes, len);
			assert_true(len == 0 || !base64_decode(form, span_str(text), got, len - 1, &n));
			for (size_t at = 0; text[at]; at++) {
				char was = text[at];
				for (int c = 0; c < 256; c++) {
					text[at] = (char)c;
					if (!base64_decode(form, span_of(text, strlen(text)), got, sizeof(got), &n))
						continue;
					sodium_bin2base64(again, sizeof(again), got, n, variants[form]);
					assert_string_equal(again, text);
				}
				text[at] = was;
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_spelling),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
