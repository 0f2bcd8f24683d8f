/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as a grant. Twice: as they are, which must never open (the MAC would have to be guessed); and under a
 * MAC that the harness computes, so that the record's reader is reached. What opens must be what grant_mint() would
 * have written.
 */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/grant.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[GRANT_KEY_BYTES] = "fuzz";

static void mac(const uint8_t *record, size_t len, uint8_t to[GRANT_MAC_BYTES])
{
	crypto_auth_hmacsha256_state s;

	crypto_auth_hmacsha256_init(&s, key, sizeof(key));
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)"bulkhead grant 1", 16);
	crypto_auth_hmacsha256_update(&s, record, len);
	crypto_auth_hmacsha256_final(&s, to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proto_grant g;
	uint8_t again[GRANT_BYTES_MAX], schedule[HMAC_SCHEDULE_BYTES];
	size_t len = 0;

	hmac_prepare(span_of(key, sizeof(key)), schedule);
	assert(grant_open(schedule, span_of(data, size), &g) == GRANT_E_FORGED);
	if (size > GRANT_BYTES_MAX - GRANT_MAC_BYTES)
		return 0;
	/* exactly sized, so that a read past the end is seen */
	uint8_t *bytes = malloc(GRANT_MAC_BYTES + size);
	assert(bytes);
	if (size)
		memcpy(bytes + GRANT_MAC_BYTES, data, size);
	mac(bytes + GRANT_MAC_BYTES, size, bytes);
	if (grant_open(schedule, span_of(bytes, GRANT_MAC_BYTES + size), &g) == 0) {
		assert(grant_mint(schedule, &g, again, sizeof(again), &len) == 0);
		assert(len == GRANT_MAC_BYTES + size && memcmp(again, bytes, len) == 0);
	}
	free(bytes);
	return 0;
}
