/* SPDX-License-Identifier: Apache-2.0 */
#include "common/utf8.h"

bool utf8_next(struct span *in, uint32_t *ret_cp)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	uint8_t first = in->p[0];
	size_t more = first < 0x80 ? 0 : (first & 0xe0) == 0xc0 ? 1 : (first & 0xf0) == 0xe0 ? 2 : 3;
	uint32_t cp = more == 0 ? first : first & (0x3fU >> more);

	if ((first & 0xc0) == 0x80 || first >= 0xf8 || in->len <= more)
		return false;
	for (size_t i = 1; i <= more; i++) {
		if ((in->p[i] & 0xc0) != 0x80)
			return false;
		cp = cp << 6 | (in->p[i] & 0x3f);
	}
	if (cp < least[more] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return false;
	*in = span_of(in->p + more + 1, in->len - more - 1);
	*ret_cp = cp;
	return true;
}
