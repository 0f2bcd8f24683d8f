/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of the root key: any that suffice give it back, fewer tell nothing, and what is wrong with one is said. */
#include "keyvault/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>
#include <cmocka.h>

#include "keyvault/bech32.h"

static struct secret_arena *arena;

static int setup(void **state)
{
	(void)state;
	return secret_arena_new(65536, &arena);
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(secret_arena_used(arena), 0);
	arena = secret_arena_free(arena);
	return 0;
}

/* ---- the field and the polynomials ---- */

/* Against the definition: multiplication by long division of polynomials, one case of FIPS 197 by hand. */
static void shares_are_values_of_the_polynomial(void **state)
{
	uint8_t secret = 0x57, coefficients[2] = {0x83, 0x13}, share;

	(void)state;
	shamir_share(&secret, 1, coefficients, 2, 1, &share);
	assert_int_equal(share, 0x57 ^ 0x83);
	shamir_share(&secret, 1, coefficients, 2, 0x57, &share);
	assert_int_equal(share, 0x57 ^ 0xc1); /* FIPS 197, 4.2: 57 * 83 = c1 */
	shamir_share(&secret, 1, coefficients, 3, 2, &share);
	assert_int_equal(share, 0x57 ^ 0x1d ^ 0x4c); /* 2 * 83 = 1d; 4 * 13 = 4c */
}

static void combine(const uint8_t *values, const uint8_t *xs, size_t n, uint8_t *ret)
{
	const uint8_t *shares[16];

	for (size_t i = 0; i < n; i++)
		shares[i] = values + i;
	shamir_combine(shares, xs, n, 1, 0, ret);
}

/* Every secret, every coefficient, every pair of indices out of five: the secret comes back. */
static void any_two_of_five_restore_every_byte(void **state)
{
	(void)state;
	for (unsigned secret = 0; secret < 256; secret++)
		for (unsigned coefficient = 0; coefficient < 256; coefficient++) {
			uint8_t s = (uint8_t)secret, c = (uint8_t)coefficient, all[5], back;

			for (uint8_t x = 1; x <= 5; x++)
				shamir_share(&s, 1, &c, 2, x, &all[x - 1]);
			for (uint8_t i = 0; i < 5; i++)
				for (uint8_t j = 0; j < i; j++) {
					combine((uint8_t[]){all[i], all[j]}, (uint8_t[]){i + 1, j + 1}, 2, &back);
					assert_int_equal(back, s);
				}
		}
}

/*
 * One share of a threshold of two: over all coefficients, each value of the share occurs exactly once for each secret.
 * So a share is as likely under one secret as under any other: it tells nothing.
 */
static void one_share_of_two_tells_nothing(void **state)
{
	static const uint8_t xs[] = {1, 2, 5, 16, 255};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(xs); i++)
		for (unsigned secret = 0; secret < 256; secret++) {
			unsigned seen[256] = {0};

			for (unsigned coefficient = 0; coefficient < 256; coefficient++) {
				uint8_t s = (uint8_t)secret, c = (uint8_t)coefficient, share;

				shamir_share(&s, 1, &c, 2, xs[i], &share);
				seen[share]++;
			}
			for (unsigned value = 0; value < 256; value++)
				assert_int_equal(seen[value], 1);
		}
}

/* Two shares of a threshold of three, the same: over all 65536 pairs of coefficients each pair of values occurs once.
 */
static void two_shares_of_three_tell_nothing(void **state)
{
	static const uint8_t secrets[] = {0, 1, 0x53, 0xff};
	uint8_t *seen = malloc(65536);

	(void)state;
	assert_non_null(seen);
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		memset(seen, 0, 65536);
		for (unsigned both = 0; both < 65536; both++) {
			uint8_t c[2] = {(uint8_t)(both >> 8), (uint8_t)both}, a, b;

			shamir_share(&secrets[i], 1, c, 3, 2, &a);
			shamir_share(&secrets[i], 1, c, 3, 3, &b);
			seen[a << 8 | b]++;
		}
		for (unsigned pair = 0; pair < 65536; pair++)
			assert_int_equal(seen[pair], 1);
	}
	free(seen);
}

/* ---- texts ---- */

struct set {
	struct secret root;
	unsigned n, threshold;
	char texts[SHAMIR_SHARES_MAX][SHARE_TEXT_BYTES];
};

static void make_set(struct set *s, unsigned n, unsigned threshold)
{
	struct secret texts = SECRET_NULL;

	*s = (struct set){.n = n, .threshold = threshold};
	assert_int_equal(root_generate(arena, &s->root), 0);
	assert_int_equal(share_split(arena, &s->root, n, threshold, &texts), 0);
	assert_int_equal(texts.len, n * SHARE_TEXT_BYTES);
	secret_open(arena);
	memcpy(s->texts, texts.p, texts.len);
	secret_close(arena);
	secret_free(arena, &texts);
}

/* The shares whose bits are set. */
static int join(const struct set *s, unsigned which, size_t *ret_which)
{
	struct span texts[SHAMIR_SHARES_MAX];
	struct secret root = SECRET_NULL;
	size_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (which >> i & 1)
			texts[n++] = span_of(s->texts[i], SHARE_TEXT_BYTES);
	int r = share_join(arena, texts, n, &root, ret_which);
	if (!r) {
		secret_open(arena);
		assert_memory_equal(root.p, s->root.p, ROOT_KEY_BYTES);
		secret_close(arena);
	} else {
		assert_null(root.p);
	}
	secret_free(arena, &root);
	return r;
}

/* Every threshold of every number up to six, every subset; then the largest. */
static void any_that_suffice_restore(void **state)
{
	size_t which;
	struct set s;

	(void)state;
	for (unsigned n = 2; n <= 6; n++)
		for (unsigned threshold = 2; threshold <= n; threshold++) {
			make_set(&s, n, threshold);
			for (unsigned subset = 0; subset < 1U << n; subset++)
				assert_int_equal(join(&s, subset, &which),
						 (unsigned)__builtin_popcount(subset) >= threshold ? 0 : SHARE_E_FEW);
			secret_free(arena, &s.root);
		}
	make_set(&s, 16, 16);
	assert_int_equal(join(&s, 0xffff, &which), 0);
	assert_int_equal(join(&s, 0xfffe, &which), SHARE_E_FEW);
	secret_free(arena, &s.root);
	make_set(&s, 16, 9);
	assert_int_equal(join(&s, 0x5555 | 0x0800, &which), 0);
	secret_free(arena, &s.root);
}

static void numbers_are_checked(void **state)
{
	static const unsigned bad[][2] = {{0, 0}, {1, 1}, {3, 1}, {3, 0}, {2, 3}, {17, 3}, {17, 17}};
	struct secret root = SECRET_NULL, texts = SECRET_NULL;

	(void)state;
	assert_int_equal(root_generate(arena, &root), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(share_split(arena, &root, bad[i][0], bad[i][1], &texts), SHARE_E_NUMBERS);
	assert_null(texts.p);
	secret_free(arena, &root);
}

static void slips_are_told(void **state)
{
	struct set s, other;
	size_t which;

	(void)state;
	make_set(&s, 5, 3);
	make_set(&other, 5, 3);

	char keep = s.texts[1][40];
	s.texts[1][40] = keep == 'q' ? 'p' : 'q';
	assert_int_equal(join(&s, 7, &which), SHARE_E_FORM);
	assert_int_equal(which, 1);
	s.texts[1][40] = keep;

	char mine[SHARE_TEXT_BYTES];
	memcpy(mine, s.texts[2], sizeof(mine));
	memcpy(s.texts[2], other.texts[2], sizeof(mine));
	assert_int_equal(join(&s, 7, &which), SHARE_E_MIXED);
	assert_int_equal(which, 2);
	memcpy(s.texts[2], s.texts[0], sizeof(mine));
	assert_int_equal(join(&s, 7, &which), SHARE_E_TWICE);
	assert_int_equal(which, 2);
	memcpy(s.texts[2], mine, sizeof(mine));
	assert_int_equal(join(&s, 7, &which), 0);
	secret_free(arena, &s.root);
	secret_free(arena, &other.root);
}

/* As a person types them: upper case, in groups, over two lines. */
static void typing_is_free(void **state)
{
	char typed[3][160];
	struct span texts[3];
	struct secret root = SECRET_NULL;
	size_t which, len;
	struct set s;

	(void)state;
	make_set(&s, 3, 3);
	for (unsigned i = 0; i < 3; i++) {
		len = 0;
		for (size_t k = 0; k < SHARE_TEXT_BYTES; k++) {
			char c = s.texts[i][k];

			typed[i][len++] = i == 1 && c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
			if (k % 4 == 3)
				typed[i][len++] = k == 43 ? '\n' : " -"[i % 2];
		}
		texts[i] = span_of(typed[i], len);
	}
	assert_int_equal(share_join(arena, texts, 3, &root, &which), 0);
	secret_free(arena, &root);
	typed[0][0] = 'B'; /* mixed case */
	assert_int_equal(share_join(arena, texts, 3, &root, &which), SHARE_E_FORM);
	texts[0] = SPAN_LIT("");
	assert_int_equal(share_join(arena, texts, 3, &root, &which), SHARE_E_FORM);
	texts[0] = SPAN_LIT("AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0");
	assert_int_equal(share_join(arena, texts, 3, &root, &which), SHARE_E_FORM);
	secret_free(arena, &s.root);
}

/* A share that was altered with a checksum made to fit: found by the hash, and by a share above the threshold. */
static void altered_shares_do_not_fit_together(void **state)
{
	uint8_t bytes[42];
	char text[90];
	size_t which;
	struct set s;

	(void)state;
	make_set(&s, 4, 3);
	assert_true(bech32_decode("bhshare", span_of(s.texts[1], SHARE_TEXT_BYTES), bytes, sizeof(bytes)));
	for (size_t i = 6; i < sizeof(bytes); i++) {
		bytes[i] ^= 0x10;
		assert_int_equal(bech32_encode("bhshare", bytes, sizeof(bytes), text), SHARE_TEXT_BYTES);
		memcpy(s.texts[1], text, SHARE_TEXT_BYTES);
		assert_int_equal(join(&s, 0x7, &which), SHARE_E_WRONG);
		assert_int_equal(join(&s, 0xf, &which), SHARE_E_WRONG);
		assert_int_equal(join(&s, 0xd, &which), 0); /* without it */
		bytes[i] ^= 0x10;
	}
	/* The last one is not needed and does not fit. */
	assert_true(bech32_decode("bhshare", span_of(s.texts[3], SHARE_TEXT_BYTES), bytes, sizeof(bytes)));
	bytes[6] ^= 1;
	(void)bech32_encode("bhshare", bytes, sizeof(bytes), text);
	memcpy(s.texts[3], text, SHARE_TEXT_BYTES);
	assert_true(bech32_decode("bhshare", span_of(s.texts[1], SHARE_TEXT_BYTES), bytes, sizeof(bytes)));
	bytes[41] ^= 0x10; /* put the second right again */
	(void)bech32_encode("bhshare", bytes, sizeof(bytes), text);
	memcpy(s.texts[1], text, SHARE_TEXT_BYTES);
	assert_int_equal(join(&s, 0x7, &which), 0);
	assert_int_equal(join(&s, 0xf, &which), SHARE_E_WRONG);
	secret_free(arena, &s.root);
}

static void a_full_arena_refuses(void **state)
{
	struct secret root = SECRET_NULL, texts = SECRET_NULL, rest[256];
	size_t n = 0;

	(void)state;
	assert_int_equal(root_generate(arena, &root), 0);
	while (n < ARRAY_LEN(rest) && secret_alloc(arena, 512, &rest[n]) == 0)
		n++;
	for (; n > 0; n--) { /* a little more room each time, until it suffices */
		size_t used = secret_arena_used(arena);
		int r = share_split(arena, &root, 16, 3, &texts);

		secret_free(arena, &texts);
		assert_int_equal(secret_arena_used(arena), used);
		if (r == 0)
			break;
		assert_int_equal(r, SHARE_E_FULL);
		secret_free(arena, &rest[n - 1]);
	}
	assert_true(n > 0 && n < 126);
	while (n > 0)
		secret_free(arena, &rest[--n]);
	secret_free(arena, &root);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_values_of_the_polynomial),
		cmocka_unit_test(any_two_of_five_restore_every_byte),
		cmocka_unit_test(one_share_of_two_tells_nothing),
		cmocka_unit_test(two_shares_of_three_tell_nothing),
		TEST(any_that_suffice_restore),
		TEST(numbers_are_checked),
		TEST(slips_are_told),
		TEST(typing_is_free),
		TEST(altered_shares_do_not_fit_together),
		TEST(a_full_arena_refuses),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
