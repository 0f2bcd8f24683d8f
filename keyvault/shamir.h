/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shamir's secret sharing over GF(2^8) (x^8 + x^4 + x^3 + x + 1), a polynomial for each byte: any `threshold` shares
 * give the secret back, fewer tell nothing at all, whatever can be computed. Constant time in everything but the
 * indices, which are not secret: products by shifting, no tables. Sans I/O.
 */
#pragma once

#include "common/base.h"

#define SHAMIR_SHARES_MAX 16

/*
 * The polynomials: `coefficients` has (threshold - 1) * len uniformly random bytes, highest power last; the secret is
 * the constant term. Writes the share of index x (1..255, 0 would be the secret) to ret_share, `len` bytes.
 */
void shamir_share(const uint8_t *secret, size_t len, const uint8_t *coefficients, unsigned threshold, uint8_t x,
		  uint8_t *ret_share);

/* The value at `x` (0: the secret) of the polynomials through `n` shares with different indices, `len` bytes each. */
void shamir_combine(const uint8_t *const shares[], const uint8_t xs[], size_t n, size_t len, uint8_t x,
		    uint8_t *ret_bytes);
