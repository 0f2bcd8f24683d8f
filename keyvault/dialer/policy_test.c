/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool allowed(const char *text)
{
	struct policy_address a;

	if (!policy_address_parse(text, &a))
		fail_msg("%s is no address", text);
	return policy_address_ok(&a);
}

/* The first and last address of every block and the neighbours outside it. */
static void v4_registry(void **state)
{
	static const char *const denied[] = {
		"0.0.0.0",         "0.255.255.255", "10.0.0.0",        "10.255.255.255", "100.64.0.0",
		"100.127.255.255", "127.0.0.1",     "127.255.255.255", "169.254.0.0",    "169.254.169.254",
		"169.254.255.255", "172.16.0.0",    "172.31.255.255",  "192.0.0.0",      "192.0.0.255",
		"192.0.2.1",       "192.31.196.1",  "192.52.193.1",    "192.88.99.1",    "192.168.0.0",
		"192.168.255.255", "192.175.48.1",  "198.18.0.0",      "198.19.255.255", "198.51.100.255",
		"203.0.113.0",     "224.0.0.1",     "239.255.255.255", "240.0.0.1",      "255.255.255.255",
		"168.63.129.16",
	};
	static const char *const ok[] = {
		"1.0.0.0",        "1.1.1.1",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",
		"100.63.255.255", "100.128.0.0",     "126.255.255.255", "128.0.0.0",       "169.253.255.255",
		"169.255.0.0",    "172.15.255.255",  "172.32.0.0",      "191.255.255.255", "192.0.1.0",
		"192.0.3.0",      "192.167.255.255", "192.169.0.0",     "198.17.255.255",  "198.20.0.0",
		"198.51.99.255",  "198.51.101.0",    "203.0.112.255",   "203.0.114.0",     "223.255.255.255",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (allowed(denied[i]))
			fail_msg("%s is allowed", denied[i]);
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (!allowed(ok[i]))
			fail_msg("%s is denied", ok[i]);
}

static void v6_registry(void **state)
{
	static const char *const denied[] = {
		"::",
		"::1",
		"::2",
		"::127.0.0.1",
		"::ffff:127.0.0.1",
		"::ffff:10.1.2.3",
		"::ffff:169.254.169.254",
		"64:ff9b::10.0.0.1",
		"64:ff9b::7f00:1",
		"64:ff9b:1::1",
		"100::1",
		"100:0:0:1::1",
		"2001::1",
		"2001:0:4136:e378::1",
		"2001:2::1",
		"2001:10::1",
		"2001:20::1",
		"2001:1ff:ffff::1",
		"2001:db8::1",
		"2001:db8:ffff::1",
		"2002:7f00:1::1",
		"2002:808:808::1",
		"2620:4f:8000::1",
		"3ffe::1",
		"3fff::1",
		"3fff:fff::1",
		"4000::1",
		"5f00::1",
		"fc00::1",
		"fd00:ec2::254",
		"fe80::1",
		"fec0::1",
		"ff02::1",
		"ff0e::1",
		"1fff::1",
		"8000::1",
		"::ffff:0:8.8.8.8",
	};
	static const char *const ok[] = {
		"2001:200::1",     "2001:4860:4860::8888", "2600::1",          "2606:4700::1111",
		"2620:4f:7fff::1", "2a00:1450::1",         "2003::1",          "3ffd::1",
		"3fff:1000::1",    "::ffff:8.8.8.8",       "64:ff9b::8.8.8.8", "2000::1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (allowed(denied[i]))
			fail_msg("%s is allowed", denied[i]);
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (!allowed(ok[i]))
			fail_msg("%s is denied", ok[i]);
}

static void odd_addresses_do_not_parse(void **state)
{
	static const char *const odd[] = {
		"0177.0.0.1", "0x7f.0.0.1",   "0x7f000001", "2130706433", "127.1",     "127.0.1", "1.2.3",
		"1.2.3.4.",   " 1.2.3.4",     "1.2.3.4 ",   "01.2.3.4",   "1.2.3.256", "",        "1.2.3.4:80",
		"[::1]",      "fe80::1%eth0", "::1%1",      "1.2.3.4/8",  ":",         ":::",     "12345::"};
	struct policy_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		if (policy_address_parse(odd[i], &a))
			fail_msg("'%s' was read as an address", odd[i]);
}

static void names(void **state)
{
	static const char *const denied[] = {
		"",
		"localhost",
		"a.localhost",
		"x.local",
		"printer.local",
		"metadata.google.internal",
		"a.internal",
		"intranet",
		"api.openai.com.",
		".openai.com",
		"api..openai.com",
		"API.openai.com",
		"api_x.openai.com",
		"-a.openai.com",
		"a-.openai.com",
		"127.0.0.1",
		"0x7f.0.0.1",
		"127.1",
		"2130706433",
		"0x7f000001",
		"0177.0.0.01",
		"1.2.3.4",
		"::1",
		"[::1]",
		"a b.com",
		"a/b.com",
		"a@b.com",
		"a:443.com",
		"host.docker.internal",
		"kubernetes.default.svc.cluster.local",
		"x.lan",
		"x.home.arpa",
		"x.onion",
		"upstream.test",
		"foo.example",
		"single",
		"a.1",
		"a.0x1",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com",
		"\xc3\xbc.com",
		"a%2e.com",
		"a\tb.com",
	};
	static const char *const ok[] = {"api.openai.com",  "api.anthropic.com", "a.b",
					 "x-1.y2.co.uk",    "xn--bcher-kva.de",  "generativelanguage.googleapis.com",
					 "my-internal.com", "localhost.com",     "123.com"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (policy_name_ok(denied[i]))
			fail_msg("'%s' is allowed", denied[i]);
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (!policy_name_ok(ok[i]))
			fail_msg("'%s' is denied", ok[i]);
}

static void only_configured_origins(void **state)
{
	struct config_provider providers[] = {
		{.name = "openai", .base_url = "https://api.openai.com/v1", .connect_to = "", .ca_file = ""},
		{.name = "local",
		 .base_url = "https://upstream.test:18443/v1",
		 .connect_to = "127.0.0.1",
		 .ca_file = ""},
		{.name = "host", .base_url = "https://box.local:8443", .connect_to = "", .ca_file = ""},
		{.name = "literal", .base_url = "https://127.0.0.1:9443", .connect_to = "", .ca_file = ""},
	};
	struct config config = {.providers = providers, .n_providers = ARRAY_LEN(providers)};
	struct policy p;
	const struct policy_origin *o;
	const char *who;

	(void)state;
	assert_int_equal(policy_init(&p, &config, &who), 0);
	assert_int_equal(policy_find(&p, SPAN_LIT("api.openai.com"), 443, &o), 0);
	assert_false(o->pinned);
	assert_int_equal(policy_find(&p, SPAN_LIT("api.openai.com"), 8443, &o), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_LIT("evil.com"), 443, &o), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_LIT("api.openai.com."), 443, &o), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_LIT("upstream.test"), 443, &o), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_LIT("127.0.0.1"), 18443, &o), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_LIT("upstream.test"), 18443, &o), 0);
	assert_true(o->pinned);
	assert_int_equal(o->address.family, AF_INET);
	/* configured, but never without connect_to */
	assert_int_equal(policy_find(&p, SPAN_LIT("box.local"), 8443, &o), POLICY_E_DENIED);
	/* a literal is found, and its address then judged like any other */
	assert_int_equal(policy_find(&p, SPAN_LIT("127.0.0.1"), 9443, &o), 0);
	assert_false(o->pinned);
	policy_deinit(&p);
	providers[1].connect_to = "0177.0.0.1";
	assert_int_equal(policy_init(&p, &config, &who), POLICY_E_CONFIG);
	assert_string_equal(who, "local");
	policy_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v4_registry),
		cmocka_unit_test(v6_registry),
		cmocka_unit_test(odd_addresses_do_not_parse),
		cmocka_unit_test(names),
		cmocka_unit_test(only_configured_origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
