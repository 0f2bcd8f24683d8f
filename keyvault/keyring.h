/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key hierarchy: root key -> purpose keys -> tenant keys -> credential keys, all in the arena.
 *
 * The root key is there for the moment of opening only; what stays is one key a purpose. Tenant and credential keys are
 * derived when they are needed and freed by the caller: they are not stored anywhere, so there is nothing to move or
 * swap.
 */
#pragma once

#include "common/secret.h"

#define KEYRING_KEY_BYTES 32
/* The version of tenant keys under which credentials are sealed; grows with rotation. */
#define KEYRING_TENANT_VERSION 1

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
/* Closes. Legal on KEYRING_NULL. */
void keyring_deinit(struct keyring *k);

/* Derives the purpose keys from a root key of KEYRING_KEY_BYTES, which stays the caller's. 0 or KEYRING_E_FULL. */
MUST_USE int keyring_open(struct keyring *k, const struct secret *root);
/* Wipes everything. Idempotent. */
void keyring_close(struct keyring *k);
bool keyring_is_open(const struct keyring *k);

/* The keyring must be open; valid until it is closed. */
const struct secret *keyring_purpose(const struct keyring *k, enum purpose purpose);
/* The key of one version of one credential. The keyring must be open. The caller frees it. 0 or KEYRING_E_FULL. */
MUST_USE int keyring_credential_key(struct keyring *k, struct span tenant, uint64_t tenant_version,
				    struct span credential, uint64_t version, struct secret *ret_key);
