/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed form of a provider key, as authd stores it. Sans I/O.
 *
 *      "BHV2" | u16 BE length | packed BINDING | u32 BE generation | commitment 32      the head
 *      | tenant key id 16 | credential key, wrapped 72                                  what a rotation of it replaces
 *      | nonce 24 | ciphertext | tag 16
 *
 * XChaCha20-Poly1305 twice: the secret under a random key of this blob alone, with the head as additional data, and
 * that key under the tenant's key, with the head and the tenant key's id. So whoever can write the database can neither
 * read a key nor move it to another tenant, host, path or header, nor put one blob's key before another's secret. A
 * rotation of tenant keys exchanges the middle part only. The AEAD does not commit to its key; the commitment does.
 *
 * Lengths: the binding's is given and checked against the blob; the secret's follows from what is left.
 */
#pragma once

#include "keyvault/keys.h"
#include "proto/proto.h"

#define SEAL_BINDING_BYTES_MAX 2560
#define SEAL_SECRET_BYTES_MAX  4096
#define SEAL_BYTES_MAX         8192
#define SEAL_OVERHEAD_BYTES    (4 + 2 + 4 + 32 + KEYS_ID_BYTES + KEYS_WRAPPED_BYTES + 24 + 16)

enum seal_err {
	SEAL_E_FORM = 1, /* not a sealed credential */
	SEAL_E_BINDING,  /* the binding says something that no provider key may be bound to */
	SEAL_E_KEY,      /* under a tenant key that is not there: another vault's, or retired */
	SEAL_E_TAG,      /* damaged */
	SEAL_E_OLD,      /* its credential key was rotated away */
	SEAL_E_SECRET,   /* the secret cannot stand in a header */
	SEAL_E_FULL,     /* the arena has no room */
};

/* The parts of a blob, views into it; nothing is authenticated yet. */
struct seal_view {
	struct proto_binding binding;
	uint32_t generation;
	struct span binding_packed, head, commitment, key_id, wrapped, nonce, box;
};

/* Where a secret may be sent: https, host and header in lower case, a path prefix from the root, no control characters;
 * versions in order; and how (common/binding_auth.h). 0 or SEAL_E_BINDING. */
MUST_USE int seal_check_binding(const struct proto_binding *b);
/* 0, SEAL_E_FORM or SEAL_E_BINDING. */
MUST_USE int seal_parse(struct span blob, struct seal_view *ret_view);

/* The keys are open in all that follows. */

/* `secret` may lie in the arena, which is open then. The tenant has a key. Writes at most SEAL_BYTES_MAX bytes. 0,
 * SEAL_E_FORM, SEAL_E_BINDING, SEAL_E_SECRET, SEAL_E_KEY or SEAL_E_FULL. */
MUST_USE int seal_credential(struct keys *k, struct span binding_packed, struct span secret,
			     uint8_t ret_blob[SEAL_BYTES_MAX], size_t *ret_len);
/* Authenticates and decrypts into the arena; the caller frees. 0, SEAL_E_KEY, SEAL_E_TAG, SEAL_E_OLD, SEAL_E_SECRET or
 * SEAL_E_FULL. */
MUST_USE int seal_open(struct keys *k, const struct seal_view *view, struct secret *ret_secret);
/* The same secret under the same credential key, wrapped under the tenant's ACTIVE key. As seal_open(), but that the
 * secret itself is not touched. */
MUST_USE int seal_rewrap(struct keys *k, const struct seal_view *view, uint8_t ret_blob[SEAL_BYTES_MAX],
			 size_t *ret_len);
/* The same secret under a fresh credential key of the current generation. As seal_open(). */
MUST_USE int seal_again(struct keys *k, const struct seal_view *view, uint8_t ret_blob[SEAL_BYTES_MAX],
			size_t *ret_len);
