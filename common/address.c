/* SPDX-License-Identifier: Apache-2.0 */
#include "common/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "common/config.h"

static size_t address_bytes(const struct address *a)
{
	return a->family == AF_INET ? 4 : 16;
}

bool address_parse(struct span text, struct address *ret)
{
	struct address a = {.family = text.len > 0 && memchr(text.p, ':', text.len) ? AF_INET6 : AF_INET};
	char s[ADDRESS_TEXT_BYTES], back[ADDRESS_TEXT_BYTES];

	if (text.len == 0 || text.len >= sizeof(s) || memchr(text.p, 0, text.len))
		return false;
	memcpy(s, text.p, text.len);
	s[text.len] = 0;
	if (inet_pton(a.family, s, a.v6) != 1)
		return false;
	/* What one inet_pton takes, another reads as octal: IPv4 must be as inet_ntop writes it. */
	if (a.family == AF_INET && (!inet_ntop(AF_INET, a.v4, back, sizeof(back)) || strcmp(back, s) != 0))
		return false;
	*ret = a;
	return true;
}

static bool address_number(struct span digits, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (digits.len == 0 || digits.len > 5 || (digits.len > 1 && digits.p[0] == '0'))
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.p[i] < '0' || digits.p[i] > '9')
			return false;
		n = n * 10 + (unsigned)(digits.p[i] - '0');
	}
	*ret = n;
	return n <= max;
}

bool address_parse_port(struct span text, uint16_t port_absent, struct address *ret, uint16_t *ret_port)
{
	const uint8_t *colon = text.len > 0 ? memrchr(text.p, ':', text.len) : NULL;
	unsigned port = port_absent;

	if (text.len > 1 && text.p[0] == '[') {
		struct span digits = colon ? span_of(colon + 1, text.len - (size_t)(colon - text.p) - 1) : SPAN_NULL;
		if (!colon || colon[-1] != ']' || !address_number(digits, 65535, &port))
			return false;
		text = span_of(text.p + 1, (size_t)(colon - text.p) - 2);
		if (!memchr(text.p, ':', text.len))
			return false;
	} else if (colon && colon == memchr(text.p, ':', text.len)) {
		size_t len = (size_t)(colon - text.p);
		if (!address_number(span_of(colon + 1, text.len - len - 1), 65535, &port))
			return false;
		text.len = len;
	}
	if (port == 0 || !address_parse(text, ret))
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

/* Are all bits from `bits` on zero? */
static bool address_ends(const struct address *a, unsigned bits)
{
	for (unsigned i = bits; i < 8 * address_bytes(a); i++)
		if (a->v6[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

bool address_parse_block(struct span text, struct address_block *ret)
{
	const uint8_t *slash = text.len > 0 ? memchr(text.p, '/', text.len) : NULL;
	size_t len = slash ? (size_t)(slash - text.p) : text.len;
	struct address_block b;

	if (!address_parse(span_of(text.p, len), &b.first))
		return false;
	unsigned max = 8 * (unsigned)address_bytes(&b.first);
	b.bits = max;
	if (slash && !address_number(span_of(slash + 1, text.len - len - 1), max, &b.bits))
		return false;
	if (!address_ends(&b.first, b.bits))
		return false;
	*ret = b;
	return true;
}

void address_print(const struct address *a, char to[ADDRESS_TEXT_BYTES])
{
	if (!inet_ntop(a->family, a->v6, to, ADDRESS_TEXT_BYTES))
		to[0] = 0;
}

bool address_eq(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->v6, b->v6, address_bytes(a)) == 0;
}

bool address_within(const struct address *a, const struct address_block *block)
{
	unsigned whole = block->bits / 8, rest = block->bits % 8;

	if (a->family != block->first.family || memcmp(a->v6, block->first.v6, whole) != 0)
		return false;
	return rest == 0 || (a->v6[whole] ^ block->first.v6[whole]) >> (8 - rest) == 0;
}

bool address_list(const char *list, struct address_block *to, size_t max, size_t *ret_n, struct span *ret_bad)
{
	size_t n = 0;

	while (config_list_next(&list, ret_bad)) {
		if (n == max || !address_parse_block(*ret_bad, &to[n]))
			return false;
		if (to[n].bits < (to[n].first.family == AF_INET ? ADDRESS_BITS_MIN_V4 : ADDRESS_BITS_MIN_V6))
			return false;
		n++;
	}
	*ret_n = n;
	return true;
}
