/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sixteen bytes at a time, as the compiler's vector extension has them on every target. Comparing them with `<` or `==`
 * gives 0xff for each byte of which it is true and 0 for the others: a mask, of which what is asked here is asked.
 */
#pragma once

#include <endian.h>

#include "common/base.h"

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int8_t mask16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

/* From any address. */
static inline bytes16 bytes16_load(const uint8_t *p)
{
	bytes16 b;

	memcpy(&b, p, sizeof(b));
	return b;
}

static inline bool mask16_any(mask16 m)
{
	words16 w = (words16)m;

	return (w[0] | w[1]) != 0;
}

/* The place of the first byte of which it is true; 16: of none. */
static inline size_t mask16_first(mask16 m)
{
	words16 w = (words16)m;

	if (w[0])
		return (size_t)__builtin_ctzll(le64toh(w[0])) >> 3;
	return w[1] ? 8 + ((size_t)__builtin_ctzll(le64toh(w[1])) >> 3) : 16;
}
