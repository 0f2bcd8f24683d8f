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
		const char *peer, *forwarded, *expect;
	} cases[] = {
		{"203.0.113.9", "1.1.1.1", "203.0.113.9"}, /* not a proxy of ours: not believed */
		{"10.1.2.3", "", "10.1.2.3"},
		{"10.1.2.3", "1.1.1.1", "1.1.1.1"},
		{"10.1.2.3", "6.6.6.6, 1.1.1.1, 10.9.9.9", "1.1.1.1"}, /* the client's own words are left of ours */
		{"10.1.2.3", "10.4.4.4", "10.4.4.4"},
		{"10.1.2.3", "evil, 10.4.4.4", "10.4.4.4"},
		{"10.1.2.3", "1.1.1.1, nonsense", "10.1.2.3"},
		{"::ffff:10.1.2.3", "2001:DB8::1", "2001:db8::1"},
		{"fd00::7", "::ffff:1.1.1.1", "1.1.1.1"},
		{"10.1.2.3", ",,", "10.1.2.3"},
	};
	char got[PROXIES_ADDRESS_BYTES];
	struct proxies p;

	(void)state;
	assert_int_equal(proxies_parse(&p, "10.0.0.0/8, fd00::/8"), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		proxies_client(&p, cases[i].peer, span_str(cases[i].forwarded), got);
		assert_string_equal(got, cases[i].expect);
	}
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
