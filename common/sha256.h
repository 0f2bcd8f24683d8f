/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), by Nettle: it uses the processor's instructions and allocates nothing. */
#pragma once

#include "common/base.h"

#define SHA256_BYTES 32

/* A message on its way. The library's own state lies within. */
struct sha256 {
	_Alignas(16) uint8_t state[112];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, struct span part);
/* `s` is used up. */
void sha256_end(struct sha256 *s, uint8_t ret[SHA256_BYTES]);

/* Of the parts one after the other; none at all is the empty message. */
static inline void sha256(const struct span *parts, size_t n, uint8_t ret[SHA256_BYTES])
{
	struct sha256 s;

	sha256_begin(&s);
	for (size_t i = 0; i < n; i++)
		sha256_add(&s, parts[i]);
	sha256_end(&s, ret);
}
