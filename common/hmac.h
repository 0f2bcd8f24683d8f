/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC-SHA-256 (RFC 2104, FIPS 198-1), by Nettle: it uses the processor's instructions and allocates nothing.
 *
 * A key is prepared once, into a schedule: the hash's state after the key's block, inside and outside. The schedule is
 * as secret as the key and lies where the key would, in an arena.
 */
#pragma once

#include "common/base.h"

#define HMAC_BYTES          32
#define HMAC_SCHEDULE_BYTES 336

/* `key` of any length; a good one has 32 random bytes. */
void hmac_prepare(struct span key, uint8_t ret_schedule[HMAC_SCHEDULE_BYTES]);
/* Over the parts one after the other. `schedule` is readable during the call only; nothing of it is left on the stack.
 */
void hmac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], const struct span *parts, size_t n, uint8_t ret_mac[HMAC_BYTES]);
