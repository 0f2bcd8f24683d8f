/* SPDX-License-Identifier: Apache-2.0 */
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

_Static_assert(KEYRING_KEY_BYTES == crypto_kdf_KEYBYTES, "a master key is a libsodium KDF key");

void keyring_init(struct keyring *k, struct secret_arena *arena)
{
	*k = (struct keyring){.arena = arena};
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

int keyring_open(struct keyring *k, const struct secret *master)
{
	assert(master->len == KEYRING_KEY_BYTES && !keyring_is_open(k));
	for (size_t i = 0; i < N_PURPOSES; i++) {
		if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &k->purposes[i])) {
			keyring_close(k);
			return KEYRING_E_FULL;
		}
	}
	secret_open(k->arena);
	for (size_t i = 0; i < N_PURPOSES; i++)
		(void)crypto_kdf_derive_from_key(k->purposes[i].p, KEYRING_KEY_BYTES, keyring_branches[i].number,
						 keyring_branches[i].context, master->p);
	secret_close(k->arena);
	return 0;
}

const struct secret *keyring_purpose(const struct keyring *k, enum purpose purpose)
{
	assert(keyring_is_open(k) && purpose < N_PURPOSES);
	return &k->purposes[purpose];
}
