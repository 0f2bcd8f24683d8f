/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bech32 (BIP 173), the notation of age's keys and of our shares: a lower-case prefix, "1", five bits a character, and
 * a checksum that finds any four wrong characters in ninety. Sans I/O; nothing is kept, and the time taken depends on
 * the secret's length and on where it is wrong only: characters are found by arithmetic, not in a table.
 */
#pragma once

#include "common/base.h"

#define BECH32_TEXT_MAX  90
#define BECH32_BYTES_MAX 50

/* All lower case, no NUL. `prefix` is lower case; everything must fit into BECH32_TEXT_MAX. The length. */
size_t bech32_encode(const char *prefix, const uint8_t *bytes, size_t len, char ret_text[BECH32_TEXT_MAX]);
/* False: other prefix, mixed case, bad character, checksum, padding, or not exactly `len` bytes (<= BECH32_BYTES_MAX).
 */
MUST_USE bool bech32_decode(const char *prefix, struct span text, uint8_t *ret_bytes, size_t len);
