/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/proxies.h"

static void test_parse(void **state)
{
	static const char *const good[] = {"", "10.0.0.0/8", "10.0.0.1, ::1", "fd00::/8,192.168.1.1/32", "0.0.0.0/0"};
	static const char *const bad[] = {"x", "10.0.0.0/33",   "::1/129", "10.0.0.0/",    "10.0.0.0/-1",
					  ",", "10.0.0.1,,::1", "10.0.0",  "10.0.0.0/1234"};
	struct proxies p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(proxies_parse(&p, good[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(proxies_parse(&p, bad[i]), PROXIES_E_INVALID);
}

static void test_client(void **state)
{
	static const struct {
		const char *forwarded, *expect;
		bool more;
	} cases[] = {
		{"", "10.1.2.3", true},
		{"1.1.1.1", "1.1.1.1", false},
		{"6.6.6.6, 1.1.1.1, 10.9.9.9", "1.1.1.1", false}, /* the client's own words are left of ours */
		{"10.4.4.4", "10.4.4.4", true},
		{"evil, 10.4.4.4", "10.4.4.4", false},
		{"1.1.1.1, nonsense", "10.1.2.3", false},
		{"2001:DB8::1", "2001:db8::1", false},
		{"::ffff:1.1.1.1", "1.1.1.1", false},
		{"::ffff:10.1.1.1", "10.1.1.1", true},
		{",,", "10.1.2.3", false},
	};
	char got[PROXIES_ADDRESS_BYTES];
	struct proxies p;

	(void)state;
	assert_int_equal(proxies_parse(&p, "10.0.0.0/8, fd00::/8"), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		strcpy(got, "10.1.2.3");
		assert_int_equal(proxies_client(&p, span_str(cases[i].forwarded), got), cases[i].more);
		assert_string_equal(got, cases[i].expect);
	}
	assert_true(proxies_trust(&p, SPAN_LIT("::ffff:10.1.2.3")));
	assert_false(proxies_trust(&p, SPAN_LIT("203.0.113.9")));
	assert_int_equal(proxies_parse(&p, "192.168.0.0/23"), 0);
	assert_true(proxies_trust(&p, SPAN_LIT("192.168.1.255")));
	assert_false(proxies_trust(&p, SPAN_LIT("192.168.2.0")));
	assert_false(proxies_trust(&p, SPAN_LIT("192.168.2.0.1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
