/* SPDX-License-Identifier: Apache-2.0 */
/* A vault in a folder of its own, with a key file unless the test says otherwise; and bindings for what it seals. */
#pragma once

#include "keyvault/vault_credentials.h"

struct vault_fixture {
	char dir[64]; /* the state folder */
	struct config config;
	struct secret_arena *arena;
	struct vault vault; /* not started */
};

void vault_fixture_init(struct vault_fixture *f);
/* Proves that no path left a key in the arena. */
void vault_fixture_deinit(struct vault_fixture *f);
/* What the launcher and the operator's command do: open the file that holds the root key; -1 where there is none. */
int vault_fixture_key(const struct vault_fixture *f);

/* For a provider of the same name, `since` this version. The first outlives neither id nor, packed, `to`. */
struct proto_binding binding_of(const char *id, uint64_t version);
struct span binding_pack(const struct proto_binding *b, uint8_t to[SEAL_BINDING_BYTES_MAX]);
