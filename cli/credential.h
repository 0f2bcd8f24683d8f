/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of storing a provider key, for all commands that do: bind (binding.h), seal, put. All return CLI_DONE, or
 * CLI_FAILED with the line printed. */
#pragma once

#include "cli/admin.h"
#include "cli/binding.h"

#define BINDING_BYTES_MAX 2560 /* as in VAULT_ADD and VAULT_ADDED */
#define BLOB_BYTES_MAX    8192

#define CREDENTIAL_ID_BYTES 65

/* What there is of a credential. */
struct credential_versions {
	uint64_t last; /* ever stored; 0: none */
	uint64_t live; /* the newest that is; 0: none */
};

/* "provider", or "provider@tenant". `to` is kept by the caller as long as the id is used. */
MUST_USE int credential_id(struct cli *cli, const char *provider, const char *tenant, char to[CREDENTIAL_ID_BYTES]);
MUST_USE int credential_version(struct admin *authd, const char *id, struct credential_versions *ret);
/* *ret views `packed`. */
MUST_USE int credential_pack(struct cli *cli, const struct proto_binding *binding, uint8_t packed[BINDING_BYTES_MAX],
			     struct span *ret);
/* Asks the core by a message that VAULT_ADDED answers. */
MUST_USE int credential_seal(struct cli *cli, enum proto_type type, const void *msg, uint8_t blob[BLOB_BYTES_MAX],
			     size_t *ret_len);
/* Hands the sealed blob to authd. */
MUST_USE int credential_put(struct admin *authd, const struct proto_binding *binding, struct span blob);
/* Says so. */
MUST_USE int credential_added(struct cli *cli, const struct proto_binding *binding);
