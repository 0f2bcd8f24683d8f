/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to a witness and what it answers, sans I/O: C2SP tlog-witness, add-checkpoint. */
#pragma once

#include "common/buf.h"
#include "common/note.h"

#define COSIGN_REQUEST_BYTES_MAX 32768

enum cosign_err {
	COSIGN_E_NONE = 1, /* no valid cosignature of this witness's is in the answer */
	COSIGN_E_SPACE,
};

/* "old <size>", the proof that the tree grew from there, an empty line, the checkpoint. 0, BUF_E_FULL or -ENOMEM. */
MUST_USE int cosign_request(uint64_t old_size, const struct merkle_proof *proof, struct span note, struct buf *to);
/* The body of a 409: the size that the witness remembers. False when it is none. */
bool cosign_size(struct span body, uint64_t *ret);
/* Puts the witness's cosignature of `base`, one line of the answer, behind the note. Other lines are left out. 0 or
 * COSIGN_E_*. */
MUST_USE int cosign_take(struct span base, struct span body, const struct note_key *witness, char *note, size_t cap,
			 size_t *len);
