/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <nettle/sha2.h>
#include <nettle/version.h>

void sha256(const struct span *parts, size_t n, uint8_t ret[SHA256_BYTES])
{
	struct sha256_ctx state;

	sha256_init(&state);
	for (size_t i = 0; i < n; i++)
		sha256_update(&state, parts[i].len, parts[i].p);
#if NETTLE_VERSION_MAJOR >= 4 /* which no longer asks for the length */
	sha256_digest(&state, ret);
#else
	sha256_digest(&state, SHA256_BYTES, ret);
#endif
}
