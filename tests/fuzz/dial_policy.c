/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any address for an origin with and without a connect_within, and any bytes as a name. Oracle: the registries once
 * more, as first and last numbers in a row of ifs, and a second reading of what a name is.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <sys/socket.h>

#include "keyvault/dialer/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool between(uint32_t n, uint32_t first, uint32_t last)
{
	return n >= first && n <= last;
}

static bool public_v4(uint32_t n)
{
	return !(n <= 0x00ffffff || between(n, 0x0a000000, 0x0affffff) || between(n, 0x64400000, 0x647fffff) ||
		 between(n, 0x7f000000, 0x7fffffff) || n == 0xa83f8110 || between(n, 0xa9fe0000, 0xa9feffff) ||
		 between(n, 0xac100000, 0xac1fffff) || between(n, 0xc0000000, 0xc00000ff) ||
		 between(n, 0xc0000200, 0xc00002ff) || between(n, 0xc01fc400, 0xc01fc4ff) ||
		 between(n, 0xc034c100, 0xc034c1ff) || between(n, 0xc0586300, 0xc05863ff) ||
		 between(n, 0xc0a80000, 0xc0a8ffff) || between(n, 0xc0af3000, 0xc0af30ff) ||
		 between(n, 0xc6120000, 0xc613ffff) || between(n, 0xc6336400, 0xc63364ff) ||
		 between(n, 0xcb007100, 0xcb0071ff) || n >= 0xe0000000);
}

static uint32_t word(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool public_v6(const uint8_t *p)
{
	uint32_t a = word(p), b = word(p + 4);

	if (a == 0x0064ff9b && b == 0 && word(p + 8) == 0)
		return public_v4(word(p + 12));
	if (a >> 29 != 1)
		return false;
	return !(between(a, 0x20010000, 0x200101ff) || a == 0x20010db8 || a >> 16 == 0x2002 ||
		 (a == 0x2620004f && b >> 16 == 0x8000) || a >> 16 == 0x3ffe || a >> 12 == 0x3fff0);
}

static void try_address(const struct policy_origin *o, const struct address *a)
{
	struct policy_refusal refusal = {.why = ""};
	bool ok = policy_judge(o, a, &refusal) == 0;
	char text[ADDRESS_TEXT_BYTES];

	address_print(a, text);
	assert(ok || (refusal.why[0] && strcmp(refusal.address, text) == 0));
	if (o->n_within == 0)
		assert(ok == (a->family == AF_INET ? public_v4(word(a->v4)) : public_v6(a->v6)));
	else /* 10.0.0.0/8 and fd00::/8: nothing else, and not all of it */
		assert(!ok || (a->family == AF_INET ? a->v4[0] == 10 : a->v6[0] == 0xfd));
}

/* A name that is permitted has only labels, is no number to inet_aton(), and does not end in a private domain. */
static void try_name(const uint8_t *data, size_t size)
{
	static const char *const here[] = {"localhost", "internal", "local"};
	char name[300];
	struct policy_refusal refusal;
	struct in_addr in;

	if (size >= sizeof(name))
		return;
	memcpy(name, data, size);
	name[size] = 0;
	if (policy_name(name, true, &refusal) != 0) {
		assert(policy_name(name, false, &refusal) != 0);
		return;
	}
	size_t len = strlen(name);
	assert(len > 0 && len <= 253 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len);
	assert(name[0] != '.' && name[len - 1] != '.' && !strstr(name, "..") && name[0] != '-');
	assert(inet_aton(name, &in) == 0);
	assert(strcmp(name, "localhost") != 0 && strcmp(name, "metadata.google.internal") != 0);
	if (policy_name(name, false, &refusal) != 0)
		return;
	assert(strchr(name, '.'));
	for (size_t i = 0; i < ARRAY_LEN(here); i++)
		assert(strcmp(strrchr(name, '.') + 1, here[i]) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct policy_origin open = {.n_within = 0};
	static const struct policy_origin within = {
		.n_within = 2,
		.within = {{.first = {.family = AF_INET, .v4 = {10}}, .bits = 8},
			   {.first = {.family = AF_INET6, .v6 = {0xfd}}, .bits = 8}}};
	struct address a = {.family = size >= 16 ? AF_INET6 : AF_INET};

	try_name(data, size);
	if (size < 4)
		return 0;
	memcpy(a.v6, data, size >= 16 ? 16 : 4);
	try_address(&open, &a);
	try_address(&within, &a);
	/* Random addresses are seldom special: put the last four bytes behind NAT64's prefix as well. */
	struct address nat64 = {.family = AF_INET6, .v6 = {0, 0x64, 0xff, 0x9b}};
	memcpy(nat64.v6 + 12, data, 4);
	try_address(&open, &nat64);
	return 0;
}
