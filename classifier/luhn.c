/* SPDX-License-Identifier: Apache-2.0 */
#include "classifier/luhn.h"

bool luhn_ok(struct span digits)
{
	unsigned sum = 0;

	for (size_t i = 0; i < digits.len; i++) {
		unsigned d = digits.p[digits.len - 1 - i] - (unsigned)'0';

		if (i % 2 == 1)
			d = d < 5 ? 2 * d : 2 * d - 9;
		sum += d;
	}
	return digits.len > 0 && sum % 10 == 0;
}
