/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundles of anybody's making, and the paths of tiles. A bundle that is walked to its end is made of its leaves and
 * nothing else; a node of a tile is the one that the tree over its hashes has.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/tile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct span bundle)
{
	struct span rest = bundle, leaf;
	size_t bytes = 0;

	while (tile_bundle_next(&rest, &leaf)) {
		assert(leaf.len <= 65535 && leaf.p >= bundle.p + 2 && leaf.p + leaf.len <= bundle.p + bundle.len);
		bytes += 2 + leaf.len;
	}
	assert(bytes + rest.len == bundle.len);
}

static void path(uint64_t n, unsigned width)
{
	char text[TILE_PATH_MAX];
	uint64_t again = 0;

	tile_path(text, TILE_ENTRIES, n, width);
	for (const char *p = text + sizeof("tile/entries/") - 1; *p && *p != '.'; p++)
		if (*p >= '0' && *p <= '9')
			again = again * 10 + (uint64_t)(*p - '0');
	assert(again == n && (strchr(text, '.') != NULL) == (width % TILE_WIDTH > 0));
}

static void node(struct span in)
{
	struct merkle_tree tree = MERKLE_TREE_NULL;
	struct merkle_hash root, found;
	static struct tile tile;
	unsigned height = 0;

	tile.n = (unsigned)MIN(in.len / MERKLE_HASH_BYTES, (size_t)TILE_WIDTH);
	if (tile.n == 0)
		return;
	memcpy(tile.hashes, in.p, tile.n * sizeof tile.hashes[0]);
	while (2U << height <= tile.n)
		height++;
	for (unsigned i = 0; i < 1U << height; i++)
		merkle_tree_append(&tree, &tile.hashes[i]);
	merkle_tree_root(&tree, &root);
	tile_node(&tile, 0, height, &found);
	assert(merkle_hash_eq(&root, &found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t n;

	walk(span_of(data, size));
	node(span_of(data, size));
	if (size >= sizeof n + 1) {
		memcpy(&n, data, sizeof n);
		path(n / TILE_WIDTH, data[sizeof n]); /* of at most 2^64 leaves */
	}
	return 0;
}
