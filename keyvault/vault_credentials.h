/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials in the vault: what authd pushes, what an egress gets, what an operator has sealed. */
#pragma once

#include "keyvault/vault.h"

/* May it be stored in place of another? Only what authenticates under the keys that stay: a rotation that has begun to
 * replace them would else retire them before it is loaded; and only while its version can be remembered. 0 or
 * VAULT_E_*. */
MUST_USE int vault_check_new(struct vault *v, struct span id, struct span blob);
/* A sealed credential from authd's store; checked at once when the vault is open. *ret_changed: what vault_fetch()
 * answers for this id has changed. 0, VAULT_E_FORGED, VAULT_E_OLD, VAULT_E_FULL, VAULT_E_PLACES, VAULT_E_STORAGE or
 * negative. */
MUST_USE int vault_load(struct vault *v, struct span id, struct span blob, bool *ret_changed);
/* This version and those below it are void for ever, as far as they were ever seen. *ret_changed as above. 0,
 * VAULT_E_STORAGE, VAULT_E_PLACES or VAULT_E_FULL: then, and while the vault is sealed, it is not remembered and only
 * forgotten. */
MUST_USE int vault_drop(struct vault *v, struct span id, uint32_t version, bool *ret_changed);
/* The provider refuses this version: the other one is used from now on. False when there is no other. */
bool vault_refuse(struct vault *v, struct span id, uint32_t version);
/* After opening: checks what came while the vault was sealed, from entry *at on. True and the id of one that was
 * refused (VAULT_E_*) and dropped, false when all is done. */
bool vault_next_rejected(struct vault *v, size_t *at, char ret_id[STORE_ID_BYTES_MAX + 1], int *ret_why);
/* The binding (a view into the store) and the secret (the caller frees it) of the version in use. 0, VAULT_E_SEALED,
 * VAULT_E_UNKNOWN, VAULT_E_EXPIRED, VAULT_E_FORGED or VAULT_E_FULL. */
MUST_USE int vault_fetch(struct vault *v, struct span id, uint64_t unix_s, struct span *ret_binding,
			 struct secret *ret_secret);
/* Seals a new one. 0, VAULT_E_SEALED, VAULT_E_BINDING, VAULT_E_SECRET, VAULT_E_STORAGE or VAULT_E_FULL. */
MUST_USE int vault_add(struct vault *v, struct span binding, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX],
		       size_t *ret_len);
