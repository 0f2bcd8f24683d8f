/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of age (age-encryption.org/v1) with a short content, for X25519 recipients: what `age -r` makes and `age -d -i`
 * reads. Sans I/O. Of the format this is
 *
 *      age-encryption.org/v1                                      one stanza for each recipient: the file key under
 *      -> X25519 <ephemeral share>                                  HKDF(X25519(ephemeral, recipient))
 *      <file key, encrypted>
 *      --- <HMAC-SHA256 of everything before, under a key from the file key>
 *      nonce 16 | ChaCha20-Poly1305 of the content                  STREAM: one chunk, the last
 *
 * in ASCII armor or not. Stanzas of other kinds are skipped when reading, as the format wants it; a file with scrypt
 * is refused. Content of more than AGE_CONTENT_MAX, so of more than one chunk, is refused. Everything read is bounded,
 * and nothing of the content is given before its tag and the header's MAC are right.
 */
#pragma once

#include "common/secret.h"

#define AGE_RECIPIENTS_MAX 16
#define AGE_CONTENT_MAX    256
#define AGE_FILE_MAX       8192 /* armored or not */
#define AGE_KEY_BYTES      32

enum age_err {
	AGE_E_RECIPIENT = 1, /* not age1... of X25519, or one that no secret belongs to */
	AGE_E_IDENTITY,      /* not AGE-SECRET-KEY-1... */
	AGE_E_FORM,          /* not an age file, or one that breaks its rules */
	AGE_E_NO_MATCH,      /* for somebody else */
	AGE_E_MAC,           /* the header was altered */
	AGE_E_CONTENT,       /* the content was altered, or is too long */
	AGE_E_FULL,          /* the arena has no room */
};

struct age_recipient {
	uint8_t key[AGE_KEY_BYTES];
};

/* 0 or AGE_E_RECIPIENT. */
MUST_USE int age_parse_recipient(struct span text, struct age_recipient *ret_recipient);
/* `text` may lie in the open arena; the caller frees. 0, AGE_E_IDENTITY or AGE_E_FULL. */
MUST_USE int age_parse_identity(struct secret_arena *a, struct span text, struct secret *ret_identity);

/* `content` may lie in the open arena: 1 to AGE_CONTENT_MAX bytes, for 1 to AGE_RECIPIENTS_MAX. Armored text of
 * *ret_len bytes. 0, AGE_E_RECIPIENT or AGE_E_FULL. */
MUST_USE int age_encrypt(struct secret_arena *a, const struct age_recipient *to, size_t n_to, struct span content,
			 uint8_t ret_file[AGE_FILE_MAX], size_t *ret_len);
/* The content; the caller frees. `file` is ordinary memory. 0 or AGE_E_*. */
MUST_USE int age_decrypt(struct secret_arena *a, const struct secret *identity, struct span file,
			 struct secret *ret_content);
const char *age_err_text(int e);

/* ---- age_armor.c ---- */

/* PEM of `bytes`, at most AGE_FILE_MAX. False: it does not fit. */
MUST_USE bool age_armor(struct span bytes, uint8_t ret_text[AGE_FILE_MAX], size_t *ret_len);
bool age_is_armored(struct span file);
/* Strict: one block, full lines of 64, canonical Base64; white space around it only. False: not so. */
MUST_USE bool age_unarmor(struct span text, uint8_t ret_bytes[AGE_FILE_MAX], size_t *ret_len);
/* Canonical Base64 without padding, exactly `len` bytes. */
MUST_USE bool age_base64(struct span text, uint8_t *ret_bytes, size_t len);
