/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/prefix.h"

#include <assert.h>
#include <stdlib.h>

/* A bundle that was not removed: has it the leaves of this tile? */
static int prefix_check_bundle(struct tree *t, uint64_t n, const struct tile *tile)
{
	struct merkle_hash hash;
	struct span rest, leaf;
	uint8_t *bytes;
	size_t len;

	int r = tile_read_bundle(t->dir, n, TILE_WIDTH, &bytes, &len);
	if (r)
		return r == TILE_E_MISSING ? 0 : r;
	rest = span_of(bytes, len);
	for (unsigned i = 0; i < TILE_WIDTH && !r; i++) {
		if (!tile_bundle_next(&rest, &leaf)) {
			r = TILE_E_DAMAGED;
			break;
		}
		merkle_hash_leaf(leaf, &hash);
		r = merkle_hash_eq(&hash, &tile->hashes[i]) ? 0 : TILE_E_DAMAGED;
	}
	free(bytes);
	return !r && rest.len > 0 ? TILE_E_DAMAGED : r;
}

static int prefix_tile(struct tree *t, uint64_t n)
{
	struct tile tile;

	int r = tile_read(t->dir, 0, n, TILE_WIDTH, &tile);
	if (!r)
		r = prefix_check_bundle(t, n, &tile);
	for (unsigned i = 0; i < TILE_WIDTH && !r; i++)
		r = tree_append_hash(t, &tile.hashes[i]);
	return r;
}

/* The first `width` leaves of bundle n. */
static int prefix_leaves(struct tree *t, uint64_t n, unsigned width)
{
	struct span rest, leaf;
	uint8_t *bytes;
	size_t len;

	int r = tile_read_bundle(t->dir, n, width, &bytes, &len);
	if (r)
		return r;
	rest = span_of(bytes, len);
	for (unsigned i = 0; i < width && !r; i++)
		r = tile_bundle_next(&rest, &leaf) && leaf.len > 0 && leaf.len <= LEAF_BYTES_MAX ? tree_append(t, leaf)
												 : TILE_E_DAMAGED;
	free(bytes);
	return r;
}

int prefix_grow(struct tree *t, uint64_t size)
{
	int r = 0;

	assert(t->merkle.size == 0);
	for (uint64_t n = 0; n < size / TILE_WIDTH && !r; n++)
		r = prefix_tile(t, n);
	if (!r && size % TILE_WIDTH > 0)
		r = prefix_leaves(t, size / TILE_WIDTH, (unsigned)(size % TILE_WIDTH));
	return r;
}
