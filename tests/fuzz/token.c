/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as a gateway key. Whatever is plausible must be the one spelling that its random part has. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "authd/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *chars, uint8_t to[TOKEN_RANDOM_BYTES])
{
	uint64_t bits = 0;
	size_t n = 0, out = 0;

	for (size_t i = 0; i < 40; i++) {
		uint8_t c = chars[i];

		bits = bits << 5 | (uint64_t)(c >= 'a' ? c - 'a' : c - '2' + 26);
		for (n += 5; n >= 8; n -= 8)
			to[out++] = (uint8_t)(bits >> (n - 8));
	}
}

/* CRC-32C by its definition, a bit at a time. */
static uint32_t crc(const uint8_t *p, size_t len)
{
	uint32_t c = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0);
	}
	return ~c;
}

/* A right checksum behind any 46 bytes: plausible when these are a key's, and only then. */
static void check_made(const uint8_t *data, size_t size)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t text[TOKEN_BYTES];

	if (size < 46)
		return;
	memcpy(text, data, 46);
	bool good = memcmp(text, TOKEN_MARK, 6) == 0;
	for (size_t i = 6; i < 46; i++)
		good = good && text[i] && strchr(alphabet, text[i]);
	for (int i = 0; i < 7; i++)
		text[46 + i] = (uint8_t)alphabet[(uint64_t)crc(text, 46) << 3 >> (30 - 5 * i) & 31];
	assert(token_plausible(span_of(text, sizeof(text))) == good);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t random[TOKEN_RANDOM_BYTES];
	char text[TOKEN_BYTES];

	if (token_plausible(span_of(data, size))) {
		decode(data + 6, random);
		token_format(random, text);
		assert(size == TOKEN_BYTES && memcmp(text, data, TOKEN_BYTES) == 0);
	}
	check_made(data, size);
	/* A checksum is not guessed by chance: make one, so that the accepting path runs, then break one bit of it. */
	if (size < TOKEN_RANDOM_BYTES + 1)
		return 0;
	token_format(data, text);
	assert(token_plausible(span_of(text, TOKEN_BYTES)));
	text[data[TOKEN_RANDOM_BYTES] % TOKEN_BYTES] ^= (char)(1U << (data[TOKEN_RANDOM_BYTES] >> 6));
	assert(!token_plausible(span_of(text, TOKEN_BYTES)));
	return 0;
}
