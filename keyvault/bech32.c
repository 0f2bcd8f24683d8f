/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/bech32.h"

#include <assert.h>

#include "common/secret.h"

#define BECH32_SUM_CHARS 6

/* "qpzry9x8gf2tvdw0s3jn54khce6mua7l": the place of a character without a secret index, by looking at all of them. */
static const char bech32_chars[33] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static char bech32_char(uint8_t five)
{
	unsigned found = 0;

	for (unsigned i = 0; i < 32; i++)
		found |= (unsigned char)bech32_chars[i] & (0U - (((i ^ five) - 1) >> 31));
	return (char)found;
}

/* 0..31; 32: none of them. */
static uint8_t bech32_value(uint8_t c)
{
	unsigned found = 32;

	for (unsigned i = 0; i < 32; i++)
		found ^= (i ^ 32) & (0U - ((((unsigned char)bech32_chars[i] ^ (unsigned)c) - 1) >> 31));
	return (uint8_t)found;
}

static uint32_t bech32_step(uint32_t sum, uint8_t value)
{
	static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
	uint32_t top = sum >> 25;

	sum = (sum & 0x1ffffff) << 5 ^ value;
	for (unsigned i = 0; i < 5; i++)
		sum ^= generator[i] & (0U - (top >> i & 1));
	return sum;
}

static uint32_t bech32_sum_prefix(const char *prefix)
{
	uint32_t sum = 1;

	for (const char *p = prefix; *p; p++)
		sum = bech32_step(sum, (uint8_t)*p >> 5);
	sum = bech32_step(sum, 0);
	for (const char *p = prefix; *p; p++)
		sum = bech32_step(sum, (uint8_t)*p & 31);
	return sum;
}

size_t bech32_encode(const char *prefix, const uint8_t *bytes, size_t len, char ret_text[BECH32_TEXT_MAX])
{
	size_t at = strlen(prefix), n = (len * 8 + 4) / 5;
	uint32_t sum = bech32_sum_prefix(prefix);

	assert(at + 1 + n + BECH32_SUM_CHARS <= BECH32_TEXT_MAX);
	memcpy(ret_text, prefix, at);
	ret_text[at++] = '1';
	for (size_t i = 0; i < n; i++) {
		size_t bit = i * 5;
		unsigned two = (unsigned)bytes[bit / 8] << 8 | (bit / 8 + 1 < len ? bytes[bit / 8 + 1] : 0);
		uint8_t five = two >> (11 - bit % 8) & 31;

		sum = bech32_step(sum, five);
		ret_text[at++] = bech32_char(five);
	}
	for (unsigned i = 0; i < BECH32_SUM_CHARS; i++)
		sum = bech32_step(sum, 0);
	sum ^= 1;
	for (unsigned i = 0; i < BECH32_SUM_CHARS; i++)
		ret_text[at++] = bech32_char(sum >> (25 - 5 * i) & 31);
	return at;
}

/* To lower case; BIP 173 allows all of either. */
static bool bech32_fold(struct span text, uint8_t ret_text[BECH32_TEXT_MAX])
{
	bool upper = false, lower = false;

	for (size_t i = 0; i < text.len; i++) {
		bool is_upper = text.p[i] >= 'A' && text.p[i] <= 'Z';

		upper |= is_upper;
		lower |= text.p[i] >= 'a' && text.p[i] <= 'z';
		ret_text[i] = is_upper ? (uint8_t)(text.p[i] + ('a' - 'A')) : text.p[i];
	}
	return !(upper && lower);
}

/* `data` has exactly the characters of `len` bytes and the checksum. */
static bool bech32_unpack(uint32_t sum, struct span data, uint8_t *ret_bytes, size_t len)
{
	size_t n = data.len - BECH32_SUM_CHARS, out = 0;
	unsigned bits = 0, n_bits = 0, bad = 0;

	for (size_t i = 0; i < data.len; i++) {
		uint8_t value = bech32_value(data.p[i]);

		bad |= value & 32;
		sum = bech32_step(sum, value & 31);
		if (i >= n)
			continue;
		bits = bits << 5 | (value & 31);
		n_bits += 5;
		if (n_bits >= 8) {
			n_bits -= 8;
			ret_bytes[out++] = (uint8_t)(bits >> n_bits);
			bits &= (1U << n_bits) - 1;
		}
	}
	assert(out == len);
	return !bad && sum == 1 && bits == 0;
}

bool bech32_decode(const char *prefix, struct span text, uint8_t *ret_bytes, size_t len)
{
	size_t prefix_len = strlen(prefix), n = (len * 8 + 4) / 5;
	uint8_t folded[BECH32_TEXT_MAX], bytes[BECH32_BYTES_MAX];

	assert(len <= sizeof(bytes));
	if (text.len != prefix_len + 1 + n + BECH32_SUM_CHARS || text.len > BECH32_TEXT_MAX)
		return false;
	bool good = bech32_fold(text, folded) && memcmp(folded, prefix, prefix_len) == 0 && folded[prefix_len] == '1' &&
		    bech32_unpack(bech32_sum_prefix(prefix),
				  span_of(folded + prefix_len + 1, text.len - prefix_len - 1), bytes, len);
	if (good)
		memcpy(ret_bytes, bytes, len);
	secret_wipe(folded, sizeof(folded));
	secret_wipe(bytes, sizeof(bytes));
	return good;
}
