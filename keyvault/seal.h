/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed form of a provider key, as authd stores it. Sans I/O.
 *
 *      "BHV1" | u16 BE length | packed BINDING | commitment 32 | nonce 24 | ciphertext | tag 16
 *
 * XChaCha20-Poly1305 under a key of this credential and version alone; everything before the nonce is additional data.
 * So whoever can write the database can neither read a key nor move it to another tenant, host, path or header, nor
 * pass an old version for a new one. The AEAD does not commit to its key; the commitment does, and it tells a blob of
 * another root key from a damaged one. When tenant keys are rotated it also tells which version of them a blob is
 * under.
 *
 * Lengths: the binding's is given and checked against the blob; the secret's follows from what is left.
 */
#pragma once

#include "common/secret.h"
#include "keyvault/keyring.h"
#include "proto/proto.h"

#define SEAL_BINDING_BYTES_MAX 2560
#define SEAL_SECRET_BYTES_MAX  4096
#define SEAL_BYTES_MAX         8192
#define SEAL_OVERHEAD_BYTES    (4 + 2 + 32 + 24 + 16)

enum seal_err {
	SEAL_E_FORM = 1, /* not a sealed credential */
	SEAL_E_BINDING,  /* the binding says something that no provider key may be bound to */
	SEAL_E_KEY,      /* sealed under another root key, or damaged before the ciphertext */
	SEAL_E_TAG,      /* damaged */
	SEAL_E_SECRET,   /* the secret cannot stand in a header */
	SEAL_E_FULL,     /* the arena has no room */
};

/* The parts of a blob, views into it; nothing is authenticated yet. */
struct seal_view {
	struct proto_binding binding;
	struct span binding_packed, header, commitment, nonce, box;
};

/* Where a secret may be sent: https, host and header in lower case, a path prefix from the root, no control characters;
 * and how (common/binding_auth.h).
 * 0 or SEAL_E_BINDING. */
MUST_USE int seal_check_binding(const struct proto_binding *b);
/* 0, SEAL_E_FORM or SEAL_E_BINDING. */
MUST_USE int seal_parse(struct span blob, struct seal_view *ret_view);
/* The keyring is open, `secret` too if it lies in the arena. Writes at most SEAL_BYTES_MAX bytes. 0, SEAL_E_FORM,
 * SEAL_E_BINDING, SEAL_E_SECRET or SEAL_E_FULL. */
MUST_USE int seal_credential(struct keyring *k, struct span binding_packed, struct span secret,
			     uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len);
/* Authenticates and decrypts into the arena; the caller frees. 0, SEAL_E_KEY, SEAL_E_TAG, SEAL_E_SECRET or SEAL_E_FULL.
 */
MUST_USE int seal_open(struct keyring *k, const struct seal_view *view, struct secret *ret_secret);
/* For the log and the operator. */
const char *seal_err_text(int e);
