/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key in shares, one for each keeper, as text that a person can type:
 *
 *      bhshare1 | threshold u8 | index u8 | set 4 | 36 bytes | checksum          Bech32, 82 characters
 *
 * What is shared (shamir.h) is the root key and 4 bytes of its hash, so that a wrong result is known for one, and so
 * that the shares below the threshold tell nothing even of the hash. `set` is random: it says which shares belong
 * together. The checksum finds a slip of the pen before anybody asks which share it is in. Spaces, hyphens and line
 * ends between the characters do not count.
 */
#pragma once

#include "common/secret.h"
#include "keyvault/root.h"
#include "keyvault/shamir.h"

#define SHARE_TEXT_BYTES    82
#define SHARE_THRESHOLD_MIN 2

enum share_err {
	SHARE_E_NUMBERS = 1, /* not 2 <= threshold <= shares <= SHAMIR_SHARES_MAX */
	SHARE_E_FULL,        /* the arena has no room */
	SHARE_E_FORM,        /* no share of ours, or mistyped: ret_which says which */
	SHARE_E_MIXED,       /* not of the same set as the first */
	SHARE_E_TWICE,       /* the same index as one before */
	SHARE_E_FEW,         /* fewer than the threshold */
	SHARE_E_WRONG,       /* they do not fit together */
};

/* `root` becomes `n` shares of SHARE_TEXT_BYTES each in *ret_texts, which the caller frees; each was tried. The arena
 * is closed. 0, SHARE_E_NUMBERS or SHARE_E_FULL. */
MUST_USE int share_split(struct secret_arena *a, const struct secret *root, unsigned n, unsigned threshold,
			 struct secret *ret_texts);
/* The root key from as many shares as are there, which must all fit: the caller frees. `texts` may lie in the open
 * arena. 0 or SHARE_E_*, and *ret_which the place of the one that is wrong. */
MUST_USE int share_join(struct secret_arena *a, const struct span texts[], size_t n, struct secret *ret_root,
			size_t *ret_which);
const char *share_err_text(int e);
