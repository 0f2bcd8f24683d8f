/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Fernet leaves behind on the stack: each operation runs on a stack of its own, which is then searched for keys,
 * in every form that the ciphers give them, and for plaintext. A scan of a real process does not tell this: what the
 * next call has covered it cannot see.
 */
#include "tests/support/fernet_fixture.h"
#include "tests/support/within.h"

#include <nettle/aes.h>
#include <sodium.h>
#include <stdlib.h>
#include <ucontext.h>

#define STACK_BYTES 262144

/* cmocka and makecontext give a callback no context. */
static struct {
	ucontext_t here, there;
	struct fixture *f;
	struct span token;
	int r;
} own_stack;

static void add_keys_on_own_stack(void)
{
	struct fernet_keys *k = &own_stack.f->keys;

	own_stack.r = fernet_keys_add(k, SPAN_LIT(KEY_B)) || fernet_keys_add(k, SPAN_LIT(KEY_A));
}

static void decrypt_on_own_stack(void)
{
	struct fixture *f = own_stack.f;

	own_stack.r = fernet_decrypt(&f->keys, own_stack.token, (struct fernet_limit){0}, &f->plain, &f->origin);
}

static void encrypt_on_own_stack(void)
{
	struct fixture *f = own_stack.f;

	secret_open(f->arena);
	own_stack.r = fernet_encrypt(&f->keys, span_of(f->plain.p, f->plain.len), 1, iv_1, f->stored);
	secret_close(f->arena);
}

static void rotate_on_own_stack(void)
{
	own_stack.r = fernet_rotate(&own_stack.f->keys, own_stack.token, iv_1, own_stack.f->stored);
}

static void run_on_own_stack(uint8_t *stack, void (*work)(void))
{
	memset(stack, 0xa5, STACK_BYTES);
	assert_int_equal(getcontext(&own_stack.there), 0);
	own_stack.there.uc_stack.ss_sp = stack;
	own_stack.there.uc_stack.ss_size = STACK_BYTES;
	own_stack.there.uc_link = &own_stack.here;
	makecontext(&own_stack.there, work, 0);
	assert_int_equal(swapcontext(&own_stack.here, &own_stack.there), 0);
	assert_int_equal(own_stack.r, 0);
	size_t untouched = 0;
	while (untouched < STACK_BYTES && stack[untouched] == 0xa5)
		untouched++;
	assert_within(untouched, 1024, STACK_BYTES - 64); /* it was used, and did not run over */
}

static void assert_absent(const uint8_t *stack, const void *needle, size_t len, const char *what)
{
	if (memmem(stack, STACK_BYTES, needle, len))
		fail_msg("%s is left on the stack", what);
}

/* Of a key: its halves, the padded blocks that an HMAC begins with, the first, second and last round keys both ways. */
static void assert_key_absent(const uint8_t *stack, const char *text)
{
	uint8_t key[FERNET_KEY_BYTES], pad[16];
	struct aes128_ctx aes;
	size_t len;

	assert_int_equal(sodium_base642bin(key, sizeof(key), text, FERNET_KEY_CHARS, NULL, &len, NULL,
					   sodium_base64_VARIANT_URLSAFE),
			 0);
	for (size_t at = 0; at < sizeof(key); at += 8)
		assert_absent(stack, key + at, 8, "a piece of a key");
	for (unsigned with = 0x36; with <= 0x5c; with += 0x5c - 0x36) {
		for (size_t i = 0; i < sizeof(pad); i++)
			pad[i] = (uint8_t)(key[i] ^ with);
		assert_absent(stack, pad, 8, "a padded HMAC key");
	}
	for (int decrypting = 0; decrypting < 2; decrypting++) {
		if (decrypting)
			aes128_set_decrypt_key(&aes, key + 16);
		else
			aes128_set_encrypt_key(&aes, key + 16);
		for (size_t i = 0; i + 2 <= ARRAY_LEN(aes.keys); i += 2)
			assert_absent(stack, &aes.keys[i], 8, "a round key");
	}
}

/* Each by itself, since the next one would cover its traces. */
static void nothing_stays_on_the_stack(void **state)
{
	static void (*const works[])(void) = {add_keys_on_own_stack, decrypt_on_own_stack, encrypt_on_own_stack,
					      rotate_on_own_stack};
	static const char secret[] = "sk-a-plaintext-of-some-length-0123456789-0123456789";
	struct fixture *f = *state;
	char token[FERNET_STORED_CHARS_MAX + 1];
#ifdef BULKHEAD_INSTRUMENTED /* the sanitizers keep copies, and a stack of their own */
	skip();
#endif
	uint8_t *stack = malloc(STACK_BYTES);

	use_keys(f, KEY_A, NULL);
	assert_int_equal(fernet_encrypt(&f->keys, span_str(secret), 1, iv_1, token), 0);
	fernet_keys_deinit(&f->keys);
	fernet_keys_init(&f->keys, f->arena);
	own_stack.f = f;
	own_stack.token = span_str(token);
	for (size_t w = 0; w < ARRAY_LEN(works); w++) {
		run_on_own_stack(stack, works[w]);
		for (size_t i = 0; i + 8 < sizeof(secret); i++)
			assert_absent(stack, secret + i, 8, "plaintext");
		assert_key_absent(stack, KEY_A);
		assert_key_absent(stack, KEY_B);
		assert_absent(stack, KEY_A, 8, "the text of a key");
	}
	free(stack);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fernet_setup, fernet_teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_stays_on_the_stack),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("fernet_stack", tests, NULL, NULL);
}
