/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet beyond the public vectors (fernet_vectors_test.c): every bit, every length, every other spelling, the edges of
 * time, several keys, an arena without room.
 */
#include "tests/support/fernet_fixture.h"

#include <sodium.h>

/* ---- form ---- */

static void every_flipped_bit_is_refused(void **state)
{
	struct fixture *f = *state;
	char token[] = HELLO;

	use_keys(f, KEY_A, KEY_B);
	assert_int_equal(open_any_age(f, token), 0);
	for (size_t bit = 0; bit < 8 * (sizeof(token) - 1); bit++) {
		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
		assert_true(decrypt(f, span_of(token, sizeof(token) - 1), 0, 0) > 0);
		assert_null(f->plain.p);
		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(token) - 1; len++)
		assert_true(decrypt(f, span_of(token, len), 0, 0) > 0);
}

/* Another version, and ciphertext that is not whole blocks, as whoever has the key could make them. */
static void a_right_hmac_is_not_enough(void **state)
{
	struct fixture *f = *state;
	uint8_t box[64];
	char token[256];
	size_t len;

	use_keys(f, KEY_B, NULL);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("plain"), 0, iv_1, f->stored), 0);
	uint8_t raw[128];
	assert_int_equal(sodium_base642bin(raw, sizeof(raw), token_of(f), strlen(token_of(f)), NULL, &len, NULL,
					   sodium_base64_VARIANT_URLSAFE),
			 0);
	memcpy(box, raw + 25, 16);
	memset(box + 16, 16, sizeof(box) - 16);
	for (unsigned version = 0; version < 256; version++)
		assert_int_equal(
			decrypt(f, make_token_of((uint8_t)version, key_b, iv_1, span_of(box, 16), token, sizeof(token)),
				0, 0),
			version == 0x80 ? 0 : FERNET_E_FORM);
	for (len = 0; len < 48; len++)
		if (len % 16 || len == 0)
			assert_int_equal(
				decrypt(f, make_token(key_b, iv_1, span_of(box, len), token, sizeof(token)), 0, 0),
				FERNET_E_FORM);
}

/* Python's decoder, for one, takes most of these for the same token. */
static void a_token_has_one_spelling(void **state)
{
	static const char *const others[] = {
		HELLO "=",
		HELLO "\n",
		" " HELLO,
		"v1:v1:" HELLO,
		"V1:" HELLO,
		"v1: " HELLO,
		"v1:",
		"",
		"====",
		/* without padding, and with half of it */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA",
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=",
		/* a stray bit in the last character */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDB==",
		/* plain base64 */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ/eEwCGM4BLLF/5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
		/* a line break inside */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0O\nDy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA="
		"=",
	};
	struct fixture *f = *state;

	use_keys(f, KEY_A, NULL);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(open_any_age(f, FERNET_MARK HELLO), 0);
	assert_plain(f, SPAN_LIT("hello"));
	assert_int_equal(f->origin.time_s, HELLO_TIME_S);
	assert_memory_equal(f->origin.iv, iv_0, sizeof(iv_0));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(open_any_age(f, others[i]), FERNET_E_FORM);
}

static void a_key_has_one_spelling(void **state)
{
	static const char *const others[] = {
		"",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e5=",
		"cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4Q==",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n",
		/* the top bit set, which libsodium does not see */
		"cw\3370x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
		"730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(fernet_keys_add(&f->keys, span_str(others[i])), FERNET_E_FORM);
	assert_int_equal(f->keys.n, 0);
}

static void every_length_comes_back_and_a_longer_one_is_refused(void **state)
{
	static char token[8192];
	static uint8_t plain[FERNET_PLAIN_BYTES_MAX + 32];
	struct fixture *f = *state;

	use_keys(f, KEY_B, NULL);
	memset(plain, 'x', sizeof(plain));
	for (size_t len = 0; len <= FERNET_PLAIN_BYTES_MAX; len += len < 65 ? 1 : 31) {
		assert_int_equal(fernet_encrypt(&f->keys, span_of(plain, len), len, iv_1, f->stored), 0);
		assert_int_equal(open_any_age(f, f->stored), 0);
		assert_int_equal(f->origin.time_s, len);
		assert_plain(f, span_of(plain, len));
	}
	assert_int_equal(fernet_encrypt(&f->keys, span_of(plain, FERNET_PLAIN_BYTES_MAX), 0, iv_1, f->stored), 0);
	assert_int_equal(strlen(f->stored), FERNET_STORED_CHARS_MAX);
	assert_int_equal(open_any_age(f, f->stored), 0);
	/* One block more: the box may be anything, its length alone is too much. */
	struct span longer = make_token(key_b, iv_1, span_of(plain, FERNET_PLAIN_BYTES_MAX + 32), token, sizeof(token));
	assert_int_equal(decrypt(f, longer, 0, 0), FERNET_E_FORM);
}

/* ---- time ---- */

static void the_edges_of_time(void **state)
{
	static const struct {
		uint64_t now_s, ttl_s;
		int want;
	} rows[] = {
		{HELLO_TIME_S, 1, 0},
		{HELLO_TIME_S + 60, 60, 0},
		{HELLO_TIME_S + 61, 60, FERNET_E_AGE},
		{HELLO_TIME_S - 60, 60, 0},
		{HELLO_TIME_S - 61, 60, FERNET_E_AGE},
		{HELLO_TIME_S - 61, UINT64_MAX, FERNET_E_AGE},
		{UINT64_MAX, UINT64_MAX, 0},
		{UINT64_MAX, UINT64_MAX - HELLO_TIME_S, 0},
		{UINT64_MAX, UINT64_MAX - HELLO_TIME_S - 1, FERNET_E_AGE},
		{0, 1, FERNET_E_AGE},
		{0, 0, 0}, /* any age */
	};
	struct fixture *f = *state;

	use_keys(f, KEY_A, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(decrypt(f, SPAN_LIT(HELLO), rows[i].now_s, rows[i].ttl_s), rows[i].want);
		assert_int_equal(f->plain.p != NULL, rows[i].want == 0);
	}
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_NULL, UINT64_MAX, iv_1, f->stored), 0);
	assert_int_equal(decrypt(f, span_str(f->stored), UINT64_MAX - 61, 60), FERNET_E_AGE);
	assert_int_equal(decrypt(f, span_str(f->stored), UINT64_MAX - 60, 60), 0);
	/* Of a token that is not authentic nobody learns whether it would be in time. */
	use_keys(f, KEY_B, NULL);
	assert_int_equal(decrypt(f, SPAN_LIT(HELLO), HELLO_TIME_S + 61, 60), FERNET_E_KEY);
}

/* ---- several keys ---- */

static void each_key_is_tried_and_the_first_encrypts(void **state)
{
	struct fixture *f = *state;

	use_keys(f, KEY_B, KEY_A);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(f->origin.key, 1);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("new"), 7, iv_1, f->stored), 0);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_int_equal(f->origin.key, 0);
	use_keys(f, KEY_A, NULL);
	assert_int_equal(open_any_age(f, f->stored), FERNET_E_KEY);
	/* A right HMAC with the wrong cipher key is not the end of the search. */
	use_keys(f, KEY_B2, KEY_B);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_int_equal(f->origin.key, 1);
	assert_plain(f, SPAN_LIT("new"));
	use_keys(f, KEY_B2, NULL);
	assert_int_equal(open_any_age(f, f->stored), FERNET_E_KEY);
}

static void eight_keys_and_the_last_one_opens(void **state)
{
	char key[FERNET_KEY_CHARS + 1] = KEY_B;
	struct fixture *f = *state;

	for (unsigned i = 1; i < FERNET_KEYS_MAX; i++) {
		key[10] = (char)('a' + i);
		assert_int_equal(fernet_keys_add(&f->keys, span_str(key)), 0);
	}
	assert_int_equal(open_any_age(f, HELLO), FERNET_E_KEY);
	assert_int_equal(fernet_keys_add(&f->keys, SPAN_LIT(KEY_A)), 0);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(f->origin.key, FERNET_KEYS_MAX - 1);
}

static void rotation_keeps_the_time_and_changes_all_else(void **state)
{
	struct fixture *f = *state;

	use_keys(f, KEY_B, KEY_A);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_1, f->stored), 0);
	use_keys(f, KEY_B, NULL);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_plain(f, SPAN_LIT("hello"));
	assert_int_equal(f->origin.time_s, HELLO_TIME_S);
	assert_memory_equal(f->origin.iv, iv_1, sizeof(iv_1));
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_1, f->stored), FERNET_E_KEY);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT("no token"), iv_1, f->stored), FERNET_E_FORM);
}

static void a_full_arena_refuses(void **state)
{
	struct fixture *f = *state;
	struct secret rest = SECRET_NULL;
	size_t len = 65536;

	use_keys(f, KEY_A, NULL);
	while (secret_alloc(f->arena, len, &rest))
		len -= 16;
	struct fernet_keys more;
	fernet_keys_init(&more, f->arena);
	assert_int_equal(fernet_keys_add(&more, SPAN_LIT(KEY_A)), FERNET_E_FULL);
	assert_int_equal(open_any_age(f, HELLO), FERNET_E_FULL);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("hello"), 0, iv_0, f->stored), FERNET_E_FULL);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_0, f->stored), FERNET_E_FULL);
	secret_free(f->arena, &rest);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fernet_setup, fernet_teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_flipped_bit_is_refused),
		TEST(a_right_hmac_is_not_enough),
		TEST(a_token_has_one_spelling),
		TEST(a_key_has_one_spelling),
		TEST(every_length_comes_back_and_a_longer_one_is_refused),
		TEST(the_edges_of_time),
		TEST(each_key_is_tried_and_the_first_encrypts),
		TEST(eight_keys_and_the_last_one_opens),
		TEST(rotation_keeps_the_time_and_changes_all_else),
		TEST(a_full_arena_refuses),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("fernet", tests, NULL, NULL);
}
