/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share that need the root key: vault.c, backup.c. */
#pragma once

#include "cli/locked.h"
#include "cli/root_source.h"
#include "proto/proto.h"

#define VAULT_KDF_MS 60000 /* Argon2id takes its time */

/* That the operator may have the vault opened: the passphrase, or the key file, as keyvault.unseal has it. */
struct vault_proof {
	struct locked passphrase;
	int key_fd;
};

#define VAULT_PROOF_NULL ((struct vault_proof){.key_fd = -1})

/* Asks for it. To be wiped in every case. CLI_DONE, or CLI_FAILED with the line printed. */
MUST_USE int vault_proof(struct cli *cli, struct vault_proof *ret);
void vault_proof_wipe(struct vault_proof *p);
/* --key-file, or what keyvault.unseal says. CLI_DONE, or CLI_FAILED with the line printed. */
MUST_USE int vault_open_key_file(struct cli *cli, int *ret_fd);
/* A passphrase for a root key to be, asked for twice; none where the vault has none. As above. */
MUST_USE int vault_new_passphrase(struct cli *cli, struct locked *ret);
/* That the vault waits for a root key from us; the core will look again. As above. */
MUST_USE int vault_check_fresh(struct cli *cli);
/* Sends to the core, awaits DONE and says `done`. What opens the vault takes away the mark of a seal. `fd` stays the
 * caller's; -1: none. */
MUST_USE int vault_send(struct cli *cli, enum proto_type type, const void *msg, int fd, const char *done);
