/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base64.h"

#include <sodium.h>

bool base64_decode(enum base64_form form, struct span text, uint8_t *to, size_t cap, size_t *ret_len)
{
	static const int variants[] = {
		[BASE64_STANDARD] = sodium_base64_VARIANT_ORIGINAL,
		[BASE64_STANDARD_RAW] = sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
		[BASE64_URL] = sodium_base64_VARIANT_URLSAFE,
	};
	uint8_t all = 0;

	/* Where char is signed libsodium takes some bytes above ASCII for a character: a second spelling. */
	for (size_t i = 0; i < text.len; i++)
		all |= text.p[i];
	return all < 0x80 &&
	       sodium_base642bin(to, cap, (const char *)text.p, text.len, NULL, ret_len, NULL, variants[form]) == 0;
}
