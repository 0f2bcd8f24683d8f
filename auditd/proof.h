/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs from a log folder, and C2SP tlog-proof: one text file that proves, offline and to anybody who has the verifier
 * key, that an entry is in the log.
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64 of the entry>      ours: the leaf, so that the file says what it proves
 *   index <decimal>
 *   <base64 hash>...                 from the leaf's sibling up
 *   <empty line>
 *   <checkpoint>
 */
#pragma once

#include "common/buf.h"
#include "common/tlog_policy.h"

#define PROOF_BYTES_MAX 196608

enum proof_err {
	PROOF_E_MISSING = 1, /* making: no checkpoint yet, or it does not cover the index */
	PROOF_E_DAMAGED,     /* making: tiles or bundles cannot be read */
	PROOF_E_MALFORMED,   /* checking: not such a text */
	PROOF_E_INVALID,     /* checking: it does not prove it */
	PROOF_E_PRUNED,      /* making: retention removed the entry itself */
	PROOF_E_QUORUM,      /* checking: it does, but too few witnesses cosigned */
};

struct proof {
	uint64_t index, size;
	uint8_t leaf[65535];
	size_t leaf_len;
};

/* The proof of entry `index` in the log folder's checkpoint. 0, PROOF_E_MISSING, _DAMAGED, _PRUNED or negative. */
MUST_USE int proof_make(const char *path, uint64_t index, struct buf *to);
/* The same in an open folder, and the size that its checkpoint has. 0, PROOF_E_* as above or negative. */
MUST_USE int proof_make_in(int dir, uint64_t index, struct buf *to);
MUST_USE int proof_signed_size(int dir, uint64_t *ret_size);
/* Signature, origin, and that the leaf is entry `index` of the signed tree. 0, PROOF_E_MALFORMED or PROOF_E_INVALID. */
MUST_USE int proof_check(struct span text, const struct note_key *key, struct proof *ret);
/* The same, and the policy's quorum; a NULL key: the policy's logs. Also PROOF_E_QUORUM. */
MUST_USE int proof_check_policy(struct span text, const struct tlog_policy *policy, const struct note_key *key,
				struct proof *ret);

struct consistency {
	uint64_t old_size, size;
	struct merkle_hash old_root, root;
	struct merkle_proof proof;
};

/* The text of a note, whoever signed it; empty where it is none. */
struct span proof_note_text(struct span note);
/*
 * Roots of the first `old_size` and the first `size` entries as the folder's tiles give them, and the proof from one to
 * the other, checked. old_size <= size is asserted. 0, PROOF_E_MISSING (the folder's checkpoint does not reach so far),
 * PROOF_E_DAMAGED or negative.
 */
MUST_USE int proof_consistency(const char *path, uint64_t old_size, uint64_t size, struct consistency *ret);
