/* SPDX-License-Identifier: Apache-2.0 */
#include "router/proxies.h"

#include <arpa/inet.h>

/* Both families as 16 bytes. */
static bool address_parse(struct span text, uint8_t ret[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char s[PROXIES_ADDRESS_BYTES];

	if (text.len == 0 || text.len >= sizeof(s))
		return false;
	memcpy(s, text.p, text.len);
	s[text.len] = '\0';
	if (inet_pton(AF_INET6, s, ret) == 1)
		return true;
	memcpy(ret, mapped, sizeof(mapped));
	return inet_pton(AF_INET, s, ret + 12) == 1;
}

static bool net_parse(struct span item, struct proxies_net *ret)
{
	const uint8_t *slash = memchr(item.p, '/', item.len);
	struct span address = span_of(item.p, slash ? (size_t)(slash - item.p) : item.len);
	bool v4 = memchr(address.p, ':', address.len) == NULL;
	unsigned max = v4 ? 32 : 128, bits = 0;

	if (!address_parse(address, ret->address))
		return false;
	if (slash) {
		struct span digits = span_of(slash + 1, item.len - address.len - 1);
		if (digits.len == 0 || digits.len > 3)
			return false;
		for (size_t i = 0; i < digits.len; i++) {
			if (digits.p[i] < '0' || digits.p[i] > '9')
				return false;
			bits = bits * 10 + (unsigned)(digits.p[i] - '0');
		}
	}
	if (bits > max)
		return false;
	ret->bits = (slash ? bits : max) + (v4 ? 96 : 0);
	return true;
}

static struct span trimmed(struct span s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = span_of(s.p + 1, s.len - 1);
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

int proxies_parse(struct proxies *p, const char *list)
{
	p->n = 0;
	while (*list) {
		size_t len = strcspn(list, ",");
		if (p->n == PROXIES_MAX || !net_parse(trimmed(span_of(list, len)), &p->nets[p->n]))
			return PROXIES_E_INVALID;
		p->n++;
		list += len + (list[len] == ',');
	}
	return 0;
}

static bool net_has(const struct proxies_net *net, const uint8_t address[16])
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;
	uint8_t mask = (uint8_t)(0xff00u >> rest);

	return memcmp(net->address, address, whole) == 0 &&
	       (rest == 0 || (net->address[whole] & mask) == (address[whole] & mask));
}

static bool proxies_have(const struct proxies *p, const uint8_t address[16])
{
	for (size_t i = 0; i < p->n; i++)
		if (net_has(&p->nets[i], address))
			return true;
	return false;
}

bool proxies_trust(const struct proxies *p, struct span address)
{
	uint8_t bytes[16];

	return p->n > 0 && address_parse(address, bytes) && proxies_have(p, bytes);
}

static void address_print(const uint8_t address[16], char ret[PROXIES_ADDRESS_BYTES])
{
	bool v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)address);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, ret, PROXIES_ADDRESS_BYTES))
		ret[0] = '\0';
}

bool proxies_client(const struct proxies *p, struct span forwarded_for, char address[PROXIES_ADDRESS_BYTES])
{
	uint8_t bytes[16];

	while (forwarded_for.len > 0) {
		const uint8_t *comma = memrchr(forwarded_for.p, ',', forwarded_for.len);
		size_t before = comma ? (size_t)(comma - forwarded_for.p) : 0, skip = comma ? before + 1 : 0;
		struct span last = trimmed(span_of(forwarded_for.p + skip, forwarded_for.len - skip));
		if (!address_parse(last, bytes))
			return false;
		address_print(bytes, address);
		if (!proxies_have(p, bytes))
			return false;
		forwarded_for.len = before;
	}
	return true;
}
