/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/root.h"

#include <assert.h>
#include <sodium.h>

#include "common/base64.h"
#include "common/bytes.h"

#define ROOT_MAGIC       "BHR1"
#define ROOT_MAGIC_BYTES 4
#define ROOT_SALT_BYTES  crypto_pwhash_argon2id_SALTBYTES
#define ROOT_NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define ROOT_TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES

/* Random bytes have about 30 different values in 32 places; fewer than this by chance once in 2^80. */
#define ROOT_DISTINCT_MIN 12

/* The places of the parts in the sealed form. */
enum {
	ROOT_AT_PASSES = ROOT_MAGIC_BYTES,
	ROOT_AT_MEMORY = ROOT_AT_PASSES + 4,
	ROOT_AT_SALT = ROOT_AT_MEMORY + 4,
	ROOT_AT_COMMITMENT = ROOT_AT_SALT + ROOT_SALT_BYTES,
	ROOT_AT_NONCE = ROOT_AT_COMMITMENT + 32,
	ROOT_AT_BOX = ROOT_AT_NONCE + ROOT_NONCE_BYTES,
};

_Static_assert(ROOT_AT_BOX + ROOT_KEY_BYTES + ROOT_TAG_BYTES == ROOT_SEALED_BYTES, "what the header says");

/* ---- key file ---- */

static bool root_has_many_values(const uint8_t bytes[ROOT_KEY_BYTES])
{
	size_t distinct = 0;

	for (size_t i = 0; i < ROOT_KEY_BYTES; i++)
		distinct += memchr(bytes, bytes[i], i) == NULL;
	return distinct >= ROOT_DISTINCT_MIN;
}

/* 32 random bytes are all printable once in 2^45: then it is a sentence, or a key in a notation that we do not read. */
static bool root_is_text(const uint8_t key[ROOT_KEY_BYTES])
{
	size_t printable = 0;

	for (size_t i = 0; i < ROOT_KEY_BYTES; i++)
		printable += key[i] >= 0x20 && key[i] < 0x7f;
	return printable == ROOT_KEY_BYTES;
}

/* The same few bytes over and over; the first half again. */
static bool root_repeats(const uint8_t key[ROOT_KEY_BYTES])
{
	for (size_t period = 1; period <= ROOT_KEY_BYTES / 2; period++)
		if (secret_eq(key, key + period, ROOT_KEY_BYTES - period))
			return true;
	return false;
}

/* The arena is open, and `steps` lies in it: counting up or down has few different steps. */
static bool root_looks_random(const uint8_t key[ROOT_KEY_BYTES], uint8_t steps[ROOT_KEY_BYTES])
{
	for (size_t i = 0; i < ROOT_KEY_BYTES; i++)
		steps[i] = (uint8_t)(key[i] - key[(i + 1) % ROOT_KEY_BYTES]);
	return root_has_many_values(key) && root_has_many_values(steps) && !root_is_text(key) && !root_repeats(key);
}

static bool root_is_hex(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f') && !(p[i] >= 'A' && p[i] <= 'F'))
			return false;
	return true;
}

/* The arena is open. */
static int root_decode(const uint8_t *p, size_t len, uint8_t ret_key[ROOT_KEY_BYTES])
{
	const char *text = (const char *)p;
	size_t n = 0;

	if (len != ROOT_KEY_BYTES && len > 0 && p[len - 1] == '\n')
		len--;
	if (len < ROOT_KEY_BYTES || (len < 2 * (size_t)ROOT_KEY_BYTES && root_is_hex(p, len)))
		return ROOT_E_SHORT;
	if (len == ROOT_KEY_BYTES) {
		memcpy(ret_key, p, ROOT_KEY_BYTES);
		return 0;
	}
	if (len == 2 * ROOT_KEY_BYTES && root_is_hex(p, len))
		(void)sodium_hex2bin(ret_key, ROOT_KEY_BYTES, text, len, NULL, &n, NULL);
	else if (!base64_decode(BASE64_STANDARD, span_of(text, len), ret_key, ROOT_KEY_BYTES, &n))
		return ROOT_E_FORM;
	return n == ROOT_KEY_BYTES ? 0 : ROOT_E_SHORT;
}

int root_parse_file(struct secret_arena *a, struct span file, struct secret *ret_root)
{
	struct secret root = SECRET_NULL, steps = SECRET_NULL;

	if (secret_alloc(a, ROOT_KEY_BYTES, &root))
		return ROOT_E_FULL;
	if (secret_alloc(a, ROOT_KEY_BYTES, &steps)) {
		secret_free(a, &root);
		return ROOT_E_FULL;
	}
	secret_open(a);
	int r = root_decode(file.p, file.len, root.p);
	if (!r && !root_looks_random(root.p, steps.p))
		r = ROOT_E_WEAK;
	secret_close(a);
	secret_free(a, &steps);
	if (r) {
		secret_free(a, &root);
		return r;
	}
	*ret_root = root;
	return 0;
}

bool root_format_file(const uint8_t key[ROOT_KEY_BYTES], char *to, size_t len)
{
	const size_t base64_len = sodium_base64_ENCODED_LEN(ROOT_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL) - 1;
	size_t bytes = len & ~(size_t)1; /* all forms are even; the odd one more is a newline */

	if (bytes == ROOT_KEY_BYTES)
		memcpy(to, key, ROOT_KEY_BYTES);
	else if (bytes == base64_len)
		(void)sodium_bin2base64(to, bytes + 1, key, ROOT_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
	else if (bytes == 2 * (size_t)ROOT_KEY_BYTES)
		(void)sodium_bin2hex(to, bytes + 1, key, ROOT_KEY_BYTES);
	else
		return false;
	if (len > bytes)
		to[bytes] = '\n';
	return true;
}

int root_generate(struct secret_arena *a, struct secret *ret_root)
{
	if (secret_alloc(a, ROOT_KEY_BYTES, ret_root))
		return ROOT_E_FULL;
	secret_open(a);
	randombytes_buf(ret_root->p, ROOT_KEY_BYTES);
	secret_close(a);
	return 0;
}

/* ---- sealed root ---- */

int root_check_sealed(struct span sealed)
{
	if (sealed.len != ROOT_SEALED_BYTES || !span_eq(span_of(sealed.p, ROOT_MAGIC_BYTES), SPAN_LIT(ROOT_MAGIC)))
		return ROOT_E_FORM;
	uint32_t passes = get_be32(sealed.p + ROOT_AT_PASSES), memory = get_be32(sealed.p + ROOT_AT_MEMORY);
	bool fits = passes >= crypto_pwhash_argon2id_OPSLIMIT_MIN && passes <= ROOT_PASSES_MAX && memory >= 8 &&
		    memory <= ROOT_MEMORY_KIB_MAX;
	return fits ? 0 : ROOT_E_FORM;
}

/* Encryption key, then commitment, as the header of `sealed` says. The caller frees. */
static int root_stretch(struct secret_arena *a, const uint8_t *sealed, struct span passphrase, struct secret *ret_keys)
{
	struct secret keys = SECRET_NULL;

	if (secret_alloc(a, 64, &keys))
		return ROOT_E_FULL;
	secret_open(a);
	int r = crypto_pwhash_argon2id(keys.p, keys.len, (const char *)passphrase.p, passphrase.len,
				       sealed + ROOT_AT_SALT, get_be32(sealed + ROOT_AT_PASSES),
				       (size_t)get_be32(sealed + ROOT_AT_MEMORY) << 10,
				       crypto_pwhash_argon2id_ALG_ARGON2ID13);
	secret_close(a);
	if (r) {
		secret_free(a, &keys);
		return ROOT_E_MEMORY;
	}
	*ret_keys = keys;
	return 0;
}

int root_seal(struct secret_arena *a, const struct secret *root, struct span passphrase,
	      uint8_t ret_sealed[ROOT_SEALED_BYTES])
{
	struct secret keys = SECRET_NULL;

	assert(root->len == ROOT_KEY_BYTES);
	if (passphrase.len < ROOT_PASSPHRASE_MIN || passphrase.len > ROOT_PASSPHRASE_MAX)
		return ROOT_E_SHORT;
	memcpy(ret_sealed, ROOT_MAGIC, ROOT_MAGIC_BYTES);
	put_be32(ret_sealed + ROOT_AT_PASSES, ROOT_PASSES);
	put_be32(ret_sealed + ROOT_AT_MEMORY, ROOT_MEMORY_KIB);
	randombytes_buf(ret_sealed + ROOT_AT_SALT, ROOT_SALT_BYTES);
	int r = root_stretch(a, ret_sealed, passphrase, &keys);
	if (r)
		return r;
	secret_open(a);
	memcpy(ret_sealed + ROOT_AT_COMMITMENT, keys.p + ROOT_KEY_BYTES, 32);
	randombytes_buf(ret_sealed + ROOT_AT_NONCE, ROOT_NONCE_BYTES);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret_sealed + ROOT_AT_BOX, NULL, root->p, ROOT_KEY_BYTES,
							 ret_sealed, ROOT_AT_NONCE, NULL, ret_sealed + ROOT_AT_NONCE,
							 keys.p);
	secret_close(a);
	secret_free(a, &keys);
	return 0;
}

int root_unseal(struct secret_arena *a, struct span sealed, struct span passphrase, struct secret *ret_root)
{
	struct secret keys = SECRET_NULL, root = SECRET_NULL;

	int r = root_check_sealed(sealed);
	if (!r && passphrase.len < ROOT_PASSPHRASE_MIN)
		r = ROOT_E_PASSPHRASE;
	if (!r)
		r = root_stretch(a, sealed.p, passphrase, &keys);
	if (!r && secret_alloc(a, ROOT_KEY_BYTES, &root))
		r = ROOT_E_FULL;
	if (!r) {
		secret_open(a);
		if (!secret_eq(keys.p + ROOT_KEY_BYTES, sealed.p + ROOT_AT_COMMITMENT, 32))
			r = ROOT_E_PASSPHRASE;
		else if (crypto_aead_xchacha20poly1305_ietf_decrypt(root.p, NULL, NULL, sealed.p + ROOT_AT_BOX,
								    ROOT_KEY_BYTES + ROOT_TAG_BYTES, sealed.p,
								    ROOT_AT_NONCE, sealed.p + ROOT_AT_NONCE, keys.p))
			r = ROOT_E_DAMAGED;
		secret_close(a);
	}
	secret_free(a, &keys);
	if (r) {
		secret_free(a, &root);
		return r;
	}
	*ret_root = root;
	return 0;
}

const char *root_err_text(int e)
{
	static const char *const texts[] = {
		[ROOT_E_SHORT] = "too short: 32 bytes are needed, raw, in hex or in base64",
		[ROOT_E_FORM] = "not a root key, or altered",
		[ROOT_E_WEAK] = "not random: make one with `head -c 32 /dev/urandom`",
		[ROOT_E_PASSPHRASE] = "wrong passphrase",
		[ROOT_E_DAMAGED] = "the sealed root key is damaged; restore root.sealed from a backup",
		[ROOT_E_MEMORY] = "not enough memory for Argon2id",
		[ROOT_E_FULL] = "the secret arena is full",
	};

	assert(e > 0 && (size_t)e < ARRAY_LEN(texts));
	return texts[e];
}
