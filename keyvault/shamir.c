/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/shamir.h"

#include <assert.h>

static uint8_t shamir_mul(uint8_t a, uint8_t b)
{
	unsigned product = 0, x = a;

	for (unsigned i = 0; i < 8; i++) {
		product ^= x & (0U - ((unsigned)b >> i & 1U));
		x = (x << 1) ^ (0x11bU & (0U - (x >> 7 & 1U)));
	}
	return (uint8_t)product;
}

/* a^254; 0 has none and gives 0. */
static uint8_t shamir_inverse(uint8_t a)
{
	uint8_t result = 1, power = a;

	for (unsigned i = 1; i < 8; i++) {
		power = shamir_mul(power, power);
		result = shamir_mul(result, power);
	}
	return result;
}

void shamir_share(const uint8_t *secret, size_t len, const uint8_t *coefficients, unsigned threshold, uint8_t x,
		  uint8_t *ret_share)
{
	assert(x != 0 && threshold >= 1);
	for (size_t i = 0; i < len; i++) {
		uint8_t y = 0;

		for (unsigned power = threshold - 1; power > 0; power--)
			y = shamir_mul(y ^ coefficients[(power - 1) * len + i], x);
		ret_share[i] = y ^ secret[i];
	}
}

/* Lagrange. */
void shamir_combine(const uint8_t *const shares[], const uint8_t xs[], size_t n, size_t len, uint8_t x,
		    uint8_t *ret_bytes)
{
	memset(ret_bytes, 0, len);
	for (size_t i = 0; i < n; i++) {
		uint8_t over = 1, under = 1;

		for (size_t j = 0; j < n; j++) {
			if (j == i)
				continue;
			assert(xs[i] != xs[j]);
			over = shamir_mul(over, xs[j] ^ x);
			under = shamir_mul(under, xs[j] ^ xs[i]);
		}
		uint8_t weight = shamir_mul(over, shamir_inverse(under));
		for (size_t k = 0; k < len; k++)
			ret_bytes[k] ^= shamir_mul(shares[i][k], weight);
	}
}
