/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>

#include "authd/token.h"
#include "tests/support/vectors.h"

/* Computed by another implementation (Python: base64.b32encode and a bitwise CRC-32C). */
static void test_known_keys(void **state)
{
	(void)state;
	static const char *const known[] = {
		"bh_sk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag2gaeja",
		"bh_sk_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyyk2ic7fy",
	};
	char text[TOKEN_BYTES];

	for (uint8_t which = 0; which < ARRAY_LEN(known); which++) {
		uint8_t random[TOKEN_RANDOM_BYTES];

		for (uint8_t i = 0; i < sizeof(random); i++)
			random[i] = which ? i : 0;
		token_format(random, text);
		assert_memory_equal(text, known[which], TOKEN_BYTES);
		assert_true(token_plausible(span_str(known[which])));
	}
}

static void random_key(char text[TOKEN_BYTES])
{
	uint8_t random[TOKEN_RANDOM_BYTES];

	randombytes_buf(random, sizeof(random));
	token_format(random, text);
}

static void test_every_other_character_anywhere_is_garbage(void **state)
{
	(void)state;
	char text[TOKEN_BYTES];

	random_key(text);
	for (size_t i = 0; i < TOKEN_BYTES; i++) {
		char was = text[i];

		for (int c = 0; c < 256; c++) {
			text[i] = (char)c;
			assert_int_equal(token_plausible(span_of(text, sizeof(text))), (char)c == was);
		}
		text[i] = was;
	}
}

static void test_every_other_length_is_garbage(void **state)
{
	(void)state;
	char text[2 * TOKEN_BYTES];

	random_key(text);
	random_key(text + TOKEN_BYTES);
	for (size_t n = 0; n <= sizeof(text); n++)
		assert_int_equal(token_plausible(span_of(text, n)), n == TOKEN_BYTES);
	assert_false(token_plausible(SPAN_NULL));
}

static void test_swapped_neighbours_are_garbage(void **state)
{
	(void)state;
	char text[TOKEN_BYTES];

	random_key(text);
	for (size_t i = 6; i + 1 < TOKEN_BYTES; i++) {
		char c = text[i];

		text[i] = text[i + 1];
		text[i + 1] = c;
		assert_int_equal(token_plausible(span_of(text, sizeof(text))), text[i] == c);
		text[i + 1] = text[i];
		text[i] = c;
	}
}

static void test_upper_case_is_another_text(void **state)
{
	(void)state;

	assert_false(token_plausible(SPAN_LIT("BH_SK_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAG2GAEJA")));
	assert_false(token_plausible(SPAN_LIT("bh_sk_Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag2gaeja")));
}

/* The checksum is right, and the text is still none of ours: a key has one spelling. */
static void test_a_right_checksum_is_not_enough(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"bh_sk_0000000000000000000000000000000000000000vm4zxoy",
		"bh_sk_1111111111111111111111111111111111111111ynqb5ca",
		"bh_sk_888888888888888888888888888888888888888847assma",
		"bh_sk_9999999999999999999999999999999999999999r6mkyay",
		"bh_sk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAacbl56i",
		"bh_sk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hk2nasa",
		"bh_pk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaqwgqqzq",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_false(token_plausible(span_str(wrong[i])));
}

/* The vector is from Python's hmac: RFC 4231 has none with a key of 32 bytes. */
static void test_hmac_is_hmac_sha256(void **state)
{
	(void)state;
	uint8_t pepper[TOKEN_PEPPER_BYTES], hmac[TOKEN_HMAC_BYTES], again[TOKEN_HMAC_BYTES];
	uint8_t schedule[HMAC_SCHEDULE_BYTES];
	struct span key = SPAN_LIT("bh_sk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag2gaeja");
	char hex[2 * TOKEN_HMAC_BYTES + 1];

	memset(pepper, 7, sizeof(pepper));
	hmac_prepare(span_of(pepper, sizeof(pepper)), schedule);
	token_hmac(schedule, key, hmac);
	sodium_bin2hex(hex, sizeof(hex), hmac, sizeof(hmac));
	assert_string_equal(hex, "cc7a11f33f2dccb1a8ce7a695d1670269780c1f124a3f909fdf69360a6083b70");
	token_hmac(schedule, key, again);
	assert_memory_equal(hmac, again, sizeof(hmac));
	pepper[31] ^= 1;
	hmac_prepare(span_of(pepper, sizeof(pepper)), schedule);
	token_hmac(schedule, key, again);
	assert_memory_not_equal(hmac, again, sizeof(hmac));
}

/* Wycheproof's vectors with a key of our length, through the two functions that a gateway key goes through. */
static void test_wycheproof_hmac(void **state)
{
	uint8_t key[TOKEN_PEPPER_BYTES], msg[4096], tag[TOKEN_HMAC_BYTES], made[TOKEN_HMAC_BYTES];
	uint8_t schedule[HMAC_SCHEDULE_BYTES];
	size_t i, k, n = 0, invalid = 0;
	json_t *group, *test;

	(void)state;
	json_t *all = vectors_load("wycheproof/hmac_sha256_test.json");
	json_array_foreach(json_object_get(all, "testGroups"), i, group)
	{
		if (json_integer_value(json_object_get(group, "keySize")) != 8 * TOKEN_PEPPER_BYTES)
			continue;
		json_array_foreach(json_object_get(group, "tests"), k, test)
		{
			bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
			assert_int_equal(vectors_hex(test, "key", key, sizeof(key)).len, sizeof(key));
			struct span t = vectors_hex(test, "tag", tag, sizeof(tag));
			hmac_prepare(span_of(key, sizeof(key)), schedule);
			token_hmac(schedule, vectors_hex(test, "msg", msg, sizeof(msg)), made);
			assert_int_equal(span_eq(t, span_of(made, t.len)), valid); /* some tags are cut to 16 bytes */
			n++;
			invalid += !valid;
		}
	}
	assert_true(n >= 50 && invalid >= 30);
	json_decref(all);
}

static void test_ids(void **state)
{
	(void)state;
	uint8_t random[TOKEN_ID_RANDOM_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	char id[4 + TOKEN_ID_CHARS + 1];

	token_format_id("key_", random, id, sizeof(id));
	assert_string_equal(id, "key_aaaqeayeaudaocaj");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_keys),
		cmocka_unit_test(test_every_other_character_anywhere_is_garbage),
		cmocka_unit_test(test_every_other_length_is_garbage),
		cmocka_unit_test(test_swapped_neighbours_are_garbage),
		cmocka_unit_test(test_upper_case_is_another_text),
		cmocka_unit_test(test_a_right_checksum_is_not_enough),
		cmocka_unit_test(test_hmac_is_hmac_sha256),
		cmocka_unit_test(test_wycheproof_hmac),
		cmocka_unit_test(test_ids),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
