/* SPDX-License-Identifier: Apache-2.0 */
#include "common/price.h"

#include <assert.h>

#define PRICE_DIGITS 9
#define PRICE_TOKENS UINT64_C(1000000)

int price_parse(struct span text, uint64_t *ret_nano)
{
	uint64_t nano = 0;
	size_t after = 0;
	bool point = false;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.p[i];
		if (c == '.' && !point && i > 0 && i + 1 < text.len) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9' || after == PRICE_DIGITS)
			return PRICE_E_FORM;
		nano = nano * 10 + (uint64_t)(c - '0');
		after += point;
		if (nano > PRICE_NANO_MAX)
			return PRICE_E_FORM;
	}
	for (; text.len > 0 && after < PRICE_DIGITS; after++) {
		nano *= 10;
		if (nano > PRICE_NANO_MAX)
			return PRICE_E_FORM;
	}
	*ret_nano = nano;
	return 0;
}

/* In two parts, so that nothing overflows: 2^32 * 10^9, and 2^32 * 10^6. */
uint64_t price_cost(uint64_t tokens, uint64_t price_nano)
{
	assert(tokens <= UINT32_MAX && price_nano <= PRICE_NANO_MAX);
	return tokens * (price_nano / PRICE_TOKENS) +
	       (tokens * (price_nano % PRICE_TOKENS) + PRICE_TOKENS / 2) / PRICE_TOKENS;
}
