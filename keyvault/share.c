/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/share.h"

#include <assert.h>
#include <sodium.h>

#include "keyvault/bech32.h"

#define SHARE_PREFIX     "bhshare"
#define SHARE_HASH_BYTES 4
#define SHARE_SET_BYTES  4

enum {
	SHARE_AT_THRESHOLD,
	SHARE_AT_INDEX,
	SHARE_AT_SET,
	SHARE_AT_VALUE = SHARE_AT_SET + SHARE_SET_BYTES,
	SHARE_VALUE_BYTES = ROOT_KEY_BYTES + SHARE_HASH_BYTES,
	SHARE_BYTES = SHARE_AT_VALUE + SHARE_VALUE_BYTES,
};

_Static_assert(sizeof(SHARE_PREFIX) - 1 + 1 + (SHARE_BYTES * 8 + 4) / 5 + 6 == SHARE_TEXT_BYTES, "as the header says");
_Static_assert(SHARE_BYTES <= BECH32_BYTES_MAX && SHARE_TEXT_BYTES <= BECH32_TEXT_MAX, "within the checksum's reach");

/* Everything that is secret, in one piece of the arena. */
struct share_room {
	uint8_t value[SHARE_VALUE_BYTES];
	uint8_t again[SHARE_VALUE_BYTES];
	uint8_t coefficients[(SHAMIR_SHARES_MAX - 1) * SHARE_VALUE_BYTES];
	uint8_t shares[SHAMIR_SHARES_MAX][SHARE_BYTES];
	uint8_t text[SHARE_TEXT_BYTES];
};

static void share_hash(const uint8_t root[ROOT_KEY_BYTES], uint8_t ret_hash[SHARE_HASH_BYTES])
{
	static const char label[] = "bulkhead share 1";
	uint8_t hash[32];

	(void)crypto_generichash(hash, sizeof(hash), (const uint8_t *)label, sizeof(label) - 1, root, ROOT_KEY_BYTES);
	memcpy(ret_hash, hash, SHARE_HASH_BYTES);
	secret_wipe(hash, sizeof(hash));
}

/* The value at x of the polynomials through `n` shares from place `first` on, the row of shares taken as a ring of
 * `of`. */
static void share_value(const struct share_room *room, size_t first, size_t n, size_t of, uint8_t x, uint8_t *ret_value)
{
	const uint8_t *values[SHAMIR_SHARES_MAX];
	uint8_t xs[SHAMIR_SHARES_MAX];

	for (size_t i = 0; i < n; i++) {
		values[i] = room->shares[(first + i) % of] + SHARE_AT_VALUE;
		xs[i] = room->shares[(first + i) % of][SHARE_AT_INDEX];
	}
	shamir_combine(values, xs, n, SHARE_VALUE_BYTES, x, ret_value);
}

/* The arena is open in what follows, down to share_split(). */
static void share_make(struct share_room *room, const uint8_t *root, unsigned n, unsigned threshold)
{
	uint8_t set[SHARE_SET_BYTES];

	randombytes_buf(set, sizeof(set));
	randombytes_buf(room->coefficients, sizeof(room->coefficients));
	memcpy(room->value, root, ROOT_KEY_BYTES);
	share_hash(root, room->value + ROOT_KEY_BYTES);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *share = room->shares[i];

		share[SHARE_AT_THRESHOLD] = (uint8_t)threshold;
		share[SHARE_AT_INDEX] = (uint8_t)(i + 1);
		memcpy(share + SHARE_AT_SET, set, sizeof(set));
		shamir_share(room->value, SHARE_VALUE_BYTES, room->coefficients, threshold, (uint8_t)(i + 1),
			     share + SHARE_AT_VALUE);
	}
}

/* Each share takes part in a restoration from its text before anybody relies on it. */
static bool share_verify(struct share_room *room, const uint8_t *texts, unsigned n, unsigned threshold)
{
	bool good = true;

	for (unsigned i = 0; i < n; i++)
		good &= bech32_decode(SHARE_PREFIX, span_of(texts + i * SHARE_TEXT_BYTES, SHARE_TEXT_BYTES),
				      room->shares[i], SHARE_BYTES);
	for (unsigned i = 0; i < n; i++) {
		share_value(room, i, threshold, n, 0, room->again);
		good &= secret_eq(room->again, room->value, SHARE_VALUE_BYTES);
	}
	return good;
}

int share_split(struct secret_arena *a, const struct secret *root, unsigned n, unsigned threshold,
		struct secret *ret_texts)
{
	struct secret memory = SECRET_NULL, texts = SECRET_NULL;

	assert(root->len == ROOT_KEY_BYTES);
	if (threshold < SHARE_THRESHOLD_MIN || threshold > n || n > SHAMIR_SHARES_MAX)
		return SHARE_E_NUMBERS;
	if (secret_alloc(a, sizeof(struct share_room), &memory) || secret_alloc(a, n * SHARE_TEXT_BYTES, &texts)) {
		secret_free(a, &memory);
		return SHARE_E_FULL;
	}
	secret_open(a);
	struct share_room *room = (struct share_room *)(void *)memory.p;
	share_make(room, root->p, n, threshold);
	for (unsigned i = 0; i < n; i++) {
		char text[BECH32_TEXT_MAX];
		size_t len = bech32_encode(SHARE_PREFIX, room->shares[i], SHARE_BYTES, text);

		assert(len == SHARE_TEXT_BYTES);
		memcpy(texts.p + i * SHARE_TEXT_BYTES, text, len);
		secret_wipe(text, sizeof(text));
	}
	bool good = share_verify(room, texts.p, n, threshold);
	secret_close(a);
	assert(good);
	(void)good;
	secret_free(a, &memory);
	*ret_texts = texts;
	return 0;
}

/* Without what a person puts between the characters. 0 or SHARE_E_FORM. */
static int share_read(struct share_room *room, struct span text, uint8_t ret_share[SHARE_BYTES])
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (memchr(" -\t\r\n", text.p[i], 5))
			continue;
		if (len == SHARE_TEXT_BYTES)
			return SHARE_E_FORM;
		room->text[len++] = text.p[i];
	}
	if (!bech32_decode(SHARE_PREFIX, span_of(room->text, len), ret_share, SHARE_BYTES))
		return SHARE_E_FORM;
	uint8_t threshold = ret_share[SHARE_AT_THRESHOLD], index = ret_share[SHARE_AT_INDEX];
	bool fits = threshold >= SHARE_THRESHOLD_MIN && threshold <= SHAMIR_SHARES_MAX && index >= 1 &&
		    index <= SHAMIR_SHARES_MAX;
	return fits ? 0 : SHARE_E_FORM;
}

/* Does share i belong to those before it? */
static int share_belongs(const struct share_room *room, size_t i)
{
	const uint8_t *share = room->shares[i];

	if (memcmp(share + SHARE_AT_SET, room->shares[0] + SHARE_AT_SET, SHARE_SET_BYTES) != 0 ||
	    share[SHARE_AT_THRESHOLD] != room->shares[0][SHARE_AT_THRESHOLD])
		return SHARE_E_MIXED;
	for (size_t j = 0; j < i; j++)
		if (room->shares[j][SHARE_AT_INDEX] == share[SHARE_AT_INDEX])
			return SHARE_E_TWICE;
	return 0;
}

/* Those above the threshold must lie on the polynomials of the others. */
static int share_solve(struct share_room *room, size_t n)
{
	size_t threshold = room->shares[0][SHARE_AT_THRESHOLD];
	uint8_t hash[SHARE_HASH_BYTES];
	bool good = true;

	if (n < threshold)
		return SHARE_E_FEW;
	for (size_t i = threshold; i < n; i++) {
		share_value(room, 0, threshold, n, room->shares[i][SHARE_AT_INDEX], room->again);
		good &= secret_eq(room->again, room->shares[i] + SHARE_AT_VALUE, SHARE_VALUE_BYTES);
	}
	share_value(room, 0, threshold, n, 0, room->value);
	share_hash(room->value, hash);
	good &= secret_eq(hash, room->value + ROOT_KEY_BYTES, sizeof(hash));
	return good ? 0 : SHARE_E_WRONG;
}

static int share_join_in(struct share_room *room, const struct span texts[], size_t n, size_t *ret_which)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		*ret_which = i;
		r = share_read(room, texts[i], room->shares[i]);
		if (!r)
			r = share_belongs(room, i);
	}
	return r ? r : share_solve(room, n);
}

int share_join(struct secret_arena *a, const struct span texts[], size_t n, struct secret *ret_root, size_t *ret_which)
{
	struct secret memory = SECRET_NULL, root = SECRET_NULL;

	*ret_which = 0;
	if (n == 0)
		return SHARE_E_FEW;
	if (n > SHAMIR_SHARES_MAX)
		return SHARE_E_NUMBERS;
	if (secret_alloc(a, sizeof(struct share_room), &memory) || secret_alloc(a, ROOT_KEY_BYTES, &root)) {
		secret_free(a, &memory);
		return SHARE_E_FULL;
	}
	secret_open(a);
	struct share_room *room = (struct share_room *)(void *)memory.p;
	int r = share_join_in(room, texts, n, ret_which);
	memcpy(root.p, room->value, ROOT_KEY_BYTES);
	secret_close(a);
	secret_free(a, &memory);
	if (r) {
		secret_free(a, &root);
		return r;
	}
	*ret_root = root;
	return 0;
}

const char *share_err_text(int e)
{
	static const char *const texts[] = {
		[SHARE_E_NUMBERS] = "there are 2 to 16 shares, and as many or fewer of them are needed, at least 2",
		[SHARE_E_FULL] = "the secret arena is full",
		[SHARE_E_FORM] = "not a share, or mistyped",
		[SHARE_E_MIXED] = "of another backup than the first share",
		[SHARE_E_TWICE] = "given twice",
		[SHARE_E_FEW] = "too few shares",
		[SHARE_E_WRONG] = "the shares do not fit together: one of them was altered",
	};

	assert(e > 0 && (size_t)e < ARRAY_LEN(texts));
	return texts[e];
}
