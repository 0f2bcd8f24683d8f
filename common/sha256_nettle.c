/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <nettle/sha2.h>

void sha256(const struct span *parts, size_t n, uint8_t ret[SHA256_BYTES])
{
	struct sha256_ctx state;

	sha256_init(&state);
	for (size_t i = 0; i < n; i++)
		sha256_update(&state, parts[i].len, parts[i].p);
	sha256_digest(&state, SHA256_BYTES, ret);
}
