/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

static struct policy_refusal refusal;

static void origin_of(struct policy_origin *o, const char *within)
{
	struct span bad;

	*o = (struct policy_origin){.pinned = false};
	assert_true(address_list(within, o->within, POLICY_WITHIN_MAX, &o->n_within, &bad));
}

static bool permitted(const char *within, const char *text)
{
	struct policy_origin o;
	struct address a;

	origin_of(&o, within);
	if (!address_parse(span_str(text), &a))
		fail_msg("%s is no address", text);
	refusal = (struct policy_refusal){0};
	return policy_judge(&o, &a, &refusal) == 0;
}

static void only_global_unicast(void **state)
{
	static const char *const denied[] = {
		"0.0.0.0",
		"10.1.2.3",
		"127.0.0.1",
		"169.254.169.254",
		"192.168.1.1",
		"224.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"::ffff:8.8.8.8",
		"::ffff:127.0.0.1",
		"64:ff9b:1::808:808",
		"2002:808:808::1",
		"fd00:ec2::254",
		"fe80::1",
		"ff02::1",
		"2001:0:808:808::1",
		"::8.8.8.8",
		"4000::1",
		"64:ff9b:0:0:0:1::1",
		"64:ff9b::10.0.0.1",
		"64:ff9b::127.0.0.1",
		"64:ff9b::169.254.169.254",
		"64:ff9b::0.0.0.0",
	};
	static const char *const ok[] = {"1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
		if (permitted("", denied[i]))
			fail_msg("%s is permitted", denied[i]);
		assert_string_not_equal(refusal.why, "");
	}
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (!permitted("", ok[i]))
			fail_msg("%s is refused: %s", ok[i], refusal.why);
}

static void a_refusal_says_which_and_what_to_do(void **state)
{
	(void)state;
	assert_false(permitted("", "10.1.2.3"));
	assert_string_equal(refusal.address, "10.1.2.3");
	assert_string_equal(refusal.why, "private use (RFC 1918); only the provider's connect_to or connect_within "
					 "permits it");
	assert_false(permitted("", "64:ff9b::a9fe:a9fe"));
	assert_string_equal(refusal.address, "64:ff9b::a9fe:a9fe");
	assert_string_equal(refusal.why, "NAT64 of: cloud metadata (RFC 3927); never connected");
}

/* What is listed and nothing else; but never metadata, multicast and the like. */
static void only_what_is_listed(void **state)
{
	static const struct {
		const char *within, *address;
		bool permitted;
	} cases[] = {
		{"10.1.0.0/16", "10.1.2.3", true},
		{"10.1.0.0/16", "10.2.0.0", false},
		{"10.1.0.0/16", "8.8.8.8", false},
		{"10.1.0.0/16,fd00:1::/32", "fd00:1::9", true},
		{"10.1.0.0/16,fd00:1::/32", "fd00:2::9", false},
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"::1", "::1", true},
		{"8.8.8.0/24", "8.8.8.8", true},
		{"8.8.8.0/24", "8.8.4.4", false},
		{"169.254.0.0/16", "169.254.169.254", false},
		{"169.254.169.254", "169.254.169.254", false},
		{"0.0.0.0/8", "0.0.0.0", false},
		{"168.63.129.16", "168.63.129.16", false},
		{"100.100.0.0/16", "100.100.100.200", false},
		{"100.100.0.0/16", "100.100.100.201", true},
		{"fd00::/8", "fd00:ec2::254", false},
		{"fd00::/8", "fd00:ec2::23", false},
		{"fd00::/8", "fd20:ce::254", false},
		{"fd00::/8", "fd00:c1::a9fe:a9fe", false},
		{"fd00::/8", "fd00:42::42", false},
		{"fd00::/8", "fd00:a9fe:a9fe::1", false},
		{"fd00::/8", "fd00:100::100:200", false},
		{"fd00::/8", "fd00:ec2::253", true},
		{"224.0.0.0/8", "224.0.0.1", false},
		{"fe80::/10", "fe80::1", false},
		{"2002::/16", "2002:808:808::1", false},
		{"10.0.0.0/8", "::ffff:10.0.0.1", false},
		/* what a translator would make of it is judged as well */
		{"64:ff9b:1::/48", "64:ff9b:1::808:808", true},
		{"64:ff9b:1::/48", "64:ff9b:1::a00:1", false},
		{"64:ff9b:1::/48,10.0.0.0/8", "64:ff9b:1::a00:1", true},
		{"64:ff9b:1::/48,10.0.0.0/8", "64:ff9b:1::7f00:1", false},
		{"64:ff9b::/96", "64:ff9b::a00:1", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (permitted(cases[i].within, cases[i].address) != cases[i].permitted)
			fail_msg("%s within %s: %s", cases[i].address, cases[i].within, refusal.why);
}

static void names_that_are_never_resolved(void **state)
{
	static const char *const never[] = {
		"",
		"localhost",
		"a.localhost",
		"metadata.google.internal",
		"api.openai.com.",
		".openai.com",
		"api..openai.com",
		"API.openai.com",
		"api_x.openai.com",
		"-a.openai.com",
		"a-.openai.com",
		/* numbers, as inet_aton() and browsers read them */
		"127.0.0.1",
		"0x7f.0.0.1",
		"0x7f.1",
		"127.1",
		"127.0.1",
		"2130706433",
		"0x7f000001",
		"017700000001",
		"0177.0.0.01",
		"1.2.3.4",
		"1.2.3.4.",
		"0",
		"00",
		"0x",
		"a.0x1",
		"a.1",
		"example.com.08",
		"::1",
		"[::1]",
		"::ffff:127.0.0.1",
		"a b.com",
		"a/b.com",
		"a@b.com",
		"a:443.com",
		"x.onion",
		"1.0.0.127.in-addr.arpa",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com", /* 64 */
		"\xc3\xbc.com",
		"a%2e.com",
		"a\tb.com",
		"*.com",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (policy_name(never[i], false, &refusal) == 0 || policy_name(never[i], true, &refusal) == 0)
			fail_msg("'%s' is permitted", never[i]);
}

static void names(void **state)
{
	static const char *const private[] = {"x.local",
					      "printer.local",
					      "a.internal",
					      "intranet",
					      "host.docker.internal",
					      "ollama",
					      "kubernetes.default.svc.cluster.local",
					      "x.lan",
					      "x.home.arpa",
					      "upstream.test",
					      "foo.example",
					      "x.corp"};
	static const char *const ok[] = {"api.openai.com",  "api.anthropic.com", "a.b",
					 "x-1.y2.co.uk",    "xn--bcher-kva.de",  "generativelanguage.googleapis.com",
					 "my-internal.com", "localhost.com",     "123.com",
					 "127.0.0.1.nip.io"}; /* a name; its address is judged */

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(private); i++) {
		if (policy_name(private[i], false, &refusal) == 0)
			fail_msg("'%s' is permitted", private[i]);
		assert_non_null(strstr(refusal.why, "connect_within"));
		if (policy_name(private[i], true, &refusal))
			fail_msg("'%s' is refused: %s", private[i], refusal.why);
	}
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (policy_name(ok[i], false, &refusal))
			fail_msg("'%s' is refused: %s", ok[i], refusal.why);
}

static void a_name_of_253_characters(void **state)
{
	char name[256];

	(void)state;
	memset(name, 'a', sizeof(name));
	for (size_t i = 63; i < sizeof(name); i += 64)
		name[i] = '.';
	name[253] = 0;
	assert_int_equal(policy_name(name, false, &refusal), 0);
	name[253] = 'a';
	name[254] = 0;
	assert_int_equal(policy_name(name, false, &refusal), POLICY_E_DENIED);
}

static bool found(const struct policy *p, const char *host, uint64_t port, const struct policy_origin **ret)
{
	return policy_find(p, span_str(host), port, ret, &refusal) == 0;
}

static void only_configured_origins(void **state)
{
	struct config_provider providers[] = {
		{.base_url = "https://api.openai.com/v1", .connect_to = "", .token_url = "", .connect_within = ""},
		{.base_url = "https://upstream.test:18443/v1",
		 .connect_to = "127.0.0.1",
		 .token_url = "",
		 .connect_within = ""},
		{.base_url = "https://box.local:8443", .connect_to = "", .token_url = "", .connect_within = ""},
		{.base_url = "https://127.0.0.1:9443", .connect_to = "", .token_url = "", .connect_within = ""},
		{.base_url = "https://vllm.local", .connect_to = "", .token_url = "", .connect_within = "10.0.0.0/8"},
		{.base_url = "https://0x7f.1", .connect_to = "", .token_url = "", .connect_within = "127.0.0.0/8"},
	};
	struct config config = {.providers = providers, .n_providers = ARRAY_LEN(providers)};
	struct policy p;
	const struct policy_origin *o;
	const char *who;

	(void)state;
	assert_int_equal(policy_init(&p, &config, &who), 0);
	assert_true(found(&p, "api.openai.com", 443, &o));
	assert_false(o->pinned);
	assert_false(found(&p, "api.openai.com", 8443, &o));
	assert_false(found(&p, "evil.com", 443, &o));
	assert_false(found(&p, "api.openai.com.", 443, &o));
	assert_false(found(&p, "API.openai.com", 443, &o));
	assert_int_equal(policy_find(&p, span_of("api.openai.com\0.evil", 20), 443, &o, &refusal), POLICY_E_DENIED);
	assert_int_equal(policy_find(&p, SPAN_NULL, 443, &o, &refusal), POLICY_E_DENIED);
	assert_false(found(&p, "upstream.test", 443, &o));
	assert_false(found(&p, "127.0.0.1", 18443, &o));
	assert_string_equal(refusal.why, "not an origin of the configured providers");
	assert_true(found(&p, "upstream.test", 18443, &o));
	assert_true(o->pinned);
	assert_int_equal(o->n_within, 1);
	/* configured, but never without connect_to or connect_within */
	assert_false(found(&p, "box.local", 8443, &o));
	assert_true(found(&p, "vllm.local", 443, &o));
	/* a literal is found, and its address then judged like any other */
	assert_true(found(&p, "127.0.0.1", 9443, &o));
	assert_false(found(&p, "0x7f.1", 443, &o));
	policy_deinit(&p);
}

static void nonsense_is_refused_at_start(void **state)
{
	static const char *const bad[][2] = {{"0177.0.0.1", ""},
					     {"127.0.0.0/8", ""},
					     {"localhost", ""},
					     {"", "10.0.0.1/8"},
					     {"", "0.0.0.0/0"},
					     {"", "x"},
					     {"", "10.0.0.0/8,"
						  "10.0.0.0/8,,"},
					     {"10.0.0.1", "10.0.0.1"}};
	struct policy p;
	const char *who;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct config_provider one = {.name = "one",
					      .base_url = "https://a.com",
					      .connect_to = bad[i][0],
					      .token_url = "",
					      .connect_within = bad[i][1]};
		struct config config = {.providers = &one, .n_providers = 1};
		if (policy_init(&p, &config, &who) != POLICY_E_CONFIG)
			fail_msg("'%s', '%s'", bad[i][0], bad[i][1]);
		assert_string_equal(who, "one");
		policy_deinit(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_global_unicast),           cmocka_unit_test(a_refusal_says_which_and_what_to_do),
		cmocka_unit_test(only_what_is_listed),           cmocka_unit_test(names),
		cmocka_unit_test(names_that_are_never_resolved), cmocka_unit_test(a_name_of_253_characters),
		cmocka_unit_test(only_configured_origins),       cmocka_unit_test(nonsense_is_refused_at_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
