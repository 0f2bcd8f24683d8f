/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/seal.h"

#include <assert.h>
#include <sodium.h>

#include "common/binding_auth.h"

#define SEAL_MAGIC            "BHV1"
#define SEAL_MAGIC_BYTES      4
#define SEAL_HEAD_BYTES       (SEAL_MAGIC_BYTES + 2)
#define SEAL_BINDING_MIN      16
#define SEAL_COMMITMENT_BYTES 32
#define SEAL_NONCE_BYTES      crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_TAG_BYTES        crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(SEAL_OVERHEAD_BYTES == SEAL_HEAD_BYTES + SEAL_COMMITMENT_BYTES + SEAL_NONCE_BYTES + SEAL_TAG_BYTES,
	       "what the header says");
_Static_assert(SEAL_OVERHEAD_BYTES + SEAL_BINDING_BYTES_MAX + SEAL_SECRET_BYTES_MAX <= SEAL_BYTES_MAX, "it fits");

/* The credential key is used for nothing but these two branches. */
enum { SEAL_BRANCH_ENCRYPT = 1, SEAL_BRANCH_COMMIT };
#define SEAL_CONTEXT "bh-seal1"

/* ---- what may be sealed ---- */

static bool seal_is_printable(struct span s, uint8_t from)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < from || s.p[i] > 0x7e)
			return false;
	return true;
}

static bool seal_is_of(struct span s, const char *more)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = (char)s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr(more, c)))
			return false;
	}
	return true;
}

int seal_check_binding(const struct proto_binding *b)
{
	bool fits = span_eq_str(b->scheme, "https") && seal_is_of(b->host, "-.:") && seal_is_of(b->header, "-_") &&
		    seal_is_printable(b->prefix, ' ') && seal_is_printable(b->path_prefix, '!') &&
		    b->path_prefix.p[0] == '/' && seal_is_printable(b->tenant, '!') &&
		    seal_is_printable(b->credential, '!') && seal_is_printable(b->provider, '!') &&
		    (b->not_after == 0 || b->not_after > b->not_before) && binding_auth_ok(b);
	return fits ? 0 : SEAL_E_BINDING;
}

/* Field values with anything else could end a header line; so could a key that was pasted with its newline. */
static bool seal_is_sendable(struct span secret)
{
	return secret.len > 0 && secret.len <= SEAL_SECRET_BYTES_MAX && seal_is_printable(secret, '!');
}

/* ---- reading ---- */

int seal_parse(struct span blob, struct seal_view *ret_view)
{
	struct seal_view v;

	if (blob.len <= SEAL_OVERHEAD_BYTES || blob.len > SEAL_BYTES_MAX ||
	    !span_eq(span_of(blob.p, SEAL_MAGIC_BYTES), SPAN_LIT(SEAL_MAGIC)))
		return SEAL_E_FORM;
	size_t binding_len = (size_t)blob.p[4] << 8 | blob.p[5];
	if (binding_len < SEAL_BINDING_MIN || binding_len > SEAL_BINDING_BYTES_MAX ||
	    binding_len >= blob.len - SEAL_OVERHEAD_BYTES)
		return SEAL_E_FORM;
	v.binding_packed = span_of(blob.p + SEAL_HEAD_BYTES, binding_len);
	v.commitment = span_of(v.binding_packed.p + binding_len, SEAL_COMMITMENT_BYTES);
	v.header = span_of(blob.p, SEAL_HEAD_BYTES + binding_len + SEAL_COMMITMENT_BYTES);
	v.nonce = span_of(blob.p + v.header.len, SEAL_NONCE_BYTES);
	v.box = span_of(v.nonce.p + SEAL_NONCE_BYTES, blob.len - v.header.len - SEAL_NONCE_BYTES);
	if (v.box.len > SEAL_SECRET_BYTES_MAX + SEAL_TAG_BYTES ||
	    proto_unpack_record(&proto_binding_desc, v.binding_packed, &v.binding))
		return SEAL_E_FORM;
	if (seal_check_binding(&v.binding))
		return SEAL_E_BINDING;
	*ret_view = v;
	return 0;
}

/* ---- the key of one blob ---- */

/* Both branches in one piece: encryption key, then commitment. The caller frees. */
static int seal_keys(struct keyring *k, const struct proto_binding *b, struct secret *ret_keys)
{
	struct secret key = SECRET_NULL, keys = SECRET_NULL;

	if (keyring_credential_key(k, b->tenant, KEYRING_TENANT_VERSION, b->credential, b->version, &key))
		return SEAL_E_FULL;
	int r = secret_alloc(k->arena, KEYRING_KEY_BYTES + SEAL_COMMITMENT_BYTES, &keys) ? SEAL_E_FULL : 0;
	if (!r) {
		secret_open(k->arena);
		(void)crypto_kdf_derive_from_key(keys.p, KEYRING_KEY_BYTES, SEAL_BRANCH_ENCRYPT, SEAL_CONTEXT, key.p);
		(void)crypto_kdf_derive_from_key(keys.p + KEYRING_KEY_BYTES, SEAL_COMMITMENT_BYTES, SEAL_BRANCH_COMMIT,
						 SEAL_CONTEXT, key.p);
		secret_close(k->arena);
		*ret_keys = keys;
	}
	secret_free(k->arena, &key);
	return r;
}

int seal_open(struct keyring *k, const struct seal_view *view, struct secret *ret_secret)
{
	struct secret keys = SECRET_NULL, plain = SECRET_NULL;

	int r = seal_keys(k, &view->binding, &keys);
	if (!r && secret_alloc(k->arena, view->box.len - SEAL_TAG_BYTES, &plain))
		r = SEAL_E_FULL;
	if (!r) {
		secret_open(k->arena);
		if (!secret_eq(keys.p + KEYRING_KEY_BYTES, view->commitment.p, SEAL_COMMITMENT_BYTES))
			r = SEAL_E_KEY;
		else if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.p, NULL, NULL, view->box.p, view->box.len,
								    view->header.p, view->header.len, view->nonce.p,
								    keys.p))
			r = SEAL_E_TAG;
		else if (!seal_is_sendable(span_of(plain.p, plain.len)))
			r = SEAL_E_SECRET;
		secret_close(k->arena);
	}
	secret_free(k->arena, &keys);
	if (r) {
		secret_free(k->arena, &plain);
		return r;
	}
	*ret_secret = plain;
	return 0;
}

int seal_credential(struct keyring *k, struct span binding_packed, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX],
		    size_t *ret_len)
{
	struct proto_binding b;
	struct secret keys = SECRET_NULL;

	if (binding_packed.len < SEAL_BINDING_MIN || binding_packed.len > SEAL_BINDING_BYTES_MAX ||
	    proto_unpack_record(&proto_binding_desc, binding_packed, &b))
		return SEAL_E_FORM;
	if (seal_check_binding(&b))
		return SEAL_E_BINDING;
	if (!seal_is_sendable(secret))
		return SEAL_E_SECRET;
	if (seal_keys(k, &b, &keys))
		return SEAL_E_FULL;

	uint8_t *at = ret_blob;
	memcpy(at, SEAL_MAGIC, SEAL_MAGIC_BYTES);
	at[4] = (uint8_t)(binding_packed.len >> 8);
	at[5] = (uint8_t)binding_packed.len;
	memcpy(at + SEAL_HEAD_BYTES, binding_packed.p, binding_packed.len);
	at += SEAL_HEAD_BYTES + binding_packed.len;
	secret_open(k->arena);
	memcpy(at, keys.p + KEYRING_KEY_BYTES, SEAL_COMMITMENT_BYTES);
	at += SEAL_COMMITMENT_BYTES;
	randombytes_buf(at, SEAL_NONCE_BYTES);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(at + SEAL_NONCE_BYTES, NULL, secret.p, secret.len, ret_blob,
							 (size_t)(at - ret_blob), NULL, at, keys.p);
	secret_close(k->arena);
	secret_free(k->arena, &keys);
	*ret_len = SEAL_OVERHEAD_BYTES + binding_packed.len + secret.len;
	return 0;
}

const char *seal_err_text(int e)
{
	static const char *const texts[] = {
		[SEAL_E_FORM] = "not a sealed credential",
		[SEAL_E_BINDING] = "bound to a destination that is not allowed",
		[SEAL_E_KEY] = "sealed under another root key, or altered",
		[SEAL_E_TAG] = "altered",
		[SEAL_E_SECRET] = "a key may only hold printable ASCII without spaces",
		[SEAL_E_FULL] = "the secret arena is full",
	};

	assert(e > 0 && (size_t)e < ARRAY_LEN(texts));
	return texts[e];
}
