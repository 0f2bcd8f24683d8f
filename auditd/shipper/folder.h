/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log folder as its reader sees it: the checkpoint that is signed now, and the records under it. Nothing of it is
 * believed for its own sake: a checkpoint counts when the log's key signed it, records count when they and their tile
 * lead to the checkpoint's root, one checkpoint follows another when the tree proves it. So the shipper passes on what
 * the vault signed, or nothing.
 *
 * What it reads are the files that any C2SP client reads: checkpoint, vkey, tile/. Segments stay closed to it.
 */
#pragma once

#include "auditd/shipper/row.h"
#include "auditd/tile.h"
#include "common/note.h"

#define FOLDER_NOTE_MAX 16384
#define FOLDER_ROWS_MAX TILE_WIDTH

enum folder_err {
	FOLDER_E_NONE = 1, /* nothing is signed yet, or nothing new */
	FOLDER_E_BAD,      /* see `why`: it cannot be read, or does not prove what it should; may be mended */
	FOLDER_E_FORKED,   /* see `why`: the vault signed this, and before it something else */
	FOLDER_E_PRUNED,   /* the records are gone, their hashes are there */
};

struct folder {
	int dir;
	bool pinned;         /* `key` is set: it was given, or read and is not read again */
	struct note_key key; /* signs the log */
	uint64_t size;       /* of the checkpoint; 0: none yet */
	struct merkle_hash root;
	char note[FOLDER_NOTE_MAX];
	size_t note_len;
	char why[256];
	struct tile_source tiles; /* of this size */
	struct tile tile;         /* proven: hashes of the bundle that was read last */
	uint64_t tile_n;
};

/* Records of one bundle, from anywhere in it. */
struct folder_rows {
	size_t n;
	struct row rows[FOLDER_ROWS_MAX];
	bool pruned;    /* `index` and `hash` only */
	uint8_t *bytes; /* what the rows point into; owned */
};

/* `key` NULL: the one in the folder, from the first look on. 0 or negative. */
MUST_USE int folder_open(struct folder *f, const char *path, const struct note_key *key);
void folder_close(struct folder *f);

/* Looks for another checkpoint. 0: there is one, well signed, and size, root and note are its own. Else FOLDER_E_NONE,
 * FOLDER_E_BAD or negative; everything is as before. */
MUST_USE int folder_refresh(struct folder *f);
/* That the present tree grew from that one. 0, FOLDER_E_BAD, FOLDER_E_FORKED or negative. */
MUST_USE int folder_grew(struct folder *f, uint64_t old_size, const struct merkle_hash *old_root);
/* Up to `max` records from `index` < f->size on, of one bundle, proven. *rows is replaced. 0, FOLDER_E_BAD,
 * FOLDER_E_PRUNED (hashes alone: rows->pruned) or negative. */
MUST_USE int folder_read(struct folder *f, uint64_t index, size_t max, struct folder_rows *rows);
void folder_rows_free(struct folder_rows *rows);
