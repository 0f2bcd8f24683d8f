/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <sodium.h>

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct sha256), "what libsodium keeps");

static crypto_hash_sha256_state *state_of(struct sha256 *s)
{
	return (crypto_hash_sha256_state *)(void *)s->state;
}

void sha256_begin(struct sha256 *s)
{
	crypto_hash_sha256_init(state_of(s));
}

void sha256_add(struct sha256 *s, struct span part)
{
	crypto_hash_sha256_update(state_of(s), part.p, part.len);
}

void sha256_end(struct sha256 *s, uint8_t ret[SHA256_BYTES])
{
	crypto_hash_sha256_final(state_of(s), ret);
}
