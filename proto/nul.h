/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of messages hold no NUL. Most have a few dozen bytes: sixteen at a time, in place, beats a call of memchr(3).
 */
#pragma once

#include "common/base.h"

/* Has a word a zero byte? (Anderson, Bit Twiddling Hacks) */
static inline bool nul_in_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return (w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080);
}

typedef uint8_t nul_bytes __attribute__((vector_size(16)));
typedef uint64_t nul_words __attribute__((vector_size(16)));

/* Each of sixteen bytes that is zero as 0xff, the others as 0. */
static inline nul_words nul_in_bytes(const uint8_t *p)
{
	nul_bytes b;

	memcpy(&b, p, sizeof(b));
	return (nul_words)(b == 0);
}

static inline bool proto_has_nul(struct span s)
{
	if (s.len >= 16) {
		nul_words found = nul_in_bytes(s.p + s.len - 16); /* overlaps what comes next */
		for (size_t i = 0; i < s.len - 16; i += 16)
			found |= nul_in_bytes(s.p + i);
		return found[0] | found[1];
	}
	if (s.len >= 8)
		return nul_in_word(s.p) || nul_in_word(s.p + s.len - 8);
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == 0)
			return true;
	return false;
}
