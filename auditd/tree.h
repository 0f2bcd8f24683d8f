/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing tree and its files: every full tile and bundle is written when it becomes full, the partial ones at each
 * checkpoint and before each new segment. The files are derived from the segments: they are written in place, each with
 * one write, and not synchronised one by one. tree_sync() makes all of them durable, and a segment's head is written
 * only after it, so that recovery from a segment never needs a tile that could be lost; later ones, which a crash may
 * have left unfinished, it writes again.
 */
#pragma once

#include "auditd/leaf.h"
#include "auditd/tile.h"

#define TREE_BUNDLE_BYTES (TILE_WIDTH * (2 + LEAF_BYTES_MAX))

struct tree {
	int dir; /* borrowed */
	/* What is done with a tile or bundle: written, unless a reader who checks them says otherwise. 0 or not. */
	int (*emit)(int dir, const char *path, struct span bytes);
	struct merkle_tree merkle;
	struct merkle_hash last_leaf;   /* hash of the newest leaf */
	struct tile right[TILE_LEVELS]; /* the incomplete tile of each level */
	uint8_t *bundle;                /* the incomplete bundle */
	size_t bundle_len;
	bool recovering;
	int unwritten; /* why a tile could not be written while recovering; then none is any more */
	struct tree_bundle {
		uint64_t n;
		uint8_t *bytes;
		size_t len;
	} * kept; /* the full bundles among those */
	size_t n_kept;
};

enum tree_err {
	TREE_E_DAMAGED = 1, /* the tiles on disk do not give this tree */
};

/* An empty tree over the folder. 0 or -ENOMEM. */
MUST_USE int tree_init(struct tree *t, int dir);
void tree_deinit(struct tree *t);
enum tree_mode {
	TREE_GROWS,
	/* Tiles that are there already are written over, and one that cannot be is no failure: t->unwritten. */
	TREE_RECOVERS,
	TREE_FINDS, /* the same, and nothing is written at all */
	TREE_LOOKS, /* what is on the disk does not matter */
};
void tree_set(struct tree *t, enum tree_mode mode);
/* Becomes the empty tree. */
void tree_clear(struct tree *t);
/* Becomes the tree of the first `size` leaves, read from tiles and checked against `root`. 0, TREE_E_DAMAGED or
 * negative. */
MUST_USE int tree_load(struct tree *t, uint64_t size, const struct merkle_hash *root);

/* `leaf` of 1 to LEAF_BYTES_MAX bytes. 0 or negative. */
MUST_USE int tree_append(struct tree *t, struct span leaf);
/* A leaf of which only the hash is left; never behind leaves in the same bundle. 0 or negative. */
MUST_USE int tree_append_hash(struct tree *t, const struct merkle_hash *hash);
/* Writes the partial tiles and the partial bundle of the present size. 0 or negative. */
MUST_USE int tree_flush(struct tree *t);
/* Everything written so far is durable. 0 or negative. */
MUST_USE int tree_sync(const struct tree *t);

/* A merkle_source for the present tree: 0, TILE_E_* or negative. */
int tree_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret);
/*
 * The bundle that holds leaf `index`, from that leaf on. *ret_owned is the caller's to free, NULL when the bundle is
 * the one in memory, valid until the next append. 0, TILE_E_* or negative.
 */
MUST_USE int tree_leaves(struct tree *t, uint64_t index, struct span *ret_bundle, uint8_t **ret_owned);

/* Writes or replaces a file directly in the folder: whole or not at all, and durable. 0 or negative. */
MUST_USE int tree_write_durable(int dir, const char *name, struct span bytes);
/* The same for who writes beside the one who writes the log: by way of a file of his own. */
MUST_USE int tree_write_durable_by(int dir, const char *tmp, const char *name, struct span bytes);
