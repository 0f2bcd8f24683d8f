/* SPDX-License-Identifier: Apache-2.0 */
#include "common/merkle.h"

#include <assert.h>

#include "common/sha256.h"

void merkle_hash_leaf(struct span leaf, struct merkle_hash *ret)
{
	static const uint8_t prefix = 0;
	const struct span parts[] = {span_of(&prefix, 1), leaf};

	sha256(parts, ARRAY_LEN(parts), ret->b);
}

void merkle_hash_node(const struct merkle_hash *left, const struct merkle_hash *right, struct merkle_hash *ret)
{
	const struct {
		uint8_t prefix;
		struct merkle_hash left, right;
	} node = {1, *left, *right};
	const struct span bytes = span_of(&node, sizeof(node));

	_Static_assert(sizeof(node) == 1 + 2 * MERKLE_HASH_BYTES, "nothing in between");
	sha256(&bytes, 1, ret->b);
}

bool merkle_hash_eq(const struct merkle_hash *a, const struct merkle_hash *b)
{
	return span_eq(span_of(a->b, sizeof a->b), span_of(b->b, sizeof b->b));
}

void merkle_tree_append(struct merkle_tree *t, const struct merkle_hash *leaf)
{
	struct merkle_hash hash = *leaf;
	unsigned level = 0;

	/* Like adding one to a binary number: each set bit is a full subtree that joins the new one. */
	for (uint64_t size = t->size; size & 1; size >>= 1) {
		struct merkle_hash left = t->peaks[level];
		t->peaks[level++] = hash;
		merkle_hash_node(&left, &hash, &hash);
	}
	t->peaks[level] = hash;
	t->size++;
}

void merkle_tree_root(const struct merkle_tree *t, struct merkle_hash *ret)
{
	bool found = false;
	struct merkle_hash hash;

	for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
		if (!(t->size & BIT(level)))
			continue;
		if (found)
			merkle_hash_node(&t->peaks[level], &hash, &hash);
		else
			hash = t->peaks[level];
		found = true;
	}
	if (!found)
		sha256(NULL, 0, hash.b);
	*ret = hash;
}

/* Root of leaves [begin, begin + n), n > 0, where `begin` is a multiple of the largest power of two that is <= n. */
static int merkle_range(const struct merkle_source *source, uint64_t begin, uint64_t n, struct merkle_hash *ret)
{
	struct merkle_hash hash, node;
	uint64_t end = begin + n;
	bool found = false;

	for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
		if (!(n & BIT(level)))
			continue;
		end -= BIT(level);
		int r = source->node(source->ctx, level, end >> level, found ? &node : &hash);
		if (r)
			return r;
		if (found)
			merkle_hash_node(&node, &hash, &hash);
		found = true;
	}
	*ret = hash;
	return 0;
}

int merkle_root(const struct merkle_source *source, uint64_t size, struct merkle_hash *ret)
{
	if (size == 0) {
		sha256(NULL, 0, ret->b);
		return 0;
	}
	return merkle_range(source, 0, size, ret);
}

/* The largest power of two below n > 1: where RFC 6962 splits a tree. */
static uint64_t merkle_split(uint64_t n)
{
	return BIT(63 - __builtin_clzll(n - 1));
}

static void merkle_reverse(struct merkle_proof *proof)
{
	for (size_t i = 0; i < proof->n / 2; i++) {
		struct merkle_hash hash = proof->hashes[i];
		proof->hashes[i] = proof->hashes[proof->n - 1 - i];
		proof->hashes[proof->n - 1 - i] = hash;
	}
}

static int merkle_prove_range(const struct merkle_source *source, uint64_t begin, uint64_t n,
			      struct merkle_proof *proof)
{
	assert(proof->n < MERKLE_PROOF_MAX);
	return merkle_range(source, begin, n, &proof->hashes[proof->n++]);
}

int merkle_prove_inclusion(const struct merkle_source *source, uint64_t index, uint64_t size, struct merkle_proof *ret)
{
	struct merkle_proof proof = {0};
	uint64_t begin = 0;

	assert(index < size);
	for (uint64_t n = size; n > 1;) {
		uint64_t k = merkle_split(n);
		bool left = index - begin < k;
		int r = left ? merkle_prove_range(source, begin + k, n - k, &proof)
			     : merkle_prove_range(source, begin, k, &proof);
		if (r)
			return r;
		begin = left ? begin : begin + k;
		n = left ? k : n - k;
	}
	merkle_reverse(&proof);
	*ret = proof;
	return 0;
}

int merkle_prove_consistency(const struct merkle_source *source, uint64_t old_size, uint64_t size,
			     struct merkle_proof *ret)
{
	struct merkle_proof proof = {0};
	uint64_t begin = 0, n = size;
	bool known = true; /* [begin, old_size) is the whole old tree, whose root the verifier has */
	int r;

	assert(old_size > 0 && old_size <= size);
	while (old_size - begin < n) {
		uint64_t k = merkle_split(n);
		if (old_size - begin <= k) {
			r = merkle_prove_range(source, begin + k, n - k, &proof);
			n = k;
		} else {
			r = merkle_prove_range(source, begin, k, &proof);
			begin += k;
			n -= k;
			known = false;
		}
		if (r)
			return r;
	}
	if (!known) {
		r = merkle_prove_range(source, begin, n, &proof);
		if (r)
			return r;
	}
	merkle_reverse(&proof);
	*ret = proof;
	return 0;
}

int merkle_verify_inclusion(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
			    const struct merkle_hash *proof, size_t n, const struct merkle_hash *root)
{
	struct merkle_hash hash = *leaf;

	if (index >= size)
		return MERKLE_E_INVALID;
	uint64_t last = size - 1;
	for (size_t i = 0; i < n; i++) {
		if (last == 0)
			return MERKLE_E_INVALID;
		if ((index & 1) || index == last) {
			merkle_hash_node(&proof[i], &hash, &hash);
			while (!(index & 1) && index) {
				index >>= 1;
				last >>= 1;
			}
		} else {
			merkle_hash_node(&hash, &proof[i], &hash);
		}
		index >>= 1;
		last >>= 1;
	}
	return last == 0 && merkle_hash_eq(&hash, root) ? 0 : MERKLE_E_INVALID;
}

int merkle_verify_consistency(uint64_t old_size, const struct merkle_hash *old_root, uint64_t size,
			      const struct merkle_hash *root, const struct merkle_hash *proof, size_t n)
{
	if (old_size == size && size > 0)
		return n == 0 && merkle_hash_eq(old_root, root) ? 0 : MERKLE_E_INVALID;
	if (old_size == 0 || old_size > size || n == 0)
		return MERKLE_E_INVALID;

	/* An old tree of 2^k leaves is a node of the new one: its root starts the proof and is not sent. */
	bool implied = (old_size & (old_size - 1)) == 0;
	struct merkle_hash old = implied ? *old_root : proof[0], new = old;
	uint64_t index = old_size - 1, last = size - 1;
	while (index & 1) {
		index >>= 1;
		last >>= 1;
	}
	for (size_t i = implied ? 0 : 1; i < n; i++) {
		if (last == 0)
			return MERKLE_E_INVALID;
		if ((index & 1) || index == last) {
			merkle_hash_node(&proof[i], &old, &old);
			merkle_hash_node(&proof[i], &new, &new);
			while (!(index & 1) && index) {
				index >>= 1;
				last >>= 1;
			}
		} else {
			merkle_hash_node(&new, &proof[i], &new);
		}
		index >>= 1;
		last >>= 1;
	}
	return last == 0 && merkle_hash_eq(&old, old_root) && merkle_hash_eq(&new, root) ? 0 : MERKLE_E_INVALID;
}
