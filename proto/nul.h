/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of messages hold no NUL. Most have a few dozen bytes: sixteen at a time, in place, beats a call of memchr(3).
 */
#pragma once

#include "common/bytes16.h"

/* Has a word a zero byte? (Anderson, Bit Twiddling Hacks) */
static inline bool nul_in_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return (w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080);
}

static inline bool proto_has_nul(struct span s)
{
	if (s.len >= 16) {
		mask16 found = bytes16_load(s.p + s.len - 16) == 0; /* overlaps what comes next */
		for (size_t i = 0; i < s.len - 16; i += 16)
			found |= bytes16_load(s.p + i) == 0;
		return mask16_any(found);
	}
	if (s.len >= 8)
		return nul_in_word(s.p) || nul_in_word(s.p + s.len - 8);
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == 0)
			return true;
	return false;
}
