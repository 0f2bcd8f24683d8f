/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/token.h"

#include <assert.h>
#include <sodium.h>

#include "common/crc32c.h"

#define TOKEN_MARK_BYTES   (sizeof(TOKEN_MARK) - 1)
#define TOKEN_RANDOM_CHARS 40
#define TOKEN_CRC_CHARS    7 /* 35 bits: the checksum, then three zero bits */
#define TOKEN_BODY_BYTES   (TOKEN_MARK_BYTES + TOKEN_RANDOM_CHARS)

_Static_assert(TOKEN_RANDOM_BYTES * 8 == TOKEN_RANDOM_CHARS * 5, "whole characters");
_Static_assert(TOKEN_ID_RANDOM_BYTES * 8 == TOKEN_ID_CHARS * 5, "whole characters");
_Static_assert(TOKEN_BODY_BYTES + TOKEN_CRC_CHARS == TOKEN_BYTES, "length of a key");

static const char token_alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Five bytes become eight characters. */
static void token_base32(const uint8_t *from, size_t len, char *to)
{
	assert(len % 5 == 0);
	for (size_t i = 0; i < len; i += 5) {
		uint64_t bits = (uint64_t)from[i] << 32 | (uint64_t)from[i + 1] << 24 | (uint64_t)from[i + 2] << 16 |
				(uint64_t)from[i + 3] << 8 | from[i + 4];

		for (int shift = 35; shift >= 0; shift -= 5)
			*to++ = token_alphabet[bits >> shift & 31];
	}
}

static void token_checksum(const char *text, char ret_chars[TOKEN_CRC_CHARS])
{
	uint64_t bits = (uint64_t)crc32c(0, text, TOKEN_BODY_BYTES) << 3;

	for (int i = 0; i < TOKEN_CRC_CHARS; i++)
		ret_chars[i] = token_alphabet[bits >> (30 - 5 * i) & 31];
}

void token_format(const uint8_t random[TOKEN_RANDOM_BYTES], char ret_text[TOKEN_BYTES])
{
	memcpy(ret_text, TOKEN_MARK, TOKEN_MARK_BYTES);
	token_base32(random, TOKEN_RANDOM_BYTES, ret_text + TOKEN_MARK_BYTES);
	token_checksum(ret_text, ret_text + TOKEN_BODY_BYTES);
}

bool token_plausible(struct span text)
{
	const char *p = (const char *)text.p;
	char checksum[TOKEN_CRC_CHARS];
	unsigned valid = 1;

	if (text.len != TOKEN_BYTES || !span_eq(span_of(p, TOKEN_MARK_BYTES), SPAN_LIT(TOKEN_MARK)))
		return false;
	for (size_t i = TOKEN_MARK_BYTES; i < TOKEN_BODY_BYTES; i++) /* no branch a byte: nobody guesses which it is */
		valid &= (unsigned)((uint8_t)(p[i] - 'a') < 26) | (unsigned)((uint8_t)(p[i] - '2') < 6);
	token_checksum(p, checksum);
	return valid && sodium_memcmp(checksum, p + TOKEN_BODY_BYTES, TOKEN_CRC_CHARS) == 0;
}

void token_hmac(const uint8_t schedule[HMAC_SCHEDULE_BYTES], struct span text, uint8_t ret_hmac[TOKEN_HMAC_BYTES])
{
	hmac(schedule, &text, 1, ret_hmac);
}

void token_format_id(const char *mark, const uint8_t random[TOKEN_ID_RANDOM_BYTES], char *to, size_t cap)
{
	size_t mark_len = strlen(mark);

	assert(cap > mark_len + TOKEN_ID_CHARS);
	memcpy(to, mark, mark_len);
	token_base32(random, TOKEN_ID_RANDOM_BYTES, to + mark_len);
	to[mark_len + TOKEN_ID_CHARS] = 0;
}
