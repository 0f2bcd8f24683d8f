/* SPDX-License-Identifier: Apache-2.0 */
#include "common/grant.h"

#include <assert.h>
#include <sodium.h>

#include "common/err.h"
#include "proto/proto.h"

/* Keeps these MACs apart from anything else that might one day be computed with an edge key. */
static const uint8_t grant_label[] = "bulkhead grant 1";

static void grant_mac(const uint8_t key[GRANT_KEY_BYTES], struct span record, uint8_t ret_mac[GRANT_MAC_BYTES])
{
	crypto_generichash_state state;
	int r = crypto_generichash_init(&state, key, GRANT_KEY_BYTES, GRANT_MAC_BYTES);

	r |= crypto_generichash_update(&state, grant_label, sizeof(grant_label) - 1);
	r |= crypto_generichash_update(&state, record.p, record.len);
	r |= crypto_generichash_final(&state, ret_mac, GRANT_MAC_BYTES);
	assert(r == 0); /* it fails on lengths out of range only, and these are constants */
	sodium_memzero(&state, sizeof(state));
}

int grant_mint(const uint8_t key[GRANT_KEY_BYTES], const struct proto_grant *grant, uint8_t *to, size_t cap,
	       size_t *ret_len)
{
	size_t len;
	int r;

	if (cap < GRANT_MAC_BYTES)
		return GRANT_E_SPACE;
	cap = MIN(cap, (size_t)GRANT_BYTES_MAX);
	r = proto_pack_record(&proto_grant_desc, grant, to + GRANT_MAC_BYTES, cap - GRANT_MAC_BYTES, &len);
	if (r == PROTO_E_SPACE)
		return GRANT_E_SPACE;
	if (r)
		return err_fold(r);
	grant_mac(key, span_of(to + GRANT_MAC_BYTES, len), to);
	*ret_len = GRANT_MAC_BYTES + len;
	return 0;
}

int grant_open(const uint8_t key[GRANT_KEY_BYTES], struct span bytes, struct proto_grant *ret_grant)
{
	uint8_t mac[GRANT_MAC_BYTES];
	struct proto_grant grant;
	struct span record;

	if (bytes.len <= GRANT_MAC_BYTES || bytes.len > GRANT_BYTES_MAX)
		return GRANT_E_FORGED;
	record = span_of(bytes.p + GRANT_MAC_BYTES, bytes.len - GRANT_MAC_BYTES);
	grant_mac(key, record, mac);
	if (sodium_memcmp(mac, bytes.p, GRANT_MAC_BYTES) != 0)
		return GRANT_E_FORGED;
	if (proto_unpack_record(&proto_grant_desc, record, &grant))
		return GRANT_E_MALFORMED;
	*ret_grant = grant;
	return 0;
}
