/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <sodium.h>

void sha256(const struct span *parts, size_t n, uint8_t ret[SHA256_BYTES])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < n; i++)
		crypto_hash_sha256_update(&state, parts[i].p, parts[i].len);
	crypto_hash_sha256_final(&state, ret);
}
