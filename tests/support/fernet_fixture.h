/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of Fernet share: an arena, keys, one token opened, and tokens that fernet_encrypt() would not make. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "keyvault/fernet.h"

#define KEY_A "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define KEY_B "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
/* As KEY_B but for its second half, so with B's HMAC and another cipher key. */
#define KEY_B2       "AAECAwQFBgcICQoLDA0OD4CBgoOEhYaHiImKi4yNjo8="
#define HELLO        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
#define HELLO_TIME_S 499162800

extern const uint8_t iv_0[FERNET_IV_BYTES];   /* HELLO's */
extern const uint8_t iv_1[FERNET_IV_BYTES];   /* shares nothing with a key */
extern const uint8_t key_b[FERNET_KEY_BYTES]; /* KEY_B */

struct fixture {
	struct secret_arena *arena;
	struct fernet_keys keys;
	struct secret plain;
	struct fernet_origin origin;
	char stored[FERNET_STORED_CHARS_MAX + 1];
};

/* For cmocka; the second proves that every path freed what it took. */
int fernet_setup(void **state);
int fernet_teardown(void **state);
void use_keys(struct fixture *f, const char *first, const char *second);
/* The plaintext goes to f->plain. */
int decrypt(struct fixture *f, struct span token, uint64_t now_s, uint64_t ttl_s);
int open_any_age(struct fixture *f, const char *token);
void assert_plain(struct fixture *f, struct span want);
/* What follows the mark of f->stored. */
const char *token_of(const struct fixture *f);
/* A token of these parts with a right HMAC. */
struct span make_token_of(uint8_t version, const uint8_t key[FERNET_KEY_BYTES], const uint8_t iv[FERNET_IV_BYTES],
			  struct span box, char *to, size_t cap);
struct span make_token(const uint8_t key[FERNET_KEY_BYTES], const uint8_t iv[FERNET_IV_BYTES], struct span box,
		       char *to, size_t cap);
