/* SPDX-License-Identifier: Apache-2.0 */
/* A secret that its use replaced (PROTO_AUTH_OAUTH_REFRESH). */
#pragma once

#include "keyvault/vault_credentials.h"

/* The next version of the credential, with the same binding. Only its `secret` is new. 0 or VAULT_E_*. */
MUST_USE int vault_renew(struct vault *v, struct span id, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX],
			 size_t *ret_len);
