/* SPDX-License-Identifier: Apache-2.0 */
/* What is sealed for one subject, day and vault opens there and nowhere else, and a day that was forgotten stays so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "authd/fields.h"

#define DAY 20000

static const uint8_t purpose[FIELDS_KEY_BYTES] = {1}, chain[FIELDS_KEY_BYTES] = {2};
static const struct fields_owner alice = {SPAN_LIT("acme"), SPAN_LIT("sub_alice")},
				 bob = {SPAN_LIT("acme"), SPAN_LIT("sub_bob")},
				 other = {SPAN_LIT("other"), SPAN_LIT("sub_alice")},
				 shifted = {SPAN_LIT("acmes"), SPAN_LIT("ub_alice")};

static void key_of(uint32_t days, uint8_t ret[FIELDS_KEY_BYTES])
{
	uint8_t link[FIELDS_KEY_BYTES];

	memcpy(link, chain, sizeof(link));
	fields_advance(link, days);
	fields_seal_key(link, ret);
}

static void test_addresses_come_back(void **state)
{
	static const char *const addresses[] = {
		"192.0.2.7", "2001:db8::1",     "::1",
		"0.0.0.0",   "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"};
	uint8_t key[FIELDS_KEY_BYTES], sealed[FIELDS_SEALED_BYTES], again[FIELDS_SEALED_BYTES];
	char text[FIELDS_ADDRESS_BYTES];
	uint32_t day;

	(void)state;
	key_of(0, key);
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		assert_int_equal(fields_seal(key, &alice, DAY, span_str(addresses[i]), sealed), 0);
		assert_int_equal(fields_seal(key, &alice, DAY, span_str(addresses[i]), again), 0);
		assert_memory_not_equal(sealed, again, sizeof(sealed));
		assert_int_equal(fields_day(span_of(sealed, sizeof(sealed)), &day), 0);
		assert_int_equal(day, DAY);
		assert_int_equal(fields_open(key, &alice, span_of(sealed, sizeof(sealed)), text), 0);
		assert_string_equal(text, addresses[i]);
	}
}

static void test_what_is_no_address_is_not_sealed(void **state)
{
	static const char *const wrong[] = {"",
					    "localhost",
					    "1.2.3",
					    "1.2.3.4.5",
					    "::g",
					    "1.2.3.4 ",
					    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255:1"};
	uint8_t key[FIELDS_KEY_BYTES] = {0}, sealed[FIELDS_SEALED_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(fields_seal(key, &alice, DAY, span_str(wrong[i]), sealed), FIELDS_E_FORM);
}

static void test_every_bit_counts(void **state)
{
	uint8_t key[FIELDS_KEY_BYTES], sealed[FIELDS_SEALED_BYTES];
	char text[FIELDS_ADDRESS_BYTES];

	(void)state;
	key_of(0, key);
	assert_int_equal(fields_seal(key, &alice, DAY, SPAN_LIT("192.0.2.7"), sealed), 0);
	for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(fields_open(key, &alice, span_of(sealed, sizeof(sealed)), text), 0);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(sealed); len++)
		assert_int_equal(fields_open(key, &alice, span_of(sealed, len), text), FIELDS_E_FORM);
}

static void test_nobody_elses_key_opens_it(void **state)
{
	uint8_t key[FIELDS_KEY_BYTES], next[FIELDS_KEY_BYTES], sealed[FIELDS_SEALED_BYTES];
	char text[FIELDS_ADDRESS_BYTES];

	(void)state;
	key_of(0, key);
	key_of(1, next);
	assert_int_equal(fields_seal(key, &alice, DAY, SPAN_LIT("192.0.2.7"), sealed), 0);
	assert_int_equal(fields_open(key, &bob, span_of(sealed, sizeof(sealed)), text), FIELDS_E_TAG);
	assert_int_equal(fields_open(key, &other, span_of(sealed, sizeof(sealed)), text), FIELDS_E_TAG);
	assert_int_equal(fields_open(key, &shifted, span_of(sealed, sizeof(sealed)), text), FIELDS_E_TAG);
	assert_int_equal(fields_open(next, &alice, span_of(sealed, sizeof(sealed)), text), FIELDS_E_TAG);
}

static void test_the_chain_is_one(void **state)
{
	uint8_t a[FIELDS_KEY_BYTES], b[FIELDS_KEY_BYTES], key[FIELDS_KEY_BYTES];

	(void)state;
	memcpy(a, chain, sizeof(a));
	memcpy(b, chain, sizeof(b));
	fields_advance(a, 5);
	fields_advance(b, 2);
	assert_memory_not_equal(a, b, sizeof(a));
	fields_advance(b, 3);
	assert_memory_equal(a, b, sizeof(a));
	fields_seal_key(a, key);
	fields_advance(b, 1);
	assert_memory_not_equal(key, b, sizeof(key)); /* who has a day's key has not the next day's chain */
}

static void test_wrapping_is_bound(void **state)
{
	uint8_t wrapped[FIELDS_WRAPPED_BYTES] = {0}, back[FIELDS_KEY_BYTES];
	static const uint8_t foreign[FIELDS_KEY_BYTES] = {9};
	struct span all = span_of(wrapped, sizeof(wrapped));

	(void)state;
	fields_wrap(purpose, &alice, DAY, chain, wrapped);
	assert_int_equal(fields_unwrap(purpose, &alice, DAY, all, back), 0);
	assert_memory_equal(back, chain, sizeof(back));
	assert_int_equal(fields_unwrap(purpose, &alice, DAY + 1, all, back), FIELDS_E_TAG);
	assert_int_equal(fields_unwrap(purpose, &bob, DAY, all, back), FIELDS_E_TAG);
	assert_int_equal(fields_unwrap(purpose, &other, DAY, all, back), FIELDS_E_TAG);
	assert_int_equal(fields_unwrap(purpose, &shifted, DAY, all, back), FIELDS_E_TAG);
	assert_int_equal(fields_unwrap(foreign, &alice, DAY, all, back), FIELDS_E_TAG);
	assert_int_equal(fields_unwrap(purpose, &alice, DAY, span_of(wrapped, sizeof(wrapped) - 1), back),
			 FIELDS_E_FORM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_come_back), cmocka_unit_test(test_what_is_no_address_is_not_sealed),
		cmocka_unit_test(test_every_bit_counts),    cmocka_unit_test(test_nobody_elses_key_opens_it),
		cmocka_unit_test(test_the_chain_is_one),    cmocka_unit_test(test_wrapping_is_bound),
	};

	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
