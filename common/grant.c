/* SPDX-License-Identifier: Apache-2.0 */
#include "common/grant.h"

#include <sodium.h>

#include "common/err.h"
#include "proto/proto.h"

_Static_assert(GRANT_MAC_BYTES == crypto_verify_32_BYTES, "compared whole");

/* The label keeps these MACs apart from anything else that might one day be computed with an edge key. */
static void grant_mac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], struct span record, uint8_t ret_mac[GRANT_MAC_BYTES])
{
	const struct span parts[] = {SPAN_LIT("bulkhead grant 1"), record};

	hmac(schedule, parts, ARRAY_LEN(parts), ret_mac);
}

int grant_mint(const uint8_t schedule[HMAC_SCHEDULE_BYTES], const struct proto_grant *grant, uint8_t *to, size_t cap,
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
	grant_mac(schedule, span_of(to + GRANT_MAC_BYTES, len), to);
	*ret_len = GRANT_MAC_BYTES + len;
	return 0;
}

int grant_open(const uint8_t schedule[HMAC_SCHEDULE_BYTES], struct span bytes, struct proto_grant *ret_grant)
{
	uint8_t mac[GRANT_MAC_BYTES];
	struct proto_grant grant;
	struct span record;

	if (bytes.len <= GRANT_MAC_BYTES || bytes.len > GRANT_BYTES_MAX)
		return GRANT_E_FORGED;
	record = span_of(bytes.p + GRANT_MAC_BYTES, bytes.len - GRANT_MAC_BYTES);
	grant_mac(schedule, record, mac);
	if (crypto_verify_32(mac, bytes.p) != 0)
		return GRANT_E_FORGED;
	if (proto_unpack_record(&proto_grant_desc, record, &grant))
		return GRANT_E_MALFORMED;
	*ret_grant = grant;
	return 0;
}
