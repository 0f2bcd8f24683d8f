/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fernet_fixture.h"

#include <sodium.h>
#include <stdlib.h>

const uint8_t iv_0[FERNET_IV_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
const uint8_t iv_1[FERNET_IV_BYTES] = {200, 9, 31, 87, 4, 99, 6, 181, 8, 17, 10, 250, 12, 13, 77, 15};

const uint8_t key_b[FERNET_KEY_BYTES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
					 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

int fernet_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
	fernet_keys_init(&f->keys, f->arena);
	*state = f;
	return 0;
}

int fernet_teardown(void **state)
{
	struct fixture *f = *state;

	secret_free(f->arena, &f->plain);
	fernet_keys_deinit(&f->keys);
	assert_int_equal(secret_arena_used(f->arena), 0); /* every path frees what it took */
	f->arena = secret_arena_free(f->arena);
	free(f);
	return 0;
}

void use_keys(struct fixture *f, const char *first, const char *second)
{
	fernet_keys_deinit(&f->keys);
	fernet_keys_init(&f->keys, f->arena);
	assert_int_equal(fernet_keys_add(&f->keys, span_str(first)), 0);
	if (second)
		assert_int_equal(fernet_keys_add(&f->keys, span_str(second)), 0);
}

int decrypt(struct fixture *f, struct span token, uint64_t now_s, uint64_t ttl_s)
{
	secret_free(f->arena, &f->plain);
	return fernet_decrypt(&f->keys, token, (struct fernet_limit){now_s, ttl_s}, &f->plain, &f->origin);
}

int open_any_age(struct fixture *f, const char *token)
{
	return decrypt(f, span_str(token), 0, 0);
}

void assert_plain(struct fixture *f, struct span want)
{
	assert_int_equal(f->plain.len, want.len);
	secret_open(f->arena);
	if (want.len)
		assert_memory_equal(f->plain.p, want.p, want.len);
	secret_close(f->arena);
}

/* What follows the mark. */
const char *token_of(const struct fixture *f)
{
	assert_int_equal(strncmp(f->stored, FERNET_MARK, 3), 0);
	return f->stored + 3;
}

/* A token of these parts: of any box at all, which fernet_encrypt() would not make. */
struct span make_token_of(uint8_t version, const uint8_t key[FERNET_KEY_BYTES], const uint8_t iv[FERNET_IV_BYTES],
			  struct span box, char *to, size_t cap)
{
	crypto_auth_hmacsha256_state mac;
	uint8_t raw[8192] = {version};

	memcpy(raw + 9, iv, FERNET_IV_BYTES);
	memcpy(raw + 25, box.p, box.len);
	(void)crypto_auth_hmacsha256_init(&mac, key, 16);
	(void)crypto_auth_hmacsha256_update(&mac, raw, 25 + box.len);
	(void)crypto_auth_hmacsha256_final(&mac, raw + 25 + box.len);
	(void)sodium_bin2base64(to, cap, raw, 25 + box.len + 32, sodium_base64_VARIANT_URLSAFE);
	return span_str(to);
}

struct span make_token(const uint8_t key[FERNET_KEY_BYTES], const uint8_t iv[FERNET_IV_BYTES], struct span box,
		       char *to, size_t cap)
{
	return make_token_of(0x80, key, iv, box, to, cap);
}
