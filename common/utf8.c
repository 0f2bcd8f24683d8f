/* SPDX-License-Identifier: Apache-2.0 */
#include "common/utf8.h"

static inline bool utf8_is_tail(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

size_t utf8_sequence(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);

	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return left >= 2 && utf8_is_tail(p[1]) ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if (left < 3 || !utf8_is_tail(p[1]) || !utf8_is_tail(p[2]))
			return 0;
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (left < 4 || !utf8_is_tail(p[1]) || !utf8_is_tail(p[2]) || !utf8_is_tail(p[3]))
			return 0;
		return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
	}
	return 0;
}

bool utf8_next(struct span *in, uint32_t *ret_cp)
{
	if (in->p[0] >= 0x80 && utf8_sequence(in->p, in->p + in->len) == 0)
		return false;
	size_t n = utf8_char(in->p, ret_cp);
	*in = span_of(in->p + n, in->len - n);
	return true;
}
