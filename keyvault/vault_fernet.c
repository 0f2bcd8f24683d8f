/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet at the vault's door. Import decrypts and seals in one step, so that a key that was under another system's care
 * is in the clear nowhere but in this arena. Export is the only way in which a provider key leaves the vault other than
 * to its provider, and so has three locks: the configuration, the operator's word, and (dispatch_fernet.c) the log's.
 */
#include "keyvault/vault_credentials.h"

#include <sodium.h>

static int vault_fernet_err(int e)
{
	switch (e) {
	case 0:
		return 0;
	case FERNET_E_KEY:
		return VAULT_E_TOKEN_KEY;
	case FERNET_E_AGE:
		return VAULT_E_TOKEN_AGE;
	case FERNET_E_FULL:
		return VAULT_E_FULL;
	default:
		return VAULT_E_TOKEN;
	}
}

/* On failure there is nothing to deinit. */
static int vault_fernet_keys(struct vault *v, struct proto_list list, struct fernet_keys *ret_keys)
{
	struct proto_fernet_key item;
	int r = list.count ? 0 : FERNET_E_FORM;

	fernet_keys_init(ret_keys, v->arena);
	while (!r && proto_fernet_key_next(&list, &item))
		r = fernet_keys_add(ret_keys, item.key);
	if (r)
		fernet_keys_deinit(ret_keys);
	return r == FERNET_E_FULL ? VAULT_E_FULL : r ? VAULT_E_FERNET_KEY : 0;
}

int vault_import_fernet(struct vault *v, struct span binding, struct span token, struct proto_list keys,
			struct fernet_limit limit, uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len)
{
	struct fernet_keys k;
	struct fernet_origin origin;
	struct secret plain = SECRET_NULL;

	if (!vault_is_open(v))
		return v->files.initialised ? VAULT_E_SEALED : VAULT_E_UNINITIALISED;
	int r = vault_fernet_keys(v, keys, &k);
	if (r)
		return r;
	r = vault_fernet_err(fernet_decrypt(&k, token, limit, &plain, &origin));
	fernet_keys_deinit(&k);
	if (r)
		return r;
	secret_open(v->arena);
	r = vault_add(v, binding, span_of(plain.p, plain.len), ret_blob, ret_len);
	secret_close(v->arena);
	secret_free(v->arena, &plain);
	return r;
}

/* The key of an export, and nothing else, in a keyring of its own. */
static int vault_export_under(struct vault *v, struct span key, uint64_t now_s, const struct secret *secret,
			      char ret_stored[FERNET_STORED_CHARS_MAX + 1])
{
	uint8_t iv[FERNET_IV_BYTES];
	struct fernet_keys k;

	fernet_keys_init(&k, v->arena);
	int r = fernet_keys_add(&k, key);
	r = r == FERNET_E_FULL ? VAULT_E_FULL : r ? VAULT_E_FERNET_KEY : 0;
	if (!r) {
		randombytes_buf(iv, sizeof(iv));
		secret_open(v->arena);
		r = vault_fernet_err(fernet_encrypt(&k, span_of(secret->p, secret->len), now_s, iv, ret_stored));
		secret_close(v->arena);
	}
	fernet_keys_deinit(&k);
	return r;
}

int vault_export_fernet(struct vault *v, struct span id, struct span confirm, struct span key, uint64_t now_s,
			struct span *ret_binding, char ret_stored[FERNET_STORED_CHARS_MAX + 1])
{
	struct secret secret = SECRET_NULL;

	if (!v->may_export)
		return VAULT_E_EXPORT_OFF;
	if (!span_eq(id, confirm))
		return VAULT_E_UNCONFIRMED;
	int r = vault_fetch(v, id, now_s, ret_binding, &secret);
	if (r)
		return r;
	r = vault_export_under(v, key, now_s, &secret, ret_stored);
	secret_free(v->arena, &secret);
	return r;
}

int vault_rotate_fernet(struct vault *v, struct span token, struct proto_list keys,
			char ret_stored[FERNET_STORED_CHARS_MAX + 1])
{
	uint8_t iv[FERNET_IV_BYTES];
	struct fernet_keys k;
	int r = vault_fernet_keys(v, keys, &k);

	if (r)
		return r;
	randombytes_buf(iv, sizeof(iv));
	r = vault_fernet_err(fernet_rotate(&k, token, iv, ret_stored));
	fernet_keys_deinit(&k);
	return r;
}
