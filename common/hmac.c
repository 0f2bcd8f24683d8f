/* SPDX-License-Identifier: Apache-2.0 */
#include "common/hmac.h"

#include <nettle/hmac.h>
#include <sodium.h>
#include <string.h>

#include "common/sha256.h"

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

/* As hmac_sha256_digest() does it, which wants a copy of the whole schedule and restores it for the next message. */
void hmac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], const struct span *parts, size_t n, uint8_t ret_mac[HMAC_BYTES])
{
	struct sha256 state;

	memcpy(state.state, schedule + offsetof(struct hmac_sha256_ctx, inner), sizeof(struct sha256_ctx));
	for (size_t i = 0; i < n; i++)
		sha256_add(&state, parts[i]);
	sha256_end(&state, ret_mac);
	memcpy(state.state, schedule + offsetof(struct hmac_sha256_ctx, outer), sizeof(struct sha256_ctx));
	sha256_add(&state, span_of(ret_mac, HMAC_BYTES));
	sha256_end(&state, ret_mac);
	explicit_bzero(&state, sizeof(state));
}
