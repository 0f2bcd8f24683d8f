/* SPDX-License-Identifier: Apache-2.0 */
/* The check digit of payment cards (ISO/IEC 7812-1, annex B), digit by digit. Sans I/O. */
#pragma once

#include "common/base.h"

/* Every other digit counts double, the last one never: which they are depends on how many there will be. So there is a
 * sum for an even number of digits, and one for an odd number. */
struct luhn {
	size_t n;
	unsigned sums[2];
};

#define LUHN_NULL ((struct luhn){0})

static inline void luhn_add(struct luhn *l, unsigned digit)
{
	l->sums[l->n % 2] += digit < 5 ? 2 * digit : 2 * digit - 9;
	l->sums[1 - l->n % 2] += digit;
	l->n++;
}

/* Do the digits so far end with the right one? */
static inline bool luhn_ok(const struct luhn *l)
{
	return l->n > 0 && l->sums[l->n % 2] % 10 == 0;
}
