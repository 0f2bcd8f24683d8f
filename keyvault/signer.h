/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signature under the audit log. auditd keeps the log but not the key; the signer keeps the key and remembers what
 * it signed last (keyvault/witness.h). It signs a tree only when the consistency proof shows that it grew from that
 * one, so a captured auditd can neither shorten the log nor fork it.
 *
 * The name of the key is the origin of the log, "bulkhead.<id>/audit". It is chosen when the vault is first opened and
 * kept in the witness from then on; nothing is signed for another origin.
 *
 * Below the log's signature stands a cosignature (C2SP tlog-cosignature) of the witness that the signer is as well,
 * "bulkhead.<id>/witness", with a key of its own: so a policy can ask for it beside witnesses of other machines.
 */
#pragma once

#include "common/note.h"
#include "common/secret.h"
#include "keyvault/witness.h"
#include "proto/proto.h"

#define SIGNER_NOTE_BYTES_MAX 1024

struct signer {
	struct secret_arena *arena;
	struct witness witness;
	struct secret key, cosigner_key; /* Ed25519 secret keys; SECRET_NULL while closed */
	struct note_key name, cosigner;
};

#define SIGNER_NULL ((struct signer){0})

enum signer_err {
	SIGNER_E_CLOSED = 1, /* the vault is sealed */
	SIGNER_E_ORIGIN,     /* another log */
	SIGNER_E_SIZE,       /* old_size is not what was signed last, or the tree would shrink */
	SIGNER_E_FORK,       /* the proof does not lead from the tree signed last to this one */
	SIGNER_E_STORAGE,    /* the witness could not be made durable */
	SIGNER_E_FULL,       /* the arena has no room */
};

/* `witness` is copied; its descriptor stays the caller's. */
void signer_init(struct signer *s, struct secret_arena *arena, const struct witness *witness);
/* Wipes the key. Idempotent. */
void signer_close(struct signer *s);
/* Makes the key pairs from two seeds of 32 bytes; names the log if it has no name yet. 0, SIGNER_E_FULL or
 * SIGNER_E_STORAGE. */
MUST_USE int signer_open(struct signer *s, const struct secret *seed, const struct secret *cosigner_seed);

/* C2SP verifier keys of log and witness, "" while closed. */
void signer_vkey(const struct signer *s, char to[NOTE_VKEY_MAX]);
void signer_cosigner_vkey(const struct signer *s, char to[NOTE_VKEY_MAX]);
/* Any message is allowed. Nothing is remembered unless it is durable. 0 or SIGNER_E_*. */
MUST_USE int signer_sign(struct signer *s, const struct proto_sign_checkpoint *m, uint64_t now_unix_s,
			 char ret_note[SIGNER_NOTE_BYTES_MAX], size_t *ret_len);
const char *signer_err_text(int e);
