/* SPDX-License-Identifier: Apache-2.0 */
#include "common/hmac.h"

#include <nettle/hmac.h>
#include <nettle/version.h>
#include <sodium.h>
#include <string.h>

/* Deeper than Nettle goes: it leaves the padded key there. */
#define HMAC_STACK_BYTES 1024

_Static_assert(HMAC_SCHEDULE_BYTES >= sizeof(struct hmac_sha256_ctx), "what Nettle keeps");

void hmac_prepare(struct span key, uint8_t ret_schedule[HMAC_SCHEDULE_BYTES])
{
	struct hmac_sha256_ctx state;

	hmac_sha256_set_key(&state, key.len, key.p);
	memcpy(ret_schedule, &state, sizeof(state));
	explicit_bzero(&state, sizeof(state));
	sodium_stackzero(HMAC_STACK_BYTES);
}

static void hmac_digest_of(struct sha256_ctx *state, uint8_t ret[HMAC_BYTES])
{
#if NETTLE_VERSION_MAJOR >= 4 /* which no longer asks for the length */
	sha256_digest(state, ret);
#else
	sha256_digest(state, HMAC_BYTES, ret);
#endif
}

/* As hmac_sha256_digest() does it, which wants a copy of the whole schedule and restores it for the next message. */
void hmac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], const struct span *parts, size_t n, uint8_t ret_mac[HMAC_BYTES])
{
	struct sha256_ctx state;

	memcpy(&state, schedule + offsetof(struct hmac_sha256_ctx, inner), sizeof(state));
	for (size_t i = 0; i < n; i++)
		sha256_update(&state, parts[i].len, parts[i].p);
	hmac_digest_of(&state, ret_mac);
	memcpy(&state, schedule + offsetof(struct hmac_sha256_ctx, outer), sizeof(state));
	sha256_update(&state, HMAC_BYTES, ret_mac);
	hmac_digest_of(&state, ret_mac);
	explicit_bzero(&state, sizeof(state));
}
