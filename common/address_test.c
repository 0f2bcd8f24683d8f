/* SPDX-License-Identifier: Apache-2.0 */
#include "common/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

static void one_spelling(void **state)
{
	static const char *const odd[] = {
		"0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433",   "127.1",       "127.0.1",
		"1.2.3",      "1.2.3.4.",   " 1.2.3.4",   "1.2.3.4 ",     "01.2.3.4",    "1.2.3.256",
		"",           "1.2.3.4:80", "[::1]",      "fe80::1%eth0", "::1%1",       "1.2.3.4/8",
		":",          ":::",        "12345::",    "127.0.0.1x",   "017700000001"};
	static const char *const good[][2] = {{"127.0.0.1", "127.0.0.1"},
					      {"255.255.255.255", "255.255.255.255"},
					      {"::1", "::1"},
					      {"2001:DB8:0:0::1", "2001:db8::1"},
					      {"::ffff:1.2.3.4", "::ffff:1.2.3.4"}};
	char text[ADDRESS_TEXT_BYTES];
	struct address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		if (address_parse(span_str(odd[i]), &a))
			fail_msg("'%s' was read as an address", odd[i]);
	assert_false(address_parse(span_of("1.2.3.4\0", 8), &a));
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(address_parse(span_str(good[i][0]), &a));
		address_print(&a, text);
		assert_string_equal(text, good[i][1]);
	}
}

static void ports(void **state)
{
	static const struct {
		const char *text;
		int family;
		unsigned port;
	} good[] = {{"1.2.3.4", AF_INET, 53},
		    {"1.2.3.4:5353", AF_INET, 5353},
		    {"::1", AF_INET6, 53},
		    {"[::1]:65535", AF_INET6, 65535},
		    {"fe80::1:53", AF_INET6, 53}};
	static const char *const bad[] = {"",          "1.2.3.4:",     "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:053",
					  "[::1]",     "[::1]:",       "[::1:53",   "[1.2.3.4]:53",  "[:",
					  "localhost", "localhost:53", ":53",       "[]:53",         "1.2.3.4:5a"};
	struct address a;
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(address_parse_port(span_str(good[i].text), 53, &a, &port));
		assert_int_equal(a.family, good[i].family);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (address_parse_port(span_str(bad[i]), 53, &a, &port))
			fail_msg("'%s' was read as an address and port", bad[i]);
}

static bool within(const char *address, const char *block)
{
	struct address_block b;
	struct address a;

	assert_true(address_parse(span_str(address), &a));
	assert_true(address_parse_block(span_str(block), &b));
	return address_within(&a, &b);
}

static void blocks(void **state)
{
	static const char *const bad[] = {"10.0.0.1/8",  "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "/8",
					  "10.0.0.0/8/", "::1/127",     "::/129",    "10/8",        "10.0.0.0/-1"};
	struct address_block b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (address_parse_block(span_str(bad[i]), &b))
			fail_msg("'%s' was read as a block", bad[i]);
	assert_true(within("10.255.255.255", "10.0.0.0/8"));
	assert_false(within("11.0.0.0", "10.0.0.0/8"));
	assert_true(within("172.31.255.255", "172.16.0.0/12"));
	assert_false(within("172.32.0.0", "172.16.0.0/12"));
	assert_false(within("172.15.255.255", "172.16.0.0/12"));
	assert_true(within("1.2.3.4", "1.2.3.4"));
	assert_false(within("1.2.3.5", "1.2.3.4"));
	assert_true(within("1.2.3.4", "0.0.0.0/0"));
	assert_true(within("fdff::", "fc00::/7"));
	assert_false(within("fe00::", "fc00::/7"));
	/* 10.0.0.0 and 0a00:: begin with the same bytes */
	assert_false(within("a00::", "10.0.0.0/8"));
	assert_false(within("10.0.0.0", "a00::/8"));
}

static void lists(void **state)
{
	struct address_block b[2];
	struct span bad;
	size_t n;

	(void)state;
	assert_true(address_list("", b, 2, &n, &bad));
	assert_int_equal(n, 0);
	assert_true(address_list("10.0.0.0/8,fd00::/8", b, 2, &n, &bad));
	assert_int_equal(n, 2);
	assert_false(address_list("10.0.0.1,10.0.0.2,10.0.0.3", b, 2, &n, &bad));
	assert_true(span_eq_str(bad, "10.0.0.3"));
	assert_false(address_list("10.0.0.1,,10.0.0.2", b, 2, &n, &bad));
	assert_false(address_list("10.0.0.0/7", b, 2, &n, &bad));
	assert_false(address_list("fc00::/6", b, 2, &n, &bad));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_spelling),
		cmocka_unit_test(ports),
		cmocka_unit_test(blocks),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
