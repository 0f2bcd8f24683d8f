/* SPDX-License-Identifier: Apache-2.0 */
#include "common/json_value.h"

#include <assert.h>

#include "common/utf8.h"

int json_hex_digit(uint32_t c)
{
	if (c >= '0' && c <= '9')
		return (int)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (int)(c - 'a') + 10 : -1;
}

/* The unit of a `\uXXXX` at `p`, -1 when there is none. */
static int32_t value_unit(const uint8_t *p, const uint8_t *end)
{
	int32_t unit = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (size_t i = 2; i < 6; i++) {
		int digit = json_hex_digit(p[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* Length of the escape at `p`, 0: not one. A high surrogate must be followed by a low one, which must not stand alone.
 */
size_t json_escape(const uint8_t *p, const uint8_t *end, uint32_t *ret_char)
{
	static const uint8_t simple[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
					    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
	int32_t high, low;

	if (end - p >= 2 && simple[p[1]]) {
		*ret_char = simple[p[1]];
		return 2;
	}
	high = value_unit(p, end);
	if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	if (high < 0xd800 || high > 0xdfff) {
		*ret_char = (uint32_t)high;
		return 6;
	}
	low = value_unit(p + 6, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*ret_char = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

size_t json_char(struct span raw, uint32_t *ret_char)
{
	const uint8_t *p = raw.p;

	if (p[0] == '\\') {
		size_t n = json_escape(p, p + raw.len, ret_char);

		assert(n > 0);
		return n;
	}
	return utf8_char(p, ret_char);
}

size_t json_utf8(uint32_t c, uint8_t to[4])
{
	if (c < 0x80) {
		to[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (uint8_t)(0xc0 | c >> 6);
		to[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (uint8_t)(0xe0 | c >> 12);
		to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		to[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (uint8_t)(0xf0 | c >> 18);
	to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	to[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

int json_text(const struct json_value *value, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct span raw = value->raw;
	size_t len = 0;

	if (value->kind != JSON_KIND_STRING)
		return JSON_VALUE_E_KIND;
	if (!value->escaped) { /* as it stands */
		if (raw.len > cap)
			return JSON_VALUE_E_RANGE;
		if (raw.len > 0)
			memcpy(to, raw.p, raw.len);
		*ret_len = raw.len;
		return 0;
	}
	while (raw.len > 0) {
		uint8_t utf8[4];
		uint32_t c;
		size_t used = json_char(raw, &c), n = json_utf8(c, utf8);

		if (n > cap - len)
			return JSON_VALUE_E_RANGE;
		memcpy(to + len, utf8, n);
		len += n;
		raw = span_of(raw.p + used, raw.len - used);
	}
	*ret_len = len;
	return 0;
}

int json_u64(const struct json_value *value, uint64_t *ret_u64)
{
	uint64_t n = 0;

	if (value->kind != JSON_KIND_NUMBER)
		return JSON_VALUE_E_KIND;
	for (size_t i = 0; i < value->raw.len; i++) {
		if (value->raw.p[i] < '0' || value->raw.p[i] > '9')
			return JSON_VALUE_E_KIND;
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(value->raw.p[i] - '0'), &n))
			return JSON_VALUE_E_RANGE;
	}
	*ret_u64 = n;
	return 0;
}
