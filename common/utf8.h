/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 in its shortest form, without surrogates (RFC 3629), and nothing else. */
#pragma once

#include "common/base.h"

/* Length of the sequence of two to four bytes at `p` < `end`; 0: there is none. */
size_t utf8_sequence(const uint8_t *p, const uint8_t *end);
/* The code point at `p`, where one stands; its length. */
static inline size_t utf8_char(const uint8_t *p, uint32_t *ret_cp)
{
	if (p[0] < 0x80) {
		*ret_cp = p[0];
		return 1;
	}
	if (p[0] < 0xe0) {
		*ret_cp = (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU);
		return 2;
	}
	if (p[0] < 0xf0) {
		*ret_cp = (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
		return 3;
	}
	*ret_cp = (p[0] & 0x07U) << 18 | (p[1] & 0x3fU) << 12 | (p[2] & 0x3fU) << 6 | (p[3] & 0x3fU);
	return 4;
}

/* Takes one code point off the front of a text that is not empty; false, and nothing taken, where there is none. */
bool utf8_next(struct span *in, uint32_t *ret_cp);
