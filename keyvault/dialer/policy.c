/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables are the registries' (IANA IPv4 and IPv6 Special-Purpose Address Registry), reduced to what may not be
 * connected to: every block that is not both globally reachable and a possible destination. IPv6 is turned round: only
 * 2000::/3 is global unicast (RFC 4291, RFC 8200), and within it the special blocks are taken out.
 *
 * An IPv6 address may carry an IPv4 address that some host or gateway on the way acts on: mapped, NAT64's well-known
 * prefix, 6to4. The first two are judged by the address they carry; 6to4 and Teredo are obsolete and refused, whatever
 * they carry.
 */
#include "keyvault/dialer/policy.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "common/err.h"

struct policy_block {
	const char *block; /* RFC that reserves it, in the comment */
	unsigned bits;
};

static const struct policy_block policy_v4_denied[] = {
	{"0.0.0.0", 8},        /* this network: RFC 791 */
	{"10.0.0.0", 8},       /* private: RFC 1918 */
	{"100.64.0.0", 10},    /* carrier-grade NAT: RFC 6598 */
	{"127.0.0.0", 8},      /* loopback: RFC 1122 */
	{"168.63.129.16", 32}, /* Azure: the host under a virtual machine; public by registry only */
	{"169.254.0.0", 16},   /* link-local, cloud metadata: RFC 3927 */
	{"172.16.0.0", 12},    /* private: RFC 1918 */
	{"192.0.0.0", 24},     /* protocol assignments: RFC 6890 */
	{"192.0.2.0", 24},     /* documentation: RFC 5737 */
	{"192.31.196.0", 24},  /* AS112: RFC 7535 */
	{"192.52.193.0", 24},  /* AMT: RFC 7450 */
	{"192.88.99.0", 24},   /* 6to4 relay, deprecated: RFC 7526 */
	{"192.168.0.0", 16},   /* private: RFC 1918 */
	{"192.175.48.0", 24},  /* AS112: RFC 7534 */
	{"198.18.0.0", 15},    /* benchmarking: RFC 2544 */
	{"198.51.100.0", 24},  /* documentation: RFC 5737 */
	{"203.0.113.0", 24},   /* documentation: RFC 5737 */
	{"224.0.0.0", 4},      /* multicast: RFC 5771 */
	{"240.0.0.0", 4},      /* reserved, and broadcast: RFC 1112, RFC 919 */
};

static const struct policy_block policy_v6_denied[] = {
	{"2001::", 23},         /* protocol assignments, Teredo, ORCHID, benchmarking: RFC 2928 */
	{"2001:db8::", 32},     /* documentation: RFC 3849 */
	{"2002::", 16},         /* 6to4: RFC 3056 */
	{"2620:4f:8000::", 48}, /* AS112: RFC 7534 */
	{"3fff::", 20},         /* documentation: RFC 9637 */
	{"3ffe::", 16},         /* 6bone, returned: RFC 3701 */
};

static const struct policy_block policy_v6_global = {"2000::", 3};
static const struct policy_block policy_v6_mapped = {"::ffff:0:0", 96}; /* RFC 4291 */
static const struct policy_block policy_v6_nat64 = {"64:ff9b::", 96};   /* RFC 6052 */

static bool policy_within(int family, const uint8_t *address, const struct policy_block *b)
{
	uint8_t block[16];

	if (inet_pton(family, b->block, block) != 1)
		return true; /* a slip in a table denies */
	unsigned whole = b->bits / 8, rest = b->bits % 8;
	if (memcmp(address, block, whole) != 0)
		return false;
	return rest == 0 || (address[whole] ^ block[whole]) >> (8 - rest) == 0;
}

static bool policy_v4_ok(const uint8_t v4[4])
{
	for (size_t i = 0; i < ARRAY_LEN(policy_v4_denied); i++)
		if (policy_within(AF_INET, v4, &policy_v4_denied[i]))
			return false;
	return true;
}

bool policy_address_ok(const struct policy_address *a)
{
	if (a->family == AF_INET)
		return policy_v4_ok(a->v4);
	if (a->family != AF_INET6)
		return false;
	if (policy_within(AF_INET6, a->v6, &policy_v6_mapped) || policy_within(AF_INET6, a->v6, &policy_v6_nat64))
		return policy_v4_ok(a->v6 + 12);
	if (!policy_within(AF_INET6, a->v6, &policy_v6_global))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(policy_v6_denied); i++)
		if (policy_within(AF_INET6, a->v6, &policy_v6_denied[i]))
			return false;
	return true;
}

bool policy_address_parse(const char *text, struct policy_address *ret_address)
{
	struct policy_address a = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
	char back[INET6_ADDRSTRLEN];

	if (inet_pton(a.family, text, a.family == AF_INET ? a.v4 : a.v6) != 1)
		return false;
	/* inet_pton takes no odd forms of IPv4, and IPv6 has many spellings of which only one is taken. */
	if (a.family == AF_INET && (!inet_ntop(AF_INET, a.v4, back, sizeof(back)) || strcmp(back, text) != 0))
		return false;
	*ret_address = a;
	return true;
}

static bool policy_ends_with(struct span name, const char *tail)
{
	struct span t = span_str(tail);

	return name.len >= t.len && memcmp(name.p + name.len - t.len, t.p, t.len) == 0;
}

/* RFC 1123 labels. */
static bool policy_labels_ok(struct span name, size_t *ret_labels, bool *ret_last_numeric)
{
	size_t begin = 0;

	*ret_labels = 0;
	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && name.p[i] != '.') {
			uint8_t c = name.p[i];
			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
				return false;
			continue;
		}
		size_t len = i - begin;
		if (len == 0 || len > 63 || name.p[begin] == '-' || name.p[i - 1] == '-')
			return false;
		++*ret_labels;
		/* As the WHATWG reads it: digits, or 0x and hexadecimal digits, mean an address. */
		*ret_last_numeric = name.p[begin] >= '0' && name.p[begin] <= '9';
		begin = i + 1;
	}
	return true;
}

bool policy_name_ok(const char *host)
{
	/* RFC 6761, 6762, 7686, 8375, 9476 and what clouds use for metadata and private zones. */
	static const char *const denied[] = {"localhost",  ".localhost",    ".local",    ".internal", ".intranet",
					     ".private",   ".corp",         ".home",     ".lan",      ".localdomain",
					     ".home.arpa", ".in-addr.arpa", ".ip6.arpa", ".onion",    ".invalid",
					     ".test",      ".example",      ".alt"};
	struct span name = span_str(host);
	size_t labels;
	bool numeric = true;

	if (name.len == 0 || name.len > 253 || !policy_labels_ok(name, &labels, &numeric) || labels < 2 || numeric)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (policy_ends_with(name, denied[i]))
			return false;
	return true;
}

static bool policy_read(struct policy_origin *o, const struct config_provider *p)
{
	if (config_url_parse(p->base_url, &o->url))
		return false;
	o->pinned = *p->connect_to != 0;
	return !o->pinned || policy_address_parse(p->connect_to, &o->address);
}

int policy_init(struct policy *p, const struct config *config, const char **ret_provider)
{
	*p = (struct policy){.origins = calloc(config->n_providers + 1, sizeof(*p->origins))};
	if (!p->origins)
		return err_origin(-ENOMEM);
	for (; p->n < config->n_providers; p->n++) {
		if (policy_read(&p->origins[p->n], &config->providers[p->n]))
			continue;
		*ret_provider = config->providers[p->n].name;
		return POLICY_E_CONFIG;
	}
	return 0;
}

void policy_deinit(struct policy *p)
{
	free(p->origins);
	*p = POLICY_NULL;
}

int policy_find(const struct policy *p, struct span host, uint64_t port, const struct policy_origin **ret_origin)
{
	struct policy_address literal;

	for (size_t i = 0; i < p->n; i++) {
		const struct policy_origin *o = &p->origins[i];
		if (!span_eq_str(host, o->url.host) || port != o->url.port)
			continue;
		if (!o->pinned && !policy_name_ok(o->url.host) && !policy_address_parse(o->url.host, &literal))
			return POLICY_E_DENIED;
		*ret_origin = o;
		return 0;
	}
	return POLICY_E_DENIED;
}
