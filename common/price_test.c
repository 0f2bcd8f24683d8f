/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/price.h"

static uint64_t parsed(const char *text)
{
	uint64_t nano;

	return price_parse(span_str(text), &nano) ? UINT64_MAX : nano;
}

static void test_prices(void **state)
{
	(void)state;
	assert_int_equal(parsed(""), 0);
	assert_int_equal(parsed("0"), 0);
	assert_int_equal(parsed("0.15"), 150000000);
	assert_int_equal(parsed("2.5"), 2500000000);
	assert_int_equal(parsed("0.000000001"), 1);
	assert_int_equal(parsed("75"), UINT64_C(75000000000));
	assert_int_equal(parsed("1000000"), PRICE_NANO_MAX);
	assert_int_equal(parsed("0001.50"), 1500000000);
}

static void test_what_is_no_price(void **state)
{
	static const char *const wrong[] = {
		".5",  "5.", ".",  "1.2.3", "-1",           "+1",        "1e3",
		"1,5", " 1", "1 ", "0x1",   "0.0000000001", "1000000.1", "99999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(parsed(wrong[i]), UINT64_MAX);
}

static void test_costs(void **state)
{
	(void)state;
	assert_int_equal(price_cost(1000000, 150000000), 150000000);
	assert_int_equal(price_cost(231, 150000000), 34650);
	assert_int_equal(price_cost(0, 150000000), 0);
	assert_int_equal(price_cost(1, 499999), 0);
	assert_int_equal(price_cost(1, 500000), 1);
	assert_int_equal(price_cost(3, 500000), 2); /* not three times one */
	assert_int_equal(price_cost(UINT32_MAX, PRICE_NANO_MAX), UINT64_C(4294967295) * 1000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prices),
		cmocka_unit_test(test_what_is_no_price),
		cmocka_unit_test(test_costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
