/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648) of what may be secret or signed: constant time in the content, one spelling for each value. */
#pragma once

#include "common/base.h"

enum base64_form {
	BASE64_STANDARD,     /* section 4, padded */
	BASE64_STANDARD_RAW, /* without padding */
	BASE64_URL,          /* section 5, padded */
};

/* At most `cap` bytes. False: another alphabet, wrong padding, bits left over, or too long. */
MUST_USE bool base64_decode(enum base64_form form, struct span text, uint8_t *to, size_t cap, size_t *ret_len);
