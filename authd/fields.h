/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Personal fields of audit records: sealed so that whom they are about can be forgotten. Sans I/O.
 *
 *      AUDIT_FIELDS (the vault's, here while it is open)
 *        wraps    chain key of a subject, of its oldest day         kept in the store; destroyed = forgotten
 *                   next day's chain key = BLAKE2b(chain key, "bulkhead chain")      one way
 *                     seal key of a day  = BLAKE2b(chain key, "bulkhead field")
 *                       seals a field    XChaCha20-Poly1305; additional data: subject and day
 *
 * A subject's key is a chain with a link for each day. What is kept is the oldest link that is still needed: all later
 * ones follow from it, no earlier one does. So one row a subject is enough to read everything back, days are forgotten
 * by moving the row on, and the subject by removing it. Nothing is written when a day begins.
 *
 * A sealed field:  version 1 | day u32 BE | nonce 24 | address 16, encrypted | tag 16
 * An address is always 16 bytes (IPv4 as ::ffff:a.b.c.d), so its length says nothing.
 */
#pragma once

#include "common/secret.h"

#define FIELDS_KEY_BYTES     32
#define FIELDS_WRAPPED_BYTES (24 + FIELDS_KEY_BYTES + 16)
#define FIELDS_SEALED_BYTES  (1 + 4 + 24 + 16 + 16)
#define FIELDS_ADDRESS_BYTES 46    /* as text with NUL: INET6_ADDRSTRLEN */
#define FIELDS_DAY_MAX       65535 /* in 2149 */

enum fields_err {
	FIELDS_E_FORM = 1, /* not a sealed field, or not an address */
	FIELDS_E_TAG,      /* damaged, or of another subject, day or vault */
};

/* Whose key it is: bound to what is wrapped and sealed. */
struct fields_owner {
	struct span tenant, subject;
};

/* All keys are FIELDS_KEY_BYTES in the arena, which is open during the call. */

/* `day`: of the chain key. */
void fields_wrap(const uint8_t *purpose, const struct fields_owner *owner, uint32_t day, const uint8_t *chain,
		 uint8_t ret[FIELDS_WRAPPED_BYTES]);
/* 0, FIELDS_E_FORM or FIELDS_E_TAG. */
MUST_USE int fields_unwrap(const uint8_t *purpose, const struct fields_owner *owner, uint32_t day, struct span wrapped,
			   uint8_t *ret_chain);
/* `chain` becomes that of so many days later. */
void fields_advance(uint8_t *chain, uint32_t days);
void fields_seal_key(const uint8_t *chain, uint8_t *ret_key);

/* `address` as text. 0 or FIELDS_E_FORM. */
MUST_USE int fields_seal(const uint8_t *seal_key, const struct fields_owner *owner, uint32_t day, struct span address,
			 uint8_t ret[FIELDS_SEALED_BYTES]);
/* Under which day's key it is. 0 or FIELDS_E_FORM. */
MUST_USE int fields_day(struct span sealed, uint32_t *ret_day);
/* 0, FIELDS_E_FORM or FIELDS_E_TAG. */
MUST_USE int fields_open(const uint8_t *seal_key, const struct fields_owner *owner, struct span sealed,
			 char ret_address[FIELDS_ADDRESS_BYTES]);
