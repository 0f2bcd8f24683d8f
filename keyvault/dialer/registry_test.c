/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registries once more, as IANA prints them (IPv4 and IPv6 Special-Purpose Address Registry, October 2025), and a
 * second way to compare: bit by bit. Every block is asked at its first and last address and one beyond each; what lies
 * beyond must be refused exactly when another block has it.
 */
#include "keyvault/dialer/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <cmocka.h>

static const char *const iana_v4[] = {
	"0.0.0.0/8",
	"0.0.0.0/32",
	"10.0.0.0/8",
	"100.64.0.0/10",
	"127.0.0.0/8",
	"169.254.0.0/16",
	"172.16.0.0/12",
	"192.0.0.0/24",
	"192.0.0.0/29",
	"192.0.0.8/32",
	"192.0.0.9/32",
	"192.0.0.10/32",
	"192.0.0.170/32",
	"192.0.0.171/32",
	"192.0.2.0/24",
	"192.31.196.0/24",
	"192.52.193.0/24",
	"192.88.99.0/24",
	"192.88.99.2/32",
	"192.168.0.0/16",
	"192.175.48.0/24",
	"198.18.0.0/15",
	"198.51.100.0/24",
	"203.0.113.0/24",
	"240.0.0.0/4",
	"255.255.255.255/32",
	/* other registries and none */
	"224.0.0.0/4",
	"168.63.129.16/32",
	"100.100.100.200/32",
};

static const char *const iana_v6[] = {
	"::1/128",
	"::/128",
	"::ffff:0:0/96",
	"64:ff9b:1::/48",
	"100::/64",
	"100:0:0:1::/64",
	"2001::/23",
	"2001::/32",
	"2001:1::1/128",
	"2001:1::2/128",
	"2001:1::3/128",
	"2001:2::/48",
	"2001:3::/32",
	"2001:4:112::/48",
	"2001:10::/28",
	"2001:20::/28",
	"2001:30::/28",
	"2001:db8::/32",
	"2002::/16",
	"2620:4f:8000::/48",
	"3fff::/20",
	"5f00::/16",
	"fc00::/7",
	"fe80::/10",
	/* other registries and none */
	"::/96",
	"::ffff:0:0:0/96",
	"3ffe::/16",
	"fec0::/10",
	"ff00::/8",
};

static const char *const global_v6[] = {"2000::/3", "64:ff9b::/96"};

struct block {
	int family;
	unsigned bytes, bits;
	uint8_t first[16];
};

static struct block block_of(const char *cidr)
{
	struct block b = {0};
	char text[64];

	(void)snprintf(text, sizeof(text), "%s", cidr);
	char *slash = strchr(text, '/');
	assert_non_null(slash);
	*slash = 0;
	assert_int_equal(sscanf(slash + 1, "%u", &b.bits), 1);
	b.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	b.bytes = b.family == AF_INET ? 4 : 16;
	assert_int_equal(inet_pton(b.family, text, b.first), 1);
	return b;
}

static bool in_block(const uint8_t *address, const struct block *b)
{
	for (unsigned i = 0; i < b->bits; i++)
		if ((address[i / 8] ^ b->first[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

static bool in_list(const uint8_t *address, int family, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct block b = block_of(list[i]);
		if (b.family == family && in_block(address, &b))
			return true;
	}
	return false;
}

static bool expected(int family, const uint8_t *address)
{
	if (family == AF_INET)
		return in_list(address, family, iana_v4, ARRAY_LEN(iana_v4));
	return !in_list(address, family, global_v6, ARRAY_LEN(global_v6)) ||
	       in_list(address, family, iana_v6, ARRAY_LEN(iana_v6));
}

static void ask(int family, const uint8_t *address)
{
	struct address a = {.family = family};
	char text[ADDRESS_TEXT_BYTES];

	memcpy(a.v6, address, family == AF_INET ? 4 : 16);
	const struct registry_row *row = registry_special(&a);
	address_print(&a, text);
	if ((row != NULL) != expected(family, address))
		fail_msg("%s is %s", text, row ? row->what : "allowed");
}

/* One up or down; false beyond the end. */
static bool step(uint8_t *address, unsigned bytes, bool up)
{
	for (unsigned i = bytes; i-- > 0;) {
		address[i] = (uint8_t)(up ? address[i] + 1 : address[i] - 1);
		if (address[i] != (up ? 0 : 0xff))
			return true;
	}
	return false;
}

static void ask_edges(const char *cidr)
{
	struct block b = block_of(cidr);
	uint8_t address[16], last[16];

	memcpy(address, b.first, 16);
	memcpy(last, b.first, 16);
	for (unsigned i = b.bits; i < 8 * b.bytes; i++) {
		assert_false(b.first[i / 8] & (0x80 >> i % 8)); /* a first address */
		last[i / 8] |= (uint8_t)(0x80 >> i % 8);
	}
	ask(b.family, address);
	if (step(address, b.bytes, false))
		ask(b.family, address);
	ask(b.family, last);
	if (step(last, b.bytes, true))
		ask(b.family, last);
}

static void both_edges_of_every_block(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(iana_v4); i++)
		ask_edges(iana_v4[i]);
	for (size_t i = 0; i < ARRAY_LEN(iana_v6); i++)
		ask_edges(iana_v6[i]);
	for (size_t i = 0; i < ARRAY_LEN(global_v6); i++)
		ask_edges(global_v6[i]);
}

/* The table itself: every row is a block, is refused at both edges, and can be reached: no wider row stands before. */
static void every_row(void **state)
{
	static const struct {
		const char *block;
		unsigned bits;
		const char *what;
	} rows[] = {
#define SPECIAL(block, bits, verdict, what, by) {block, bits, what},
#define CARRIER(...)
#define GLOBAL(...)
#define NAME(...)
#include "keyvault/dialer/registry.def"
	};
	char cidr[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a;
		(void)snprintf(cidr, sizeof(cidr), "%s/%u", rows[i].block, rows[i].bits);
		ask_edges(cidr);
		struct block b = block_of(cidr);
		for (unsigned k = b.bits; k < 8 * b.bytes; k++) /* the last: the first may be a row of its own */
			b.first[k / 8] |= (uint8_t)(0x80 >> k % 8);
		a.family = b.family;
		memcpy(a.v6, b.first, 16);
		assert_non_null(registry_special(&a));
		/* 240.0.0.0/4 ends in the broadcast address */
		if (strcmp(cidr, "240.0.0.0/4") != 0 && strcmp(registry_special(&a)->what, rows[i].what) != 0)
			fail_msg("%s is hidden by %s", cidr, registry_special(&a)->block);
	}
}

static void carried(void **state)
{
	static const char *const carriers[][2] = {
		{"64:ff9b::8.8.8.8", "8.8.8.8"},
		{"64:ff9b::ffff:ffff", "255.255.255.255"},
		{"64:ff9b:1:2:3:4:8.8.4.4", "8.8.4.4"},
		{"2600::1", NULL},
		{"64:ff9b:0:0:0:1:808:808", NULL},
		{"64:ff9b:2::808:808", NULL},
		{"8.8.8.8", NULL},
	};
	char text[ADDRESS_TEXT_BYTES];
	struct address a, v4;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(carriers); i++) {
		assert_true(address_parse(span_str(carriers[i][0]), &a));
		if (!carriers[i][1]) {
			assert_null(registry_carried(&a, &v4));
			continue;
		}
		assert_non_null(registry_carried(&a, &v4));
		address_print(&v4, text);
		assert_string_equal(text, carriers[i][1]);
	}
}

static void names(void **state)
{
	(void)state;
	assert_non_null(registry_name(SPAN_LIT("localhost")));
	assert_non_null(registry_name(SPAN_LIT("a.b.localhost")));
	assert_null(registry_name(SPAN_LIT("notlocalhost")));
	assert_null(registry_name(SPAN_LIT("localhost.com")));
	assert_null(registry_name(SPAN_LIT("my-internal.com")));
	assert_null(registry_name(SPAN_LIT("")));
	/* the narrow row, not *.internal */
	assert_true(registry_name(SPAN_LIT("metadata.google.internal"))->never);
	assert_false(registry_name(SPAN_LIT("a.internal"))->never);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_edges_of_every_block),
		cmocka_unit_test(every_row),
		cmocka_unit_test(carried),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
