/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway keys, as text.
 *
 *   bh_sk_  gfq5...  (40)  ab3x7qe (7)
 *   mark    200 random bits   CRC-32C over everything before it
 *
 * Both parts are base32 (RFC 4648, lower case, no padding), so a key has one spelling, survives any shell or header and
 * can be marked with a double click. The checksum is no protection: it lets a mistyped or invented key be refused
 * without a look-up.
 *
 * What is kept of a key is HMAC-SHA256 under the pepper, a key that only the vault can make: whoever copies the
 * database can neither recognise nor guess a key. The first 15 characters are kept for display; 155 random bits are not
 * in them.
 */
#pragma once

#include "common/hmac.h"

#define TOKEN_MARK         "bh_sk_"
#define TOKEN_RANDOM_BYTES 25
#define TOKEN_BYTES        53
#define TOKEN_PREFIX_BYTES 15
#define TOKEN_HMAC_BYTES   HMAC_BYTES
#define TOKEN_PEPPER_BYTES 32

/* The text of a key made of these random bytes. Not NUL-terminated; the caller wipes both. */
void token_format(const uint8_t random[TOKEN_RANDOM_BYTES], char ret_text[TOKEN_BYTES]);
/* Could this be a key of ours: length, mark, alphabet, checksum? Says nothing about whether it was ever given out. */
bool token_plausible(struct span text);
/* What a key is kept and found by. `text` must be plausible; `schedule`: hmac_prepare() of the pepper, readable during
 * the call only. */
void token_hmac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], struct span text, uint8_t ret_hmac[TOKEN_HMAC_BYTES]);

/* An identifier for people and logs: `mark` and 16 base32 characters made of 10 random bytes, NUL-terminated. */
#define TOKEN_ID_RANDOM_BYTES 10
#define TOKEN_ID_CHARS        16
void token_format_id(const char *mark, const uint8_t random[TOKEN_ID_RANDOM_BYTES], char *to, size_t cap);
