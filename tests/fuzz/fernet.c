/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a Fernet token, as a key, and as the inside of a token.
 *
 * Oracles: what decrypts becomes the same text again when it is encrypted with the same IV and time under the key that
 * opened it, so a token has one spelling; nothing decrypts but behind a right HMAC, computed here by other means; what
 * is refused leaves nothing in the arena.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "keyvault/fernet.h"

#define RAW_MAX 8192

static const char *const key_texts[] = {
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
};
static struct secret_arena *arena;
static struct fernet_keys both, single[2];
static uint8_t keys_raw[2][FERNET_KEY_BYTES];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	size_t len;

	(void)argc;
	(void)argv;
	int r = sodium_init() < 0 || secret_arena_new(65536, &arena);
	assert(!r);
	fernet_keys_init(&both, arena);
	for (size_t i = 0; i < 2; i++) {
		fernet_keys_init(&single[i], arena);
		r = fernet_keys_add(&single[i], span_str(key_texts[i])) ||
		    fernet_keys_add(&both, span_str(key_texts[i])) ||
		    sodium_base642bin(keys_raw[i], FERNET_KEY_BYTES, key_texts[i], FERNET_KEY_CHARS, NULL, &len, NULL,
				      sodium_base64_VARIANT_URLSAFE);
		assert(!r);
	}
	return 0;
}

static void mac_of(size_t key, const uint8_t *bytes, size_t len, uint8_t to[32])
{
	crypto_auth_hmacsha256_state mac;

	(void)crypto_auth_hmacsha256_init(&mac, keys_raw[key], 16);
	(void)crypto_auth_hmacsha256_update(&mac, bytes, len);
	(void)crypto_auth_hmacsha256_final(&mac, to);
}

/* True when it opened. */
static bool try_token(struct span token)
{
	static char again[FERNET_STORED_CHARS_MAX + 1];
	uint8_t raw[RAW_MAX], mac[32];
	struct secret plain = SECRET_NULL;
	struct fernet_origin origin;
	size_t used = secret_arena_used(arena), len;

	int r = fernet_decrypt(&both, token, (struct fernet_limit){0}, &plain, &origin);
	assert(r >= 0 && r <= FERNET_E_KEY);
	if (!r) {
		secret_open(arena);
		r = fernet_encrypt(&single[origin.key], span_of(plain.p, plain.len), origin.time_s, origin.iv, again);
		secret_close(arena);
		assert(r == 0);
		bool marked = token.len > 3 && memcmp(token.p, FERNET_MARK, 3) == 0;
		assert(span_eq_str(token, again + (marked ? 0 : 3)));
		r = sodium_base642bin(raw, sizeof(raw), again + 3, strlen(again + 3), NULL, &len, NULL,
				      sodium_base64_VARIANT_URLSAFE);
		assert(r == 0 && len > 32);
		mac_of(origin.key, raw, len - 32, mac);
		assert(memcmp(mac, raw + len - 32, 32) == 0);
		secret_free(arena, &plain);
	} else {
		assert(!plain.p);
		origin.key = 2;
	}
	assert(secret_arena_used(arena) == used);
	return origin.key < 2;
}

/* The input as everything but the HMAC, which is made right by one key or, for one value, left wrong. */
static void try_inside(const uint8_t *data, size_t size)
{
	static char text[RAW_MAX * 2];
	uint8_t raw[RAW_MAX];
	size_t key = data[0] % 3, n = size - 1;

	if (n + 32 > sizeof(raw))
		return;
	memcpy(raw, data + 1, n);
	mac_of(key % 2, raw, n, raw + n);
	raw[n + 31] ^= key == 2;
	(void)sodium_bin2base64(text, sizeof(text), raw, n + 32, sodium_base64_VARIANT_URLSAFE);
	bool opened = try_token(span_str(text));
	assert(!(opened && key == 2));
}

/* A key that is taken is the one spelling of its bytes. */
static void try_key(struct span text)
{
	char again[FERNET_KEY_CHARS + 1];
	struct fernet_keys k;

	fernet_keys_init(&k, arena);
	if (fernet_keys_add(&k, text) == 0) {
		secret_open(arena);
		(void)sodium_bin2base64(again, sizeof(again), k.bytes.p, FERNET_KEY_BYTES,
					sodium_base64_VARIANT_URLSAFE);
		secret_close(arena);
		assert(span_eq_str(text, again));
	}
	fernet_keys_deinit(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)try_token(span_of(data, size));
	try_key(span_of(data, MIN(size, FERNET_KEY_CHARS)));
	if (size > 1)
		try_inside(data, size);
	return 0;
}
