/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Merkle tree of RFC 6962, section 2.1, over SHA-256: hashes, the growing tree, proofs made and proofs checked.
 *
 * A node is named by (level, index): the root of the complete subtree over leaves [index << level, (index + 1) <<
 * level). Making a proof takes a source of such nodes (tiles on disk, an array); checking one takes nothing but the
 * hashes.
 */
#pragma once

#include "common/base.h"

#define MERKLE_HASH_BYTES 32
#define MERKLE_LEVELS     64
/* A consistency proof has at most one hash a level and one more. */
#define MERKLE_PROOF_MAX 65

struct merkle_hash {
	uint8_t b[MERKLE_HASH_BYTES];
};

struct merkle_proof {
	size_t n;
	struct merkle_hash hashes[MERKLE_PROOF_MAX];
};

/*
 * A tree that only grows. peaks[level] is the root of the newest complete subtree of that level; those of the bits that
 * are set in `size` make the root.
 */
struct merkle_tree {
	uint64_t size;
	struct merkle_hash peaks[MERKLE_LEVELS];
};

#define MERKLE_TREE_NULL ((struct merkle_tree){0})

/* `node` fills *ret with a complete subtree's root: 0, negative, or positive for an answer that proof makers pass on.
 */
struct merkle_source {
	int (*node)(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret);
	void *ctx;
};

enum merkle_err {
	MERKLE_E_INVALID = 1, /* the proof does not prove it */
};

void merkle_hash_leaf(struct span leaf, struct merkle_hash *ret);
void merkle_hash_node(const struct merkle_hash *left, const struct merkle_hash *right, struct merkle_hash *ret);
bool merkle_hash_eq(const struct merkle_hash *a, const struct merkle_hash *b);

void merkle_tree_append(struct merkle_tree *t, const struct merkle_hash *leaf);
/* The root; SHA-256 of nothing for the empty tree. */
void merkle_tree_root(const struct merkle_tree *t, struct merkle_hash *ret);

/* Root of the first `size` leaves. 0 or what the source said. */
MUST_USE int merkle_root(const struct merkle_source *source, uint64_t size, struct merkle_hash *ret);
/* `index < size`; 1 <= old_size <= size: asserted. 0 or what the source said. */
MUST_USE int merkle_prove_inclusion(const struct merkle_source *source, uint64_t index, uint64_t size,
				    struct merkle_proof *ret);
MUST_USE int merkle_prove_consistency(const struct merkle_source *source, uint64_t old_size, uint64_t size,
				      struct merkle_proof *ret);

/* Any input is allowed. 0 or MERKLE_E_INVALID. (RFC 9162, sections 2.1.3.2 and 2.1.4.2.) */
MUST_USE int merkle_verify_inclusion(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
				     const struct merkle_hash *proof, size_t n, const struct merkle_hash *root);
/*
 * That the tree (size, root) grew from (old_size, old_root). Nothing can be proven about old_size 0 unless size is 0
 * too: whoever remembers an empty tree accepts any successor without asking here.
 */
MUST_USE int merkle_verify_consistency(uint64_t old_size, const struct merkle_hash *old_root, uint64_t size,
				       const struct merkle_hash *root, const struct merkle_hash *proof, size_t n);
