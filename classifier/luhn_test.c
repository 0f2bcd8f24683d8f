/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "classifier/luhn.h"

static bool ok(const char *digits, size_t n)
{
	struct luhn luhn = LUHN_NULL;

	for (size_t i = 0; i < n; i++)
		luhn_add(&luhn, (unsigned)(digits[i] - '0'));
	return luhn_ok(&luhn);
}

/* Published test numbers of the card schemes. */
static void accepts_cards(void **state)
{
	static const char *const cards[] = {"4111111111111111",
					    "4222222222222",
					    "5555555555554444",
					    "2223003122003222",
					    "378282246310005",
					    "6011111111111117",
					    "30569309025904",
					    "3530111333300000",
					    "6304000000000000",
					    "0",
					    "18"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cards); i++)
		assert_true(ok(cards[i], strlen(cards[i])));
}

/* One wrong digit is always seen; so is an exchange of neighbours, but for 09 and 90. */
static void sees_slips(void **state)
{
	char digits[16];

	(void)state;
	assert_false(ok("", 0));
	for (size_t i = 0; i < sizeof(digits); i++) {
		memcpy(digits, "4111111111111111", sizeof(digits));
		for (char d = '0'; d <= '9'; d++) {
			if (d == "4111111111111111"[i])
				continue;
			digits[i] = d;
			assert_false(ok(digits, sizeof(digits)));
		}
	}
	assert_false(ok("1411111111111111", 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(accepts_cards), cmocka_unit_test(sees_slips)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
