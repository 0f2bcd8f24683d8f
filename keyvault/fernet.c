/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-128 is Nettle's, since libsodium has none; CBC is spelled out here, because Nettle's decrypts through a buffer on
 * the stack. HMAC-SHA256 is libsodium's, since Nettle leaves the padded key on the stack and libsodium wipes it. What
 * the cipher itself may have spilled is wiped after each use of a key.
 */
#include "keyvault/fernet.h"

#include <assert.h>
#include <nettle/aes.h>
#include <sodium.h>

#include "common/base64.h"

#define FERNET_VERSION     0x80
#define FERNET_MARK_CHARS  (sizeof(FERNET_MARK) - 1)
#define FERNET_BLOCK_BYTES AES_BLOCK_SIZE
#define FERNET_HALF_BYTES  16 /* of a key: MAC, then cipher */
#define FERNET_TIME_AT     1
#define FERNET_IV_AT       9
#define FERNET_BOX_AT      25
#define FERNET_MAC_BYTES   crypto_auth_hmacsha256_BYTES
#define FERNET_BOX_MAX     (FERNET_PLAIN_BYTES_MAX + FERNET_BLOCK_BYTES) /* padding is never nothing */
#define FERNET_RAW_MAX     (FERNET_BOX_AT + FERNET_BOX_MAX + FERNET_MAC_BYTES)
#define FERNET_STACK_BYTES 1024

_Static_assert(FERNET_KEY_BYTES == 2 * FERNET_HALF_BYTES, "halves of a key");
_Static_assert(AES128_KEY_SIZE == FERNET_HALF_BYTES, "what the cipher wants");
_Static_assert(FERNET_STORED_CHARS_MAX == FERNET_MARK_CHARS + (FERNET_RAW_MAX + 2) / 3 * 4, "what the header says");

/* A token, decoded. Nothing of it is secret. */
struct fernet_raw {
	size_t len, box_len;
	uint8_t bytes[FERNET_RAW_MAX];
};

/* All that a key touches while it is in use; lies in the arena. */
struct fernet_work {
	struct aes128_ctx aes;
	crypto_auth_hmacsha256_state mac;
	uint8_t tag[FERNET_MAC_BYTES];
	uint8_t plain[FERNET_BOX_MAX];
};

/* ---- text ---- */

static int fernet_parse(struct span token, struct fernet_raw *ret)
{
	if (token.len > FERNET_MARK_CHARS && span_eq(span_of(token.p, FERNET_MARK_CHARS), SPAN_LIT(FERNET_MARK)))
		token = span_of(token.p + FERNET_MARK_CHARS, token.len - FERNET_MARK_CHARS);
	if (!base64_decode(BASE64_URL, token, ret->bytes, sizeof(ret->bytes), &ret->len) ||
	    ret->len < FERNET_BOX_AT + FERNET_BLOCK_BYTES + FERNET_MAC_BYTES || ret->bytes[0] != FERNET_VERSION)
		return FERNET_E_FORM;
	ret->box_len = ret->len - FERNET_BOX_AT - FERNET_MAC_BYTES;
	return ret->box_len % FERNET_BLOCK_BYTES ? FERNET_E_FORM : 0;
}

static uint64_t fernet_time(const struct fernet_raw *raw)
{
	uint64_t time_s = 0;

	for (size_t i = FERNET_TIME_AT; i < FERNET_IV_AT; i++)
		time_s = time_s << 8 | raw->bytes[i];
	return time_s;
}

static bool fernet_in_time(uint64_t time_s, struct fernet_limit limit)
{
	if (limit.ttl_s == 0)
		return true;
	return time_s > limit.now_s ? time_s - limit.now_s <= FERNET_SKEW_S : limit.now_s - time_s <= limit.ttl_s;
}

/* ---- the work of one key; the arena is open ---- */

static void fernet_mac(struct fernet_work *w, const uint8_t *key, struct span bytes)
{
	(void)crypto_auth_hmacsha256_init(&w->mac, key, FERNET_HALF_BYTES);
	(void)crypto_auth_hmacsha256_update(&w->mac, bytes.p, bytes.len);
	(void)crypto_auth_hmacsha256_final(&w->mac, w->tag);
}

static void fernet_xor(uint8_t *block, const uint8_t *with)
{
	for (size_t i = 0; i < FERNET_BLOCK_BYTES; i++)
		block[i] ^= with[i];
}

/* The IV stands before the box, so every block has its predecessor before it. */
static void fernet_cbc_open(struct fernet_work *w, const uint8_t *key, const uint8_t *box, size_t len)
{
	aes128_set_decrypt_key(&w->aes, key);
	aes128_decrypt(&w->aes, len, w->plain, box);
	for (size_t i = 0; i < len; i += FERNET_BLOCK_BYTES)
		fernet_xor(w->plain + i, box + i - FERNET_BLOCK_BYTES);
	sodium_stackzero(FERNET_STACK_BYTES);
}

static void fernet_cbc_seal(struct fernet_work *w, const uint8_t *key, uint8_t *box, size_t len)
{
	aes128_set_encrypt_key(&w->aes, key);
	for (size_t i = 0; i < len; i += FERNET_BLOCK_BYTES) {
		fernet_xor(w->plain + i, box + i - FERNET_BLOCK_BYTES);
		aes128_encrypt(&w->aes, FERNET_BLOCK_BYTES, box + i, w->plain + i);
	}
	sodium_stackzero(FERNET_STACK_BYTES);
}

/* How many bytes the padding leaves of `len`; no branch on any of its bytes but the verdict. */
static bool fernet_unpad(const uint8_t *plain, size_t len, size_t *ret_len)
{
	const uint8_t *block = plain + len - FERNET_BLOCK_BYTES;
	unsigned pad = plain[len - 1], bad = (pad == 0) | (pad > FERNET_BLOCK_BYTES);

	for (unsigned i = 0; i < FERNET_BLOCK_BYTES; i++)
		bad |= (i >= FERNET_BLOCK_BYTES - pad) & (block[i] != pad);
	*ret_len = len - (bad ? 0 : pad);
	return !bad;
}

/* Does this key open it? The plaintext is then in w->plain. */
static bool fernet_try(struct fernet_work *w, const uint8_t *key, const struct fernet_raw *raw, size_t *ret_len)
{
	size_t signed_len = raw->len - FERNET_MAC_BYTES;

	fernet_mac(w, key, span_of(raw->bytes, signed_len));
	if (!secret_eq(w->tag, raw->bytes + signed_len, FERNET_MAC_BYTES))
		return false;
	fernet_cbc_open(w, key + FERNET_HALF_BYTES, raw->bytes + FERNET_BOX_AT, raw->box_len);
	return fernet_unpad(w->plain, raw->box_len, ret_len);
}

/* ---- keys ---- */

void fernet_keys_init(struct fernet_keys *k, struct secret_arena *arena)
{
	*k = (struct fernet_keys){.arena = arena, .bytes = SECRET_NULL};
}

void fernet_keys_deinit(struct fernet_keys *k)
{
	if (k->arena)
		secret_free(k->arena, &k->bytes);
	*k = FERNET_KEYS_NULL;
}

int fernet_keys_add(struct fernet_keys *k, struct span text)
{
	size_t len;

	assert(k->n < FERNET_KEYS_MAX);
	if (!k->bytes.p && secret_alloc(k->arena, (size_t)FERNET_KEYS_MAX * FERNET_KEY_BYTES, &k->bytes))
		return FERNET_E_FULL;
	secret_open(k->arena);
	bool good = text.len == FERNET_KEY_CHARS &&
		    base64_decode(BASE64_URL, text, k->bytes.p + k->n * FERNET_KEY_BYTES, FERNET_KEY_BYTES, &len) &&
		    len == FERNET_KEY_BYTES;
	secret_close(k->arena);
	if (!good)
		return FERNET_E_FORM;
	k->n++;
	return 0;
}

/* ---- tokens ---- */

/* The plaintext moves into a piece of its own length. */
static int fernet_keep(struct secret_arena *arena, const struct fernet_work *w, size_t len, struct secret *ret)
{
	struct secret plain = SECRET_NULL;

	if (len > 0 && secret_alloc(arena, len, &plain))
		return FERNET_E_FULL;
	if (len > 0)
		memcpy(plain.p, w->plain, len);
	*ret = plain;
	return 0;
}

int fernet_decrypt(const struct fernet_keys *k, struct span token, struct fernet_limit limit, struct secret *ret_plain,
		   struct fernet_origin *ret_origin)
{
	struct fernet_raw raw;
	struct secret work = SECRET_NULL;
	size_t i = 0, len = 0;

	if (fernet_parse(token, &raw))
		return FERNET_E_FORM;
	if (secret_alloc(k->arena, sizeof(struct fernet_work), &work))
		return FERNET_E_FULL;
	struct fernet_work *w = (struct fernet_work *)(void *)work.p;
	secret_open(k->arena);
	while (i < k->n && !fernet_try(w, k->bytes.p + i * FERNET_KEY_BYTES, &raw, &len))
		i++;
	int r = i == k->n ? FERNET_E_KEY : fernet_in_time(fernet_time(&raw), limit) ? 0 : FERNET_E_AGE;
	if (!r)
		r = fernet_keep(k->arena, w, len, ret_plain);
	secret_close(k->arena);
	secret_free(k->arena, &work);
	if (r)
		return r;
	*ret_origin = (struct fernet_origin){.time_s = fernet_time(&raw), .key = i};
	memcpy(ret_origin->iv, raw.bytes + FERNET_IV_AT, FERNET_IV_BYTES);
	return 0;
}

int fernet_encrypt(const struct fernet_keys *k, struct span plain, uint64_t time_s, const uint8_t iv[FERNET_IV_BYTES],
		   char ret_stored[FERNET_STORED_CHARS_MAX + 1])
{
	struct fernet_raw raw = {.bytes = {FERNET_VERSION}};
	struct secret work = SECRET_NULL;

	assert(k->n > 0 && plain.len <= FERNET_PLAIN_BYTES_MAX);
	if (secret_alloc(k->arena, sizeof(struct fernet_work), &work))
		return FERNET_E_FULL;
	struct fernet_work *w = (struct fernet_work *)(void *)work.p;
	uint8_t pad = (uint8_t)(FERNET_BLOCK_BYTES - plain.len % FERNET_BLOCK_BYTES);
	raw.box_len = plain.len + pad;
	raw.len = FERNET_BOX_AT + raw.box_len + FERNET_MAC_BYTES;
	for (size_t i = 0; i < 8; i++)
		raw.bytes[FERNET_TIME_AT + i] = (uint8_t)(time_s >> (56 - 8 * i));
	memcpy(raw.bytes + FERNET_IV_AT, iv, FERNET_IV_BYTES);
	secret_open(k->arena);
	if (plain.len > 0)
		memcpy(w->plain, plain.p, plain.len);
	memset(w->plain + plain.len, pad, pad);
	fernet_cbc_seal(w, k->bytes.p + FERNET_HALF_BYTES, raw.bytes + FERNET_BOX_AT, raw.box_len);
	fernet_mac(w, k->bytes.p, span_of(raw.bytes, raw.len - FERNET_MAC_BYTES));
	memcpy(raw.bytes + raw.len - FERNET_MAC_BYTES, w->tag, FERNET_MAC_BYTES);
	secret_close(k->arena);
	secret_free(k->arena, &work);
	memcpy(ret_stored, FERNET_MARK, FERNET_MARK_CHARS);
	(void)sodium_bin2base64(ret_stored + FERNET_MARK_CHARS, FERNET_STORED_CHARS_MAX + 1 - FERNET_MARK_CHARS,
				raw.bytes, raw.len, sodium_base64_VARIANT_URLSAFE);
	return 0;
}

int fernet_rotate(const struct fernet_keys *k, struct span token, const uint8_t iv[FERNET_IV_BYTES],
		  char ret_stored[FERNET_STORED_CHARS_MAX + 1])
{
	struct secret plain = SECRET_NULL;
	struct fernet_origin origin;
	int r = fernet_decrypt(k, token, (struct fernet_limit){0}, &plain, &origin);

	if (r)
		return r;
	secret_open(k->arena);
	r = fernet_encrypt(k, span_of(plain.p, plain.len), origin.time_s, iv, ret_stored);
	secret_close(k->arena);
	secret_free(k->arena, &plain);
	return r;
}
