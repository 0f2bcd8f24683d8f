/* SPDX-License-Identifier: Apache-2.0 */
/* Bech32: the examples of BIP 173 that have whole bytes, an age key, and every slip of one or two characters. */
#include "keyvault/bech32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static void known_answers(void **state)
{
	static const uint8_t zeros[50], ones[1];
	uint8_t key[32], bytes[50];
	char text[BECH32_TEXT_MAX];

	(void)state;
	assert_true(bech32_decode("a", SPAN_LIT("A12UEL5L"), bytes, 0));
	assert_true(bech32_decode("?", SPAN_LIT("?1ezyfcl"), bytes, 0));
	assert_true(bech32_decode(
		"an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio",
		SPAN_LIT("an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersb"
			 "io1tt5tgs"),
		bytes, 0));
	assert_false(bech32_decode("a", SPAN_LIT("A12UEL5M"), bytes, 0));
	assert_false(bech32_decode("a", SPAN_LIT("A12uEL5L"), bytes, 0));
	assert_false(bech32_decode("b", SPAN_LIT("A12UEL5L"), bytes, 0));
	/* The public key of the identity in the age specification. */
	assert_true(bech32_decode("age", SPAN_LIT("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"),
				  key, sizeof(key)));
	assert_int_equal(bech32_encode("age", key, sizeof(key), text), 62);
	assert_memory_equal(text, "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", 62);
	assert_false(bech32_decode("age", span_of(text, 62), key, 31));
	assert_false(bech32_decode("age", span_of(text, 61), key, 32));
	for (size_t len = 0; len <= sizeof(zeros); len++) {
		size_t n = bech32_encode("x", zeros, len, text);

		assert_true(bech32_decode("x", span_of(text, n), bytes, len));
		assert_memory_equal(bytes, zeros, len);
	}
	assert_int_equal(bech32_encode("x", ones, 1, text), 1 + 1 + 2 + 6);
}

static void set_char(char *text, size_t at, unsigned c)
{
	text[at] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio%"[c];
}

static void every_slip_is_found(void **state)
{
	uint8_t bytes[32], back[32];
	char text[BECH32_TEXT_MAX], bad[BECH32_TEXT_MAX];
	size_t found = 0, n;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	n = bech32_encode("bhshare", bytes, sizeof(bytes), text);
	for (size_t i = 0; i < n; i++)
		for (unsigned c = 0; c < 37; c++) {
			memcpy(bad, text, n);
			set_char(bad, i, c);
			if (bad[i] != text[i])
				found += !bech32_decode("bhshare", span_of(bad, n), back, sizeof(back));
			else
				found += bech32_decode("bhshare", span_of(bad, n), back, sizeof(back));
		}
	assert_int_equal(found, n * 37);
	for (size_t i = 8; i < n; i++)
		for (size_t j = i + 1; j < n; j++) {
			memcpy(bad, text, n);
			set_char(bad, i, 3);
			set_char(bad, j, 17);
			bool same = memcmp(bad, text, n) == 0;
			assert_true(bech32_decode("bhshare", span_of(bad, n), back, sizeof(back)) == same);
			memcpy(bad, text, n); /* two changed places */
			bad[i] = text[j];
			bad[j] = text[i];
			same = text[i] == text[j];
			assert_true(bech32_decode("bhshare", span_of(bad, n), back, sizeof(back)) == same);
		}
}

/* One byte is two characters, of which two bits are padding: zero, or there would be four texts for it. */
static void padding_is_canonical(void **state)
{
	uint8_t byte = 0xff;

	(void)state;
	assert_true(bech32_decode("x", SPAN_LIT("x1qy5utz72"), &byte, 1));
	assert_int_equal(byte, 1);
	assert_false(bech32_decode("x", SPAN_LIT("x1q9f2lhrc"), &byte, 1)); /* with the right checksum */
	assert_false(bech32_decode("x", SPAN_LIT("x1qx8e2pd8"), &byte, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(every_slip_is_found),
		cmocka_unit_test(padding_is_canonical),
	};
	return cmocka_run_group_tests_name("bech32", tests, NULL, NULL);
}
