/* SPDX-License-Identifier: Apache-2.0 */
/*
 * age files: round trips, every flipped bit, and the public vectors of C2SP/CCTV (VECTORS_DIR/age), each of which says
 * how it must end. What we leave out on purpose is refused: scrypt, hybrid recipients, content longer than a key.
 */
#include "keyvault/age.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>
#include <cmocka.h>

#include "tests/support/vectors.h"

#define VECTOR_BYTES_MAX (1 << 18)

static const char identity_text[] = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
static const char content[] = "d41d8cd98f00b204e9800998ecf8427e0a315b77632fa0c1153e6d90bb482956\n";

struct fixture {
	struct secret_arena *arena;
	struct secret identity;
	struct age_recipient recipient;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
	assert_int_equal(age_parse_identity(f->arena, span_str(identity_text), &f->identity), 0);
	secret_open(f->arena);
	assert_int_equal(crypto_scalarmult_base(f->recipient.key, f->identity.p), 0);
	secret_close(f->arena);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	secret_free(f->arena, &f->identity);
	assert_int_equal(secret_arena_used(f->arena), 0);
	secret_arena_free(f->arena);
	free(f);
	return 0;
}

static int decrypt(struct fixture *f, struct span file, struct span expected)
{
	struct secret plain = SECRET_NULL;
	int r = age_decrypt(f->arena, &f->identity, file, &plain);

	if (!r) {
		secret_open(f->arena);
		assert_true(span_eq(span_of(plain.p, plain.len), expected));
		secret_close(f->arena);
	} else {
		assert_null(plain.p);
	}
	secret_free(f->arena, &plain);
	return r;
}

static void what_is_encrypted_comes_back(void **state)
{
	struct age_recipient to[AGE_RECIPIENTS_MAX];
	struct fixture *f = *state;
	uint8_t file[AGE_FILE_MAX], long_content[AGE_CONTENT_MAX];
	size_t len;

	for (size_t i = 0; i < AGE_RECIPIENTS_MAX; i++) {
		uint8_t secret[AGE_KEY_BYTES] = {(uint8_t)(i + 1)};

		assert_int_equal(crypto_scalarmult_base(to[i].key, secret), 0);
	}
	assert_int_equal(age_encrypt(f->arena, to, AGE_RECIPIENTS_MAX, span_str(content), file, &len), 0);
	assert_int_equal(decrypt(f, span_of(file, len), span_str(content)), AGE_E_NO_MATCH);
	for (size_t i = 0; i < AGE_RECIPIENTS_MAX; i++) {
		struct age_recipient before = to[i];

		to[i] = f->recipient;
		assert_int_equal(age_encrypt(f->arena, to, i + 1, span_str(content), file, &len), 0);
		assert_int_equal(decrypt(f, span_of(file, len), span_str(content)), 0);
		to[i] = before;
	}
	memset(long_content, 'x', sizeof(long_content));
	for (size_t n = 1; n <= sizeof(long_content); n += 51) {
		assert_int_equal(age_encrypt(f->arena, &f->recipient, 1, span_of(long_content, n), file, &len), 0);
		assert_int_equal(decrypt(f, span_of(file, len), span_of(long_content, n)), 0);
	}
}

/* Of the file inside the armor, every bit; of the armor, every byte. */
static void nothing_can_be_altered(void **state)
{
	struct fixture *f = *state;
	uint8_t file[AGE_FILE_MAX], plain[AGE_FILE_MAX];
	size_t len, plain_len;

	assert_int_equal(age_encrypt(f->arena, &f->recipient, 1, span_str(content), file, &len), 0);
	assert_true(age_unarmor(span_of(file, len), plain, &plain_len));
	for (size_t bit = 0; bit < plain_len * 8; bit++) {
		plain[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_not_equal(decrypt(f, span_of(plain, plain_len), SPAN_NULL), 0);
		plain[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t cut = 0; cut < plain_len; cut++)
		assert_int_not_equal(decrypt(f, span_of(plain, cut), SPAN_NULL), 0);
	plain[plain_len] = 0;
	assert_int_equal(decrypt(f, span_of(plain, plain_len + 1), SPAN_NULL), AGE_E_CONTENT);
	assert_int_equal(decrypt(f, span_of(plain, plain_len), span_str(content)), 0);
	for (size_t at = 0; at + 1 < len; at++) {
		uint8_t before = file[at];

		file[at] = before == 'A' ? 'B' : 'A';
		assert_int_not_equal(decrypt(f, span_of(file, len), SPAN_NULL), 0);
		file[at] = before;
	}
	/* What libsodium's Base64 takes for a character that it is not. */
	for (unsigned byte = 0x80; byte < 0x100; byte++) {
		uint8_t text[4] = {(uint8_t)byte, 'A', 'A', 'A'}, three[3];

		assert_false(age_base64(span_of(text, 4), three, 3));
	}
}

/* The same content twice shares nothing: file key, ephemeral key and nonce are fresh. */
static void no_two_files_are_alike(void **state)
{
	struct fixture *f = *state;
	uint8_t file[2][AGE_FILE_MAX], plain[2][AGE_FILE_MAX];
	size_t len[2], plain_len[2];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(age_encrypt(f->arena, &f->recipient, 1, span_str(content), file[i], &len[i]), 0);
		assert_true(age_unarmor(span_of(file[i], len[i]), plain[i], &plain_len[i]));
	}
	assert_int_equal(plain_len[0], plain_len[1]);
	size_t share = strlen("age-encryption.org/v1\n-> X25519 ");
	assert_memory_not_equal(plain[0] + share, plain[1] + share, 8);
	assert_memory_not_equal(plain[0] + plain_len[0] - 65 - 16 - 16, plain[1] + plain_len[1] - 65 - 16 - 16, 8);
	assert_memory_not_equal(plain[0] + plain_len[0] - 65, plain[1] + plain_len[1] - 65, 8);
}

static void recipients_and_identities(void **state)
{
	static const char *const bad[] = {
		"",
		"age1",
		"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk",                   /* checksum */
		"AGE1ZVKYG2LQZRAA2LNJVQEJ32NKUU0UES2S82HZRYE869XEEXVN73EQUNUJWJ",                   /* upper case */
		"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujw",                    /* short */
		" age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",                  /* space */
		"AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0",       /* a secret */
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5pzb8Y2Mx7Yq6bT7T1hM3Xh2s6cU9n2Tzv7zE1s3Ki", /* not ours */
	};
	/* Points of low order: whatever the ephemeral key, the shared secret is zero, and everybody knows it. */
	static const char *const low[] = {
		"age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
		"age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
		"age1anlllllllllllllllllllllllllllllllllllllllllllllllals4n2t7m",
		"age1ur4h5lpmgxu2u9jku0a0r87ydtdqnr0tnsetrlvxvgz3vh6fhqqqzyt4v9",
	};
	struct fixture *f = *state;
	struct secret identity = SECRET_NULL;
	struct age_recipient to;

	assert_int_equal(
		age_parse_recipient(SPAN_LIT("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"), &to),
		0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(age_parse_recipient(span_str(bad[i]), &to), AGE_E_RECIPIENT);
	for (size_t i = 0; i < ARRAY_LEN(low); i++)
		assert_int_equal(age_parse_recipient(span_str(low[i]), &to), AGE_E_RECIPIENT);
	assert_int_equal(age_parse_identity(f->arena, SPAN_LIT("AGE-SECRET-KEY-1EGTZVFFV2"), &identity),
			 AGE_E_IDENTITY);
	assert_int_equal(age_parse_identity(
				 f->arena,
				 SPAN_LIT("age-secret-key-1egtzvffv20835nwyv6270lxyvk2vknx2mmdkwyklmgr48uawx40q2p2lm0"),
				 &identity),
			 AGE_E_IDENTITY);
}

/* ---- public vectors ---- */

struct vector {
	char expect[32], payload[65], identity[128];
	bool armored, passphrase, compressed;
	size_t identities;
	struct span file;
};

static void parse_line(struct vector *v, const char *key, const char *value)
{
	if (strcmp(key, "expect") == 0)
		(void)snprintf(v->expect, sizeof(v->expect), "%s", value);
	if (strcmp(key, "payload") == 0)
		(void)snprintf(v->payload, sizeof(v->payload), "%s", value);
	if (strcmp(key, "identity") == 0) {
		(void)snprintf(v->identity, sizeof(v->identity), "%s", value);
		v->identities++;
	}
	v->armored |= strcmp(key, "armored") == 0;
	v->passphrase |= strcmp(key, "passphrase") == 0;
	v->compressed |= strcmp(key, "compressed") == 0;
}

static void parse_vector(uint8_t *bytes, size_t len, struct vector *ret)
{
	size_t at = 0;

	*ret = (struct vector){0};
	while (at < len && bytes[at] != '\n') {
		uint8_t *end = memchr(bytes + at, '\n', len - at);
		assert_non_null(end);
		*end = 0;
		char *key = (char *)bytes + at, *colon = strstr(key, ": ");
		assert_non_null(colon);
		*colon = 0;
		parse_line(ret, key, colon + 2);
		at = (size_t)(end - bytes) + 1;
	}
	ret->file = span_of(bytes + at + 1, len - at - 1);
}

/* Ours to read: X25519 alone, and short. */
static bool is_within_scope(const struct vector *v)
{
	return v->identities == 1 && !v->passphrase && !v->compressed &&
	       strncmp(v->identity, "AGE-SECRET-KEY-1", 16) == 0 && v->file.len <= AGE_FILE_MAX;
}

static void check_vector(struct fixture *f, const char *name, const struct vector *v)
{
	struct secret identity = SECRET_NULL, plain = SECRET_NULL;
	uint8_t hash[32];
	char hex[65];

	assert_int_equal(age_parse_identity(f->arena, span_str(v->identity), &identity), 0);
	int r = age_is_armored(v->file) == v->armored ? age_decrypt(f->arena, &identity, v->file, &plain) : AGE_E_FORM;
	secret_free(f->arena, &identity);
	if (strcmp(v->expect, "success") == 0) {
		if (r)
			fail_msg("%s: %s", name, age_err_text(r));
		secret_open(f->arena);
		(void)crypto_hash_sha256(hash, plain.p, plain.len);
		secret_close(f->arena);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)), v->payload);
	} else if (r == 0) {
		fail_msg("%s: accepted, must be %s", name, v->expect);
	}
	if (strcmp(v->expect, "no match") == 0 && r != AGE_E_NO_MATCH)
		fail_msg("%s: %s", name, age_err_text(r));
	if (strcmp(v->expect, "HMAC failure") == 0 && r != AGE_E_MAC)
		fail_msg("%s: %s", name, age_err_text(r));
	if (strcmp(v->expect, "payload failure") == 0 && r != AGE_E_CONTENT)
		fail_msg("%s: %s", name, age_err_text(r));
	if (strcmp(v->expect, "header failure") == 0 && r != AGE_E_FORM)
		fail_msg("%s: %s", name, age_err_text(r));
	secret_free(f->arena, &plain);
}

/* Success with an empty or a long content is the format's, not ours. */
static bool is_left_out(const char *name)
{
	static const char *const out[] = {"stream_empty_payload", "hybrid_and_x25519"};

	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		if (strcmp(name, out[i]) == 0)
			return true;
	return false;
}

static void public_vectors(void **state)
{
	size_t tried = 0, good = 0;
	char path[VECTORS_PATH_BYTES];

	vectors_path("age/", path);
	uint8_t *bytes = malloc(VECTOR_BYTES_MAX);
	DIR *all = opendir(path);
	assert_non_null(all);
	for (struct dirent *e = readdir(all); e; e = readdir(all)) {
		char file[8192];
		struct vector v;

		(void)snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		FILE *in = e->d_type == DT_REG ? fopen(file, "rb") : NULL;
		if (!in)
			continue;
		size_t len = fread(bytes, 1, VECTOR_BYTES_MAX, in);
		(void)fclose(in);
		if (len < 7 || memcmp(bytes, "expect:", 7) != 0)
			continue;
		parse_vector(bytes, len, &v);
		if (!is_within_scope(&v) || is_left_out(e->d_name))
			continue;
		check_vector(*state, e->d_name, &v);
		tried++;
		good += strcmp(v.expect, "success") == 0;
	}
	(void)closedir(all);
	free(bytes);
	print_message("%zu vectors, %zu of them good files\n", tried, good);
	assert_true(tried > 60 && good >= 8);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_encrypted_comes_back),
		TEST(nothing_can_be_altered),
		TEST(no_two_files_are_alike),
		TEST(recipients_and_identities),
		TEST(public_vectors),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("age", tests, NULL, NULL);
}
