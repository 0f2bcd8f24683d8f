/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C2SP tlog-tiles layout under a log folder, for readers: paths, tiles of hashes, bundles of entries.
 *
 *   checkpoint   tile/<level>/<n>[.p/<width>]   tile/entries/<n>[.p/<width>]
 *
 * n in groups of three digits, all but the last with an x: 1234067 is x001/x234/067. A tile of level L holds up to 256
 * nodes of tree level 8 L; a bundle holds up to 256 leaves, each after its length as u16 big endian. What is read from
 * disk is nobody's word: sizes are checked here, hashes by whoever recomputes a root.
 */
#pragma once

#include "common/merkle.h"

#define TILE_WIDTH    256
#define TILE_HEIGHT   8
#define TILE_LEVELS   8
#define TILE_ENTRIES  (-1) /* in place of a level: the bundles */
#define TILE_PATH_MAX 80
/* A bundle of 256 leaves of the largest size that the format allows. */
#define BUNDLE_BYTES_MAX (TILE_WIDTH * (2 + 65535))

enum tile_err {
	TILE_E_MISSING = 1,
	TILE_E_DAMAGED,
};

struct tile {
	unsigned n; /* hashes */
	struct merkle_hash hashes[TILE_WIDTH];
};

/* "tile/0/x001/234"; `width` 0 or TILE_WIDTH for a full one. */
void tile_path(char to[TILE_PATH_MAX], int level, uint64_t n, unsigned width);
/* How many nodes (leaves, for TILE_ENTRIES) tile `n` of `level` has in a tree of `size`: 0 to 256. */
unsigned tile_width(int level, uint64_t n, uint64_t size);

/* At least `width` hashes of a tile, from the full one or the partial one. 0, TILE_E_* or negative. */
MUST_USE int tile_read(int dir, unsigned level, uint64_t n, unsigned width, struct tile *ret);
/* The root of nodes [first, first + (1 << height)) of a tile. */
void tile_node(const struct tile *tile, unsigned first, unsigned height, struct merkle_hash *ret);

/* A whole file of at most `max` bytes into fresh memory. 0, TILE_E_MISSING, TILE_E_DAMAGED (longer) or negative. */
MUST_USE int tile_slurp(int dir, const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_len);
/* The file has these bytes. 0, TILE_E_* or negative. */
MUST_USE int tile_expect(int dir, const char *path, struct span bytes);
/* The same of one that need not be there yet, nor be whole. */
MUST_USE int tile_expect_begun(int dir, const char *path, struct span bytes);
/* Not one of its tiles: the folder itself. */
bool tile_folder_is_missing(int dir);
/* The bundle that covers at least `width` leaves; *ret_bytes is the caller's to free. 0, TILE_E_* or negative. */
MUST_USE int tile_read_bundle(int dir, uint64_t n, unsigned width, uint8_t **ret_bytes, size_t *ret_len);
/* Takes the next leaf of a bundle; false at the end or where it is malformed (then bundle->len > 0). */
bool tile_bundle_next(struct span *bundle, struct span *ret_leaf);

/* A merkle_source over a folder, for a tree of `size`; remembers the last tile of each level. */
struct tile_source {
	int dir;
	uint64_t size;
	struct {
		bool valid;
		uint64_t n;
		struct tile tile;
	} cache[TILE_LEVELS];
};

void tile_source_init(struct tile_source *s, int dir, uint64_t size);
int tile_source_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret);
