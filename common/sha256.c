/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <nettle/sha2.h>
#include <nettle/version.h>

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct sha256), "what Nettle keeps");

static struct sha256_ctx *state_of(struct sha256 *s)
{
	return (struct sha256_ctx *)(void *)s->state;
}

void sha256_begin(struct sha256 *s)
{
	nettle_sha256_init(state_of(s));
}

void sha256_add(struct sha256 *s, struct span part)
{
	nettle_sha256_update(state_of(s), part.len, part.p);
}

void sha256_end(struct sha256 *s, uint8_t ret[SHA256_BYTES])
{
#if NETTLE_VERSION_MAJOR >= 4 /* which no longer asks for the length */
	nettle_sha256_digest(state_of(s), ret);
#else
	nettle_sha256_digest(state_of(s), SHA256_BYTES, ret);
#endif
}
