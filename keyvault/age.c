/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/age.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>

#include "keyvault/bech32.h"

#define AGE_VERSION        "age-encryption.org/v1\n"
#define AGE_X25519         "age-encryption.org/v1/X25519"
#define AGE_FILE_KEY_BYTES 16
#define AGE_TAG_BYTES      crypto_aead_chacha20poly1305_ietf_ABYTES
#define AGE_WRAPPED_BYTES  (AGE_FILE_KEY_BYTES + AGE_TAG_BYTES)
#define AGE_MAC_BYTES      32
#define AGE_NONCE_BYTES    16
#define AGE_ARGS_MAX       16 /* of a stanza of another kind */
#define AGE_COLUMNS        64

/* Everything that is secret, in one piece of the arena. */
struct age_room {
	uint8_t file_key[AGE_FILE_KEY_BYTES];
	uint8_t ephemeral[AGE_KEY_BYTES];
	uint8_t shared[AGE_KEY_BYTES];
	uint8_t key[AGE_KEY_BYTES];
	uint8_t prk[AGE_KEY_BYTES];
	uint8_t content[AGE_CONTENT_MAX];
	crypto_auth_hmacsha256_state hmac;
};

/* ---- recipients and identities ---- */

int age_parse_recipient(struct span text, struct age_recipient *ret_recipient)
{
	struct age_recipient r;
	uint8_t one[AGE_KEY_BYTES] = {1}, shared[AGE_KEY_BYTES];

	/* A public key of low order would make the file readable for everybody; scalarmult refuses it. */
	if (text.len == 0 || text.p[0] != 'a' || !bech32_decode("age", text, r.key, sizeof(r.key)) ||
	    crypto_scalarmult(shared, one, r.key))
		return AGE_E_RECIPIENT;
	*ret_recipient = r;
	return 0;
}

int age_parse_identity(struct secret_arena *a, struct span text, struct secret *ret_identity)
{
	struct secret identity = SECRET_NULL;

	if (secret_alloc(a, AGE_KEY_BYTES, &identity))
		return AGE_E_FULL;
	secret_open(a);
	bool good =
		text.len > 0 && text.p[0] == 'A' && bech32_decode("age-secret-key-", text, identity.p, AGE_KEY_BYTES);
	secret_close(a);
	if (!good) {
		secret_free(a, &identity);
		return AGE_E_IDENTITY;
	}
	*ret_identity = identity;
	return 0;
}

/* ---- keys; the arena is open ---- */

static void age_hmac(struct age_room *room, struct span key, struct span text, uint8_t ret_mac[AGE_MAC_BYTES])
{
	(void)crypto_auth_hmacsha256_init(&room->hmac, key.p, key.len);
	(void)crypto_auth_hmacsha256_update(&room->hmac, text.p, text.len);
	(void)crypto_auth_hmacsha256_final(&room->hmac, ret_mac);
}

/* HKDF-SHA256 (RFC 5869), one block. */
static void age_hkdf(struct age_room *room, struct span secret, struct span salt, const char *info)
{
	uint8_t text[64];
	size_t len = strlen(info);

	assert(len < sizeof(text));
	memcpy(text, info, len);
	text[len] = 1;
	age_hmac(room, salt, secret, room->prk);
	age_hmac(room, span_of(room->prk, sizeof(room->prk)), span_of(text, len + 1), room->key);
}

/* What wraps the file key, from the shared secret, into room->key. */
static void age_wrap_key(struct age_room *room, const uint8_t *share, const uint8_t *recipient)
{
	uint8_t salt[2 * AGE_KEY_BYTES];

	memcpy(salt, share, AGE_KEY_BYTES);
	memcpy(salt + AGE_KEY_BYTES, recipient, AGE_KEY_BYTES);
	age_hkdf(room, span_of(room->shared, sizeof(room->shared)), span_of(salt, sizeof(salt)), AGE_X25519);
}

static void age_header_mac(struct age_room *room, struct span header, uint8_t ret_mac[AGE_MAC_BYTES])
{
	age_hkdf(room, span_of(room->file_key, AGE_FILE_KEY_BYTES), SPAN_LIT(""), "header");
	age_hmac(room, span_of(room->key, sizeof(room->key)), header, ret_mac);
}

static const uint8_t age_nonce_wrap[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {0};
/* STREAM: chunk number 0, which is the last. */
static const uint8_t age_nonce_last[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {[11] = 1};

/* ---- writing; the arena is open ---- */

struct age_out {
	uint8_t bytes[AGE_FILE_MAX];
	size_t len;
};

static void age_put(struct age_out *o, const void *bytes, size_t len)
{
	assert(len <= sizeof(o->bytes) - o->len); /* at most AGE_RECIPIENTS_MAX stanzas of 100 bytes */
	memcpy(o->bytes + o->len, bytes, len);
	o->len += len;
}

static void age_put_base64(struct age_out *o, const uint8_t *bytes, size_t len)
{
	char text[AGE_COLUMNS + 1];

	(void)sodium_bin2base64(text, sizeof(text), bytes, len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	age_put(o, text, strlen(text));
	age_put(o, "\n", 1);
}

static int age_put_stanza(struct age_room *room, struct age_out *o, const struct age_recipient *to)
{
	uint8_t share[AGE_KEY_BYTES], wrapped[AGE_WRAPPED_BYTES];

	randombytes_buf(room->ephemeral, sizeof(room->ephemeral));
	if (crypto_scalarmult_base(share, room->ephemeral) || crypto_scalarmult(room->shared, room->ephemeral, to->key))
		return AGE_E_RECIPIENT;
	age_wrap_key(room, share, to->key);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(wrapped, NULL, room->file_key, AGE_FILE_KEY_BYTES, NULL, 0,
							NULL, age_nonce_wrap, room->key);
	age_put(o, "-> X25519 ", 10);
	age_put_base64(o, share, sizeof(share));
	age_put_base64(o, wrapped, sizeof(wrapped));
	return 0;
}

static void age_put_content(struct age_room *room, struct age_out *o, struct span content)
{
	uint8_t nonce[AGE_NONCE_BYTES], box[AGE_CONTENT_MAX + AGE_TAG_BYTES];

	randombytes_buf(nonce, sizeof(nonce));
	age_hkdf(room, span_of(room->file_key, AGE_FILE_KEY_BYTES), span_of(nonce, sizeof(nonce)), "payload");
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(box, NULL, content.p, content.len, NULL, 0, NULL,
							age_nonce_last, room->key);
	age_put(o, nonce, sizeof(nonce));
	age_put(o, box, content.len + AGE_TAG_BYTES);
}

static int age_write(struct age_room *room, const struct age_recipient *to, size_t n_to, struct span content,
		     struct age_out *o)
{
	uint8_t mac[AGE_MAC_BYTES];
	int r = 0;

	randombytes_buf(room->file_key, sizeof(room->file_key));
	age_put(o, AGE_VERSION, sizeof(AGE_VERSION) - 1);
	for (size_t i = 0; !r && i < n_to; i++)
		r = age_put_stanza(room, o, &to[i]);
	if (r)
		return r;
	age_put(o, "---", 3);
	age_header_mac(room, span_of(o->bytes, o->len), mac);
	age_put(o, " ", 1);
	age_put_base64(o, mac, sizeof(mac));
	age_put_content(room, o, content);
	return 0;
}

int age_encrypt(struct secret_arena *a, const struct age_recipient *to, size_t n_to, struct span content,
		uint8_t ret_file[AGE_FILE_MAX], size_t *ret_len)
{
	struct secret memory = SECRET_NULL;
	struct age_out o = {.len = 0};

	assert(n_to >= 1 && n_to <= AGE_RECIPIENTS_MAX && content.len >= 1 && content.len <= AGE_CONTENT_MAX);
	if (secret_alloc(a, sizeof(struct age_room), &memory))
		return AGE_E_FULL;
	secret_open(a);
	int r = age_write((struct age_room *)(void *)memory.p, to, n_to, content, &o);
	secret_close(a);
	secret_free(a, &memory);
	bool fits = r || age_armor(span_of(o.bytes, o.len), ret_file, ret_len);
	assert(fits);
	return r;
}

/* ---- reading ---- */

/* A line without its LF. False: there is none. */
static bool age_line(struct span *rest, struct span *ret_line)
{
	const uint8_t *end = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;

	if (!end)
		return false;
	*ret_line = span_of(rest->p, (size_t)(end - rest->p));
	*rest = span_of(end + 1, rest->len - ret_line->len - 1);
	return true;
}

/* Words of printable characters with one space between them. 0: not so. */
static size_t age_words(struct span line, struct span words[AGE_ARGS_MAX])
{
	size_t n = 0, at = 0;

	while (at <= line.len && n < AGE_ARGS_MAX) {
		size_t from = at;

		while (at < line.len && line.p[at] > 0x20 && line.p[at] < 0x7f)
			at++;
		if (at == from || (at < line.len && line.p[at] != ' '))
			return 0;
		words[n++] = span_of(line.p + from, at - from);
		if (at++ == line.len)
			return n;
	}
	return 0;
}

struct age_stanza {
	struct span words[AGE_ARGS_MAX];
	size_t n_words;
	struct span body; /* if it is one line */
	bool one_line;
};

/* The body is lines of 64 and then a shorter one, which may be empty. */
static bool age_read_stanza(struct span line, struct span *rest, struct age_stanza *ret)
{
	uint8_t bytes[AGE_COLUMNS];

	ret->n_words = age_words(span_of(line.p + 3, line.len - 3), ret->words);
	if (ret->n_words == 0)
		return false;
	for (size_t n = 0;; n++) {
		struct span body;

		if (!age_line(rest, &body) || body.len > AGE_COLUMNS || body.len % 4 == 1 ||
		    !age_base64(body, bytes, body.len / 4 * 3 + (body.len % 4 ? body.len % 4 - 1 : 0)))
			return false;
		ret->body = body;
		ret->one_line = n == 0;
		if (body.len < AGE_COLUMNS)
			return true;
	}
}

/* Is the file key in this stanza for us? 0: in room->file_key; AGE_E_NO_MATCH; AGE_E_FORM. The arena is open. */
static int age_try_stanza(struct age_room *room, const uint8_t *identity, const struct age_stanza *s)
{
	uint8_t share[AGE_KEY_BYTES], wrapped[AGE_WRAPPED_BYTES], public[AGE_KEY_BYTES];

	if (span_eq_str(s->words[0], "scrypt"))
		return AGE_E_FORM; /* it must be alone, and then it is for nobody here */
	if (!span_eq_str(s->words[0], "X25519"))
		return AGE_E_NO_MATCH;
	if (s->n_words != 2 || !age_base64(s->words[1], share, sizeof(share)) || !s->one_line ||
	    !age_base64(s->body, wrapped, sizeof(wrapped)))
		return AGE_E_FORM;
	if (crypto_scalarmult_base(public, identity) || crypto_scalarmult(room->shared, identity, share))
		return AGE_E_FORM; /* of low order */
	age_wrap_key(room, share, public);
	return crypto_aead_chacha20poly1305_ietf_decrypt(room->file_key, NULL, NULL, wrapped, sizeof(wrapped), NULL, 0,
							 age_nonce_wrap, room->key)
		       ? AGE_E_NO_MATCH
		       : 0;
}

/* All stanzas, of which the first that fits counts, and the MAC line. *rest: the payload. */
static int age_read_header(struct age_room *room, const uint8_t *identity, struct span file, struct span *rest)
{
	uint8_t mac[AGE_MAC_BYTES], must[AGE_MAC_BYTES];
	struct age_stanza stanza;
	int found = AGE_E_NO_MATCH;
	struct span line;

	*rest = file;
	if (!age_line(rest, &line) || !span_eq(span_of(line.p, line.len + 1), SPAN_LIT(AGE_VERSION)))
		return AGE_E_FORM;
	while (age_line(rest, &line) && line.len >= 3 && memcmp(line.p, "-> ", 3) == 0) {
		if (!age_read_stanza(line, rest, &stanza))
			return AGE_E_FORM;
		int r = found ? age_try_stanza(room, identity, &stanza) : 0;
		if (r == AGE_E_FORM)
			return r;
		found = r ? found : 0;
	}
	if (line.len < 4 || memcmp(line.p, "--- ", 4) != 0 ||
	    !age_base64(span_of(line.p + 4, line.len - 4), mac, sizeof(mac)))
		return AGE_E_FORM;
	if (found)
		return found;
	age_header_mac(room, span_of(file.p, (size_t)(line.p + 3 - file.p)), must);
	return secret_eq(mac, must, sizeof(mac)) ? 0 : AGE_E_MAC;
}

static int age_read(struct age_room *room, const uint8_t *identity, struct span file, unsigned long long *ret_len)
{
	struct span rest;
	int r = age_read_header(room, identity, file, &rest);

	if (r)
		return r;
	if (rest.len < AGE_NONCE_BYTES)
		return AGE_E_FORM;
	if (rest.len <= AGE_NONCE_BYTES + AGE_TAG_BYTES || rest.len > AGE_NONCE_BYTES + AGE_CONTENT_MAX + AGE_TAG_BYTES)
		return AGE_E_CONTENT;
	age_hkdf(room, span_of(room->file_key, AGE_FILE_KEY_BYTES), span_of(rest.p, AGE_NONCE_BYTES), "payload");
	return crypto_aead_chacha20poly1305_ietf_decrypt(room->content, ret_len, NULL, rest.p + AGE_NONCE_BYTES,
							 rest.len - AGE_NONCE_BYTES, NULL, 0, age_nonce_last, room->key)
		       ? AGE_E_CONTENT
		       : 0;
}

int age_decrypt(struct secret_arena *a, const struct secret *identity, struct span file, struct secret *ret_content)
{
	struct secret memory = SECRET_NULL, content = SECRET_NULL;
	uint8_t plain[AGE_FILE_MAX];
	unsigned long long len = 0;

	if (file.len > AGE_FILE_MAX)
		return AGE_E_FORM;
	if (age_is_armored(file)) {
		size_t n;

		if (!age_unarmor(file, plain, &n))
			return AGE_E_FORM;
		file = span_of(plain, n);
	}
	if (secret_alloc(a, sizeof(struct age_room), &memory))
		return AGE_E_FULL;
	struct age_room *room = (struct age_room *)(void *)memory.p;
	secret_open(a);
	int r = age_read(room, identity->p, file, &len);
	if (!r && secret_alloc(a, len, &content))
		r = AGE_E_FULL;
	if (!r)
		memcpy(content.p, room->content, len);
	secret_close(a);
	secret_free(a, &memory);
	if (!r)
		*ret_content = content;
	return r;
}

const char *age_err_text(int e)
{
	static const char *const texts[] = {
		[AGE_E_RECIPIENT] = "not an age recipient of X25519 (age1 and 58 more characters)",
		[AGE_E_IDENTITY] = "not an age identity of X25519 (AGE-SECRET-KEY-1...)",
		[AGE_E_FORM] = "not an age file for X25519 recipients, or damaged",
		[AGE_E_NO_MATCH] = "the age file is for other recipients than this identity",
		[AGE_E_MAC] = "the header of the age file was altered",
		[AGE_E_CONTENT] = "the content of the age file was altered, or is no root key",
		[AGE_E_FULL] = "the secret arena is full",
	};

	assert(e > 0 && (size_t)e < ARRAY_LEN(texts));
	return texts[e];
}
