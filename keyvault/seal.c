/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/seal.h"

#include <assert.h>
#include <sodium.h>

#include "common/binding_auth.h"
#include "keyvault/keys_wrap.h"

#define SEAL_MAGIC            "BHV2"
#define SEAL_MAGIC_BYTES      4
#define SEAL_BINDING_AT       (SEAL_MAGIC_BYTES + 2)
#define SEAL_GENERATION_BYTES 4
#define SEAL_BINDING_MIN      16
#define SEAL_COMMITMENT_BYTES 32
#define SEAL_NONCE_BYTES      crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_TAG_BYTES        crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(SEAL_OVERHEAD_BYTES == SEAL_BINDING_AT + SEAL_GENERATION_BYTES + SEAL_COMMITMENT_BYTES + KEYS_ID_BYTES +
					      KEYS_WRAPPED_BYTES + SEAL_NONCE_BYTES + SEAL_TAG_BYTES,
	       "what the header says");
_Static_assert(SEAL_OVERHEAD_BYTES + SEAL_BINDING_BYTES_MAX + SEAL_SECRET_BYTES_MAX <= SEAL_BYTES_MAX, "it fits");

/* The credential key is used for nothing but these two branches. */
enum { SEAL_BRANCH_ENCRYPT = 1, SEAL_BRANCH_COMMIT };
#define SEAL_CONTEXT "bh-seal1"

/* ---- what may be sealed ---- */

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
		    span_is_printable(b->prefix, ' ') && span_is_printable(b->path_prefix, '!') &&
		    b->path_prefix.p[0] == '/' && span_is_printable(b->tenant, '!') &&
		    span_is_printable(b->credential, '!') && span_is_printable(b->provider, '!') &&
		    b->since <= b->version && (b->not_after == 0 || b->not_after > b->not_before) && binding_auth_ok(b);
	return fits ? 0 : SEAL_E_BINDING;
}

/* Field values with anything else could end a header line; so could a key that was pasted with its newline. */
static bool seal_is_sendable(struct span secret)
{
	return secret.len > 0 && secret.len <= SEAL_SECRET_BYTES_MAX && span_is_printable(secret, '!');
}

/* ---- reading ---- */

static struct span seal_take(const uint8_t **at, size_t len)
{
	struct span part = span_of(*at, len);

	*at += len;
	return part;
}

int seal_parse(struct span blob, struct seal_view *ret_view)
{
	const uint8_t *at = blob.p + SEAL_BINDING_AT;
	struct seal_view v = {.generation = 0};

	if (blob.len <= SEAL_OVERHEAD_BYTES || blob.len > SEAL_BYTES_MAX ||
	    !span_eq(span_of(blob.p, SEAL_MAGIC_BYTES), SPAN_LIT(SEAL_MAGIC)))
		return SEAL_E_FORM;
	size_t binding_len = (size_t)blob.p[4] << 8 | blob.p[5];
	if (binding_len < SEAL_BINDING_MIN || binding_len > SEAL_BINDING_BYTES_MAX ||
	    binding_len >= blob.len - SEAL_OVERHEAD_BYTES)
		return SEAL_E_FORM;
	v.binding_packed = seal_take(&at, binding_len);
	for (size_t i = 0; i < SEAL_GENERATION_BYTES; i++)
		v.generation = v.generation << 8 | at[i];
	at += SEAL_GENERATION_BYTES;
	v.commitment = seal_take(&at, SEAL_COMMITMENT_BYTES);
	v.head = span_of(blob.p, (size_t)(at - blob.p));
	v.key_id = seal_take(&at, KEYS_ID_BYTES);
	v.wrapped = seal_take(&at, KEYS_WRAPPED_BYTES);
	v.nonce = seal_take(&at, SEAL_NONCE_BYTES);
	v.box = span_of(at, blob.len - (size_t)(at - blob.p));
	if (v.box.len > SEAL_SECRET_BYTES_MAX + SEAL_TAG_BYTES ||
	    proto_unpack_record(&proto_binding_desc, v.binding_packed, &v.binding))
		return SEAL_E_FORM;
	if (seal_check_binding(&v.binding))
		return SEAL_E_BINDING;
	*ret_view = v;
	return 0;
}

/* ---- the keys of one blob ---- */

/* What wraps the credential key binds the head, and which tenant key it is. */
struct seal_context {
	uint8_t bytes[SEAL_BINDING_AT + SEAL_BINDING_BYTES_MAX + SEAL_GENERATION_BYTES + SEAL_COMMITMENT_BYTES +
		      KEYS_ID_BYTES];
};

static struct span seal_context(struct span head, struct span key_id, struct seal_context *to)
{
	assert(head.len + key_id.len <= sizeof(to->bytes));
	memcpy(to->bytes, head.p, head.len);
	memcpy(to->bytes + head.len, key_id.p, key_id.len);
	return span_of(to->bytes, head.len + key_id.len);
}

/* Encryption key, then commitment, from the credential key. The caller frees. */
static int seal_branches(struct keys *k, const struct secret *key, struct secret *ret_keys)
{
	if (secret_alloc(k->arena, KEYRING_KEY_BYTES + SEAL_COMMITMENT_BYTES, ret_keys))
		return SEAL_E_FULL;
	secret_open(k->arena);
	(void)crypto_kdf_derive_from_key(ret_keys->p, KEYRING_KEY_BYTES, SEAL_BRANCH_ENCRYPT, SEAL_CONTEXT, key->p);
	(void)crypto_kdf_derive_from_key(ret_keys->p + KEYRING_KEY_BYTES, SEAL_COMMITMENT_BYTES, SEAL_BRANCH_COMMIT,
					 SEAL_CONTEXT, key->p);
	secret_close(k->arena);
	return 0;
}

static int seal_keys_err(int e)
{
	return e == 0 ? 0 : e == KEYS_E_FULL ? SEAL_E_FULL : SEAL_E_TAG;
}

static int seal_wrap_key(struct keys *k, const struct keys_tenant *tenant, struct span head, const struct secret *key,
			 uint8_t *to)
{
	struct secret by = SECRET_NULL;
	struct seal_context context;
	int r = seal_keys_err(keys_unwrap(k, tenant, &by));

	if (r)
		return r;
	memcpy(to, tenant->id, KEYS_ID_BYTES);
	keys_wrap(k->arena, &by, seal_context(head, span_of(tenant->id, KEYS_ID_BYTES), &context), key,
		  to + KEYS_ID_BYTES);
	secret_free(k->arena, &by);
	return 0;
}

/* The credential key, and its branches: the commitment is right. The caller frees both. */
static int seal_unwrap_key(struct keys *k, const struct seal_view *v, struct secret *ret_key, struct secret *ret_keys)
{
	const struct keys_tenant *tenant = keys_find(k, v->binding.tenant, v->key_id);
	struct secret by = SECRET_NULL;
	struct seal_context context;

	if (!tenant)
		return SEAL_E_KEY;
	if (v->generation < tenant->generation_min)
		return SEAL_E_OLD;
	int r = seal_keys_err(keys_unwrap(k, tenant, &by));
	if (r)
		return r;
	r = seal_keys_err(
		keys_unwrap_with(k->arena, &by, seal_context(v->head, v->key_id, &context), v->wrapped.p, ret_key));
	secret_free(k->arena, &by);
	if (!r)
		r = seal_branches(k, ret_key, ret_keys);
	if (r)
		return r;
	secret_open(k->arena);
	bool committed = secret_eq(ret_keys->p + KEYRING_KEY_BYTES, v->commitment.p, SEAL_COMMITMENT_BYTES);
	secret_close(k->arena);
	return committed ? 0 : SEAL_E_TAG;
}

/* ---- opening ---- */

/* The arena is open. */
static int seal_decrypt(const struct seal_view *v, const struct secret *keys, const struct secret *plain)
{
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain->p, NULL, NULL, v->box.p, v->box.len, v->head.p,
						       v->head.len, v->nonce.p, keys->p))
		return SEAL_E_TAG;
	return seal_is_sendable(span_of(plain->p, plain->len)) ? 0 : SEAL_E_SECRET;
}

int seal_open(struct keys *k, const struct seal_view *view, struct secret *ret_secret)
{
	struct secret key = SECRET_NULL, keys = SECRET_NULL, plain = SECRET_NULL;

	int r = seal_unwrap_key(k, view, &key, &keys);
	if (!r && secret_alloc(k->arena, view->box.len - SEAL_TAG_BYTES, &plain))
		r = SEAL_E_FULL;
	if (!r) {
		secret_open(k->arena);
		r = seal_decrypt(view, &keys, &plain);
		secret_close(k->arena);
	}
	secret_free(k->arena, &key);
	secret_free(k->arena, &keys);
	if (r) {
		secret_free(k->arena, &plain);
		return r;
	}
	*ret_secret = plain;
	return 0;
}

/* ---- sealing ---- */

static void seal_put_head(struct span binding_packed, uint32_t generation, uint8_t **at)
{
	memcpy(*at, SEAL_MAGIC, SEAL_MAGIC_BYTES);
	(*at)[4] = (uint8_t)(binding_packed.len >> 8);
	(*at)[5] = (uint8_t)binding_packed.len;
	memcpy(*at + SEAL_BINDING_AT, binding_packed.p, binding_packed.len);
	*at += SEAL_BINDING_AT + binding_packed.len;
	for (int shift = 24; shift >= 0; shift -= 8)
		*(*at)++ = (uint8_t)(generation >> shift);
}

/* With a fresh key, whose branches `keys` are. */
static int seal_write(struct keys *k, const struct keys_tenant *tenant, struct span binding_packed, struct span secret,
		      const struct secret *key, const struct secret *keys, uint8_t ret_blob[SEAL_BYTES_MAX])
{
	uint8_t *at = ret_blob;

	seal_put_head(binding_packed, k->generation, &at);
	secret_open(k->arena);
	memcpy(at, keys->p + KEYRING_KEY_BYTES, SEAL_COMMITMENT_BYTES);
	secret_close(k->arena);
	at += SEAL_COMMITMENT_BYTES;
	struct span head = span_of(ret_blob, (size_t)(at - ret_blob));
	int r = seal_wrap_key(k, tenant, head, key, at);
	if (r)
		return r;
	at += KEYS_ID_BYTES + KEYS_WRAPPED_BYTES;
	randombytes_buf(at, SEAL_NONCE_BYTES);
	secret_open(k->arena);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(at + SEAL_NONCE_BYTES, NULL, secret.p, secret.len, head.p,
							 head.len, NULL, at, keys->p);
	secret_close(k->arena);
	return 0;
}

static int seal_fresh(struct keys *k, struct span tenant_name, struct span binding_packed, struct span secret,
		      uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	const struct keys_tenant *tenant = keys_active(k, tenant_name);
	struct secret key = SECRET_NULL, keys = SECRET_NULL;

	if (!tenant)
		return SEAL_E_KEY;
	if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &key))
		return SEAL_E_FULL;
	secret_open(k->arena);
	crypto_kdf_keygen(key.p);
	secret_close(k->arena);
	int r = seal_branches(k, &key, &keys);
	if (!r)
		r = seal_write(k, tenant, binding_packed, secret, &key, &keys, ret_blob);
	secret_free(k->arena, &key);
	secret_free(k->arena, &keys);
	if (!r)
		*ret_len = SEAL_OVERHEAD_BYTES + binding_packed.len + secret.len;
	return r;
}

int seal_credential(struct keys *k, struct span binding_packed, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX],
		    size_t *ret_len)
{
	struct proto_binding b;

	if (binding_packed.len < SEAL_BINDING_MIN || binding_packed.len > SEAL_BINDING_BYTES_MAX ||
	    proto_unpack_record(&proto_binding_desc, binding_packed, &b))
		return SEAL_E_FORM;
	if (seal_check_binding(&b))
		return SEAL_E_BINDING;
	if (!seal_is_sendable(secret))
		return SEAL_E_SECRET;
	return seal_fresh(k, b.tenant, binding_packed, secret, ret_blob, ret_len);
}

/* ---- rotation ---- */

int seal_rewrap(struct keys *k, const struct seal_view *view, uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	const struct keys_tenant *tenant = keys_active(k, view->binding.tenant);
	struct secret key = SECRET_NULL, keys = SECRET_NULL;
	size_t middle = KEYS_ID_BYTES + KEYS_WRAPPED_BYTES, rest = SEAL_NONCE_BYTES + view->box.len;

	int r = tenant ? seal_unwrap_key(k, view, &key, &keys) : SEAL_E_KEY;
	if (!r)
		r = seal_wrap_key(k, tenant, view->head, &key, ret_blob + view->head.len);
	secret_free(k->arena, &key);
	secret_free(k->arena, &keys);
	if (r)
		return r;
	memcpy(ret_blob, view->head.p, view->head.len);
	memcpy(ret_blob + view->head.len + middle, view->nonce.p, rest); /* the box follows its nonce */
	*ret_len = view->head.len + middle + rest;
	return 0;
}

int seal_again(struct keys *k, const struct seal_view *view, uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	struct secret plain = SECRET_NULL;
	int r = seal_open(k, view, &plain);

	if (r)
		return r;
	secret_open(k->arena);
	r = seal_fresh(k, view->binding.tenant, view->binding_packed, span_of(plain.p, plain.len), ret_blob, ret_len);
	secret_close(k->arena);
	secret_free(k->arena, &plain);
	return r;
}
