/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/crc32c.h"

/* RFC 3720, appendix B.4, and the check value of the CRC catalogues. */
static void matches_the_rfc(void **state)
{
	uint8_t bytes[32];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
	assert_int_equal(crc32c(0, bytes, 0), 0);
}

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Every length and alignment, whole or in two calls, by whichever way this CPU takes. */
static void is_the_same_in_pieces(void **state)
{
	uint8_t bytes[80];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	for (size_t at = 0; at < 9; at++) {
		for (size_t len = 0; len + at <= sizeof(bytes); len++) {
			uint32_t expected = bit_by_bit(0, bytes + at, len);

			assert_int_equal(crc32c(0, bytes + at, len), expected);
			assert_int_equal(crc32c(crc32c(0, bytes + at, len / 3), bytes + at + len / 3, len - len / 3),
					 expected);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(matches_the_rfc), cmocka_unit_test(is_the_same_in_pieces)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
