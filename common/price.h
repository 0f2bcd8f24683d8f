/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tokens cost, without floating point: a price is text in USD for a million tokens, as providers list it, and is
 * kept in 1e-9 USD for a million; a cost is in 1e-9 USD, rounded to the nearest.
 */
#pragma once

#include "common/base.h"

#define PRICE_NANO_MAX UINT64_C(1000000000000000) /* a million USD for a million tokens */

enum price_err {
	PRICE_E_FORM = 1, /* not digits with at most nine after the point, or above PRICE_NANO_MAX */
};

/* "0.15"; empty: 0, unknown. 0 or PRICE_E_FORM. */
MUST_USE int price_parse(struct span text, uint64_t *ret_nano);
/* `tokens` below 2^32, `price_nano` at most PRICE_NANO_MAX. */
uint64_t price_cost(uint64_t tokens, uint64_t price_nano);
