/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet tokens (github.com/fernet/spec), the form in which other gateways keep provider keys. Sans I/O. Only for data
 * that comes from there or goes there: what we seal ourselves is seal.h's.
 *
 *      0x80 | time u64 BE, seconds | IV 16 | AES-128-CBC, PKCS #7 | HMAC-SHA256 of all that, 32      in base64url
 *      key: 16 bytes for the HMAC, 16 for AES                                                        in base64url
 *
 * The stored form is `v1:` and the token. Base64url is taken strictly: padded, no stray bits, nothing but the alphabet;
 * so a token has one spelling. Several keys are what is called MultiFernet: the first encrypts, each is tried in turn
 * to decrypt.
 *
 * The HMAC is compared in constant time before anything is decrypted. A wrong key, a changed token and bad padding
 * behind a right HMAC are one answer, so that nobody learns from it which it was. Keys, key schedules, MAC states and
 * plaintext lie in the secret arena alone; the token itself is ciphertext and may lie anywhere.
 */
#pragma once

#include "common/secret.h"

#define FERNET_MARK             "v1:"
#define FERNET_KEYS_MAX         8
#define FERNET_KEY_BYTES        32
#define FERNET_KEY_CHARS        44
#define FERNET_IV_BYTES         16
#define FERNET_PLAIN_BYTES_MAX  4096
#define FERNET_STORED_CHARS_MAX 5563 /* mark and base64url of 4169 bytes */
#define FERNET_SKEW_S           60   /* how far ahead of ours the clock of a token's maker may be */

enum fernet_err {
	FERNET_E_FORM = 1, /* not a token, or not a key */
	FERNET_E_KEY,      /* no key opens it */
	FERNET_E_AGE,      /* too old, or from the future */
	FERNET_E_FULL,     /* the arena has no room */
};

/* Keys in the order in which they are tried; their bytes lie in one piece of the arena. */
struct fernet_keys {
	struct secret_arena *arena;
	struct secret bytes;
	size_t n;
};

#define FERNET_KEYS_NULL ((struct fernet_keys){.arena = NULL})

/* What a token says of itself beside its plaintext, and which key opened it. */
struct fernet_origin {
	uint64_t time_s;
	uint8_t iv[FERNET_IV_BYTES];
	size_t key;
};

/* How old a token may be. ttl_s 0: any age, and `now_s` does not matter. */
struct fernet_limit {
	uint64_t now_s, ttl_s;
};

void fernet_keys_init(struct fernet_keys *k, struct secret_arena *arena);
/* Wipes. Idempotent. */
void fernet_keys_deinit(struct fernet_keys *k);
/* `text` may lie in the arena, which is open then. At most FERNET_KEYS_MAX times. 0, FERNET_E_FORM or FERNET_E_FULL. */
MUST_USE int fernet_keys_add(struct fernet_keys *k, struct span text);

/* The plaintext of a token, with or without mark, in the arena; the caller frees it. It may be empty, then it has no
 * piece of the arena. 0, FERNET_E_FORM, FERNET_E_KEY, FERNET_E_AGE or FERNET_E_FULL. */
MUST_USE int fernet_decrypt(const struct fernet_keys *k, struct span token, struct fernet_limit limit,
			    struct secret *ret_plain, struct fernet_origin *ret_origin);
/* Under the first key. `plain`, at most FERNET_PLAIN_BYTES_MAX bytes, may lie in the arena, which is open then. An IV
 * is random and used once. The stored form, NUL-terminated. 0 or FERNET_E_FULL. */
MUST_USE int fernet_encrypt(const struct fernet_keys *k, struct span plain, uint64_t time_s,
			    const uint8_t iv[FERNET_IV_BYTES], char ret_stored[FERNET_STORED_CHARS_MAX + 1]);
/* The same plaintext and time under the first key and a new IV. As fernet_decrypt() without limit, then
 * fernet_encrypt(). */
MUST_USE int fernet_rotate(const struct fernet_keys *k, struct span token, const uint8_t iv[FERNET_IV_BYTES],
			   char ret_stored[FERNET_STORED_CHARS_MAX + 1]);
