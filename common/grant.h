/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grant: authd's permission for one exchange, carried by the router, checked by the egress.
 *
 *   grant = MAC (32 bytes) || packed GRANT record (proto/messages.def)
 *   MAC   = HMAC-SHA-256 over "bulkhead grant 1" and the packed record
 *
 * The key belongs to one start of one egress worker. The core gives it to that egress and to authd and to nobody else,
 * so whoever can make a grant is authd. This file only makes and authenticates the bytes: epoch, lane, expiry, use
 * count and body length are the egress's to check, all of them, after grant_open() said 0.
 */
#pragma once

#include "common/hmac.h"

struct proto_grant;

#define GRANT_MAC_BYTES HMAC_BYTES
#define GRANT_KEY_BYTES 32
/* As in PERMIT and OPEN. */
#define GRANT_BYTES_MAX 4096

enum grant_err {
	GRANT_E_FORGED = 1, /* not made with this key, or changed since */
	GRANT_E_MALFORMED,  /* the MAC is right and the record is not: another build's record; opens nothing */
	GRANT_E_SPACE,      /* does not fit `cap` */
};

/* Writes a grant. `schedule`: hmac_prepare() of the edge key; readable during the call only. 0, GRANT_E_SPACE, or
 * negative when a field of ours is out of bounds. */
MUST_USE int grant_mint(const uint8_t schedule[HMAC_SCHEDULE_BYTES], const struct proto_grant *grant, uint8_t *to,
			size_t cap, size_t *ret_len);
/*
 * The MAC is compared in constant time before a byte of the record is looked at. On success *ret_grant views `bytes`
 * and lives as long. 0, GRANT_E_FORGED or GRANT_E_MALFORMED; *ret_grant is touched on success only.
 */
MUST_USE int grant_open(const uint8_t schedule[HMAC_SCHEDULE_BYTES], struct span bytes, struct proto_grant *ret_grant);
