/* SPDX-License-Identifier: Apache-2.0 */
/* Nettle's against libsodium's and RFC 4231's examples: every length around the block, keys shorter and longer than it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "common/hmac.h"

#define LEN_MAX 200

static void same_as_the_other_library(void **state)
{
	uint8_t key[LEN_MAX], bytes[LEN_MAX], schedule[HMAC_SCHEDULE_BYTES], got[HMAC_BYTES], expected[HMAC_BYTES];
	crypto_auth_hmacsha256_state s;

	(void)state;
	randombytes_buf(key, sizeof(key));
	randombytes_buf(bytes, sizeof(bytes));
	for (size_t key_len = 0; key_len <= LEN_MAX; key_len++) {
		hmac_prepare(span_of(key, key_len), schedule);
		for (size_t len = 0; len <= LEN_MAX; len++) {
			const struct span parts[] = {span_of(bytes, len / 3), span_of(bytes + len / 3, len - len / 3)};
			crypto_auth_hmacsha256_init(&s, key, key_len);
			crypto_auth_hmacsha256_update(&s, bytes, len);
			crypto_auth_hmacsha256_final(&s, expected);
			hmac(schedule, parts, ARRAY_LEN(parts), got);
			assert_memory_equal(got, expected, sizeof(got));
		}
	}
}

/* RFC 4231, test cases 2 and 6. */
static void known_answers(void **state)
{
	uint8_t long_key[131], schedule[HMAC_SCHEDULE_BYTES], got[HMAC_BYTES];
	char hex[2 * HMAC_BYTES + 1];
	const struct span two = SPAN_LIT("what do ya want for nothing?");
	const struct span six = SPAN_LIT("Test Using Larger Than Block-Size Key - Hash Key First");

	(void)state;
	hmac_prepare(SPAN_LIT("Jefe"), schedule);
	hmac(schedule, &two, 1, got);
	assert_string_equal(sodium_bin2hex(hex, sizeof(hex), got, sizeof(got)),
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(long_key, 0xaa, sizeof(long_key));
	hmac_prepare(span_of(long_key, sizeof(long_key)), schedule);
	hmac(schedule, &six, 1, got);
	assert_string_equal(sodium_bin2hex(hex, sizeof(hex), got, sizeof(got)),
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_the_other_library),
		cmocka_unit_test(known_answers),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
