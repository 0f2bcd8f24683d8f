/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The purpose keys, in the arena while the vault is open: one for each row of purpose.def, derived from the master key.
 * The master key itself is there for the moment of opening only.
 */
#pragma once

#include "common/secret.h"

#define KEYRING_KEY_BYTES 32

enum purpose {
#define PURPOSE(NAME, number, context, doc) PURPOSE_##NAME,
#include "keyvault/purpose.def"
#undef PURPOSE
	N_PURPOSES,
};

struct keyring {
	struct secret_arena *arena;
	struct secret purposes[N_PURPOSES]; /* all there or none */
};

#define KEYRING_NULL ((struct keyring){0})

enum keyring_err {
	KEYRING_E_FULL = 1, /* the arena has no room */
};

/* The arena must outlive the keyring. */
void keyring_init(struct keyring *k, struct secret_arena *arena);

/* Derives the purpose keys from a master key of KEYRING_KEY_BYTES, which stays the caller's. 0 or KEYRING_E_FULL. */
MUST_USE int keyring_open(struct keyring *k, const struct secret *master);
/* Wipes everything. Idempotent. */
void keyring_close(struct keyring *k);
bool keyring_is_open(const struct keyring *k);

/* The keyring must be open; valid until it is closed. */
const struct secret *keyring_purpose(const struct keyring *k, enum purpose purpose);
