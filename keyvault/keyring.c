/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Derivations. Below the purpose keys a key is BLAKE2b-256, keyed with its parent, over
 *
 *      label, 0x00, u64 BE length of the name, name, u64 BE version
 *
 * so that no name can run into a version or into another label.
 */
#include "keyvault/keyring.h"

#include <assert.h>
#include <sodium.h>

static const struct {
	uint64_t number;
	char context[crypto_kdf_CONTEXTBYTES + 1];
} keyring_branches[N_PURPOSES] = {
#define PURPOSE(NAME, number, context, doc) {(number), (context)},
#include "keyvault/purpose.def"
#undef PURPOSE
};

_Static_assert(KEYRING_KEY_BYTES == crypto_kdf_KEYBYTES, "a root key is a libsodium KDF key");

void keyring_init(struct keyring *k, struct secret_arena *arena)
{
	*k = (struct keyring){.arena = arena};
}

void keyring_deinit(struct keyring *k)
{
	keyring_close(k);
}

bool keyring_is_open(const struct keyring *k)
{
	return k->purposes[0].p != NULL;
}

void keyring_close(struct keyring *k)
{
	for (size_t i = 0; i < N_PURPOSES; i++)
		secret_free(k->arena, &k->purposes[i]);
}

int keyring_open(struct keyring *k, const struct secret *root)
{
	assert(root->len == KEYRING_KEY_BYTES && !keyring_is_open(k));
	for (size_t i = 0; i < N_PURPOSES; i++) {
		if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &k->purposes[i])) {
			keyring_close(k);
			return KEYRING_E_FULL;
		}
	}
	secret_open(k->arena);
	for (size_t i = 0; i < N_PURPOSES; i++)
		(void)crypto_kdf_derive_from_key(k->purposes[i].p, KEYRING_KEY_BYTES, keyring_branches[i].number,
						 keyring_branches[i].context, root->p);
	secret_close(k->arena);
	return 0;
}

const struct secret *keyring_purpose(const struct keyring *k, enum purpose purpose)
{
	assert(keyring_is_open(k) && purpose < N_PURPOSES);
	return &k->purposes[purpose];
}

static void keyring_hash_u64(crypto_generichash_state *h, uint64_t n)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(n >> (56 - 8 * i));
	(void)crypto_generichash_update(h, bytes, sizeof(bytes));
}

/* The arena is open. `ret_key` may be `parent`. */
static void keyring_derive(const uint8_t *parent, const char *label, struct span name, uint64_t version,
			   uint8_t *ret_key)
{
	crypto_generichash_state h;

	(void)crypto_generichash_init(&h, parent, KEYRING_KEY_BYTES, KEYRING_KEY_BYTES);
	(void)crypto_generichash_update(&h, (const uint8_t *)label, strlen(label) + 1);
	keyring_hash_u64(&h, name.len);
	(void)crypto_generichash_update(&h, name.p, name.len);
	keyring_hash_u64(&h, version);
	(void)crypto_generichash_final(&h, ret_key, KEYRING_KEY_BYTES);
	secret_wipe(&h, sizeof(h)); /* its first block is the parent key */
}

int keyring_credential_key(struct keyring *k, struct span tenant, uint64_t tenant_version, struct span credential,
			   uint64_t version, struct secret *ret_key)
{
	const struct secret *top = keyring_purpose(k, PURPOSE_CREDENTIALS);
	struct secret key = SECRET_NULL;

	if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &key))
		return KEYRING_E_FULL;
	secret_open(k->arena);
	keyring_derive(top->p, "tenant", tenant, tenant_version, key.p);
	keyring_derive(key.p, "credential", credential, version, key.p);
	secret_close(k->arena);
	*ret_key = key;
	return 0;
}
