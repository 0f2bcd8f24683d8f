/* SPDX-License-Identifier: Apache-2.0 */
/* Nettle's against libsodium's: every length around the block, cut everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "common/sha256.h"

#define LEN_MAX 260

static void same_whatever_the_parts(void **state)
{
	uint8_t bytes[LEN_MAX], expected[SHA256_BYTES], got[SHA256_BYTES];

	(void)state;
	randombytes_buf(bytes, sizeof(bytes));
	for (size_t len = 0; len <= LEN_MAX; len++) {
		crypto_hash_sha256(expected, bytes, len);
		for (size_t cut = 0; cut <= len; cut++) {
			const struct span parts[] = {span_of(bytes, cut), span_of(bytes + cut, len - cut)};
			sha256(parts, ARRAY_LEN(parts), got);
			assert_memory_equal(got, expected, sizeof(got));
		}
	}
}

/* FIPS 180-4's example, and nothing at all. */
static void known_answers(void **state)
{
	static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
				      0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
				      0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	static const uint8_t nothing[] = {0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
					  0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
					  0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};
	const struct span part = SPAN_LIT("abc");
	uint8_t got[SHA256_BYTES];

	(void)state;
	sha256(&part, 1, got);
	assert_memory_equal(got, abc, sizeof(got));
	sha256(NULL, 0, got);
	assert_memory_equal(got, nothing, sizeof(got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_whatever_the_parts),
		cmocka_unit_test(known_answers),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
