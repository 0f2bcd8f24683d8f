/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/folder.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

static PRINTF_LIKE(2, 3) int folder_bad(struct folder *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(f->why, sizeof(f->why), format, args);
	va_end(args);
	return FOLDER_E_BAD;
}

int folder_open(struct folder *f, const char *path, const struct note_key *key)
{
	*f = (struct folder){.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .pinned = key != NULL};
	if (key)
		f->key = *key;
	return f->dir < 0 ? -errno : 0;
}

void folder_close(struct folder *f)
{
	if (f->dir >= 0)
		(void)close(f->dir);
	f->dir = -1;
}

/* What cannot be read is told as such, since an operator can mend it; all else ends the process. */
static int folder_unreadable(struct folder *f, const char *what, int r)
{
	if (r == -ENOMEM)
		return r;
	if (r == -EACCES || r == -EPERM)
		return folder_bad(f, "%s cannot be read: the log's folder is not open to the shipper's group", what);
	return folder_bad(f, "%s cannot be read: %s", what, strerrordesc_np(-r));
}

/* A file that is missing is not there yet. */
static int folder_slurp(struct folder *f, const char *name, size_t max, uint8_t **ret_bytes, size_t *ret_len)
{
	int r = tile_slurp(f->dir, name, max, ret_bytes, ret_len);

	if (r == TILE_E_MISSING)
		return FOLDER_E_NONE;
	if (r < 0)
		return folder_unreadable(f, name, r);
	return r > 0 ? folder_bad(f, "%s is longer than it can be", name) : 0;
}

/* ---- checkpoints ---- */

static int folder_read_key(struct folder *f)
{
	uint8_t *bytes;
	size_t len;

	if (f->pinned)
		return 0;
	int r = folder_slurp(f, "vkey", NOTE_VKEY_MAX, &bytes, &len);
	if (r)
		return r;
	len -= len > 0 && bytes[len - 1] == '\n';
	if (note_key_parse(&f->key, span_of(bytes, len)))
		r = folder_bad(f, "vkey is not a verifier key");
	free(bytes);
	f->pinned = r == 0;
	return r;
}

static int folder_take(struct folder *f, struct span note)
{
	struct checkpoint cp;
	struct span text;

	if (note_verify(note, &f->key, &text) || checkpoint_parse(text, &cp))
		return folder_bad(f, "the checkpoint is not signed by %s", f->key.name);
	if (!span_eq_str(cp.origin, f->key.name))
		return folder_bad(f, "the checkpoint is of another log than %s", f->key.name);
	if (cp.size == f->size && (cp.size == 0 || merkle_hash_eq(&cp.root, &f->root)))
		return FOLDER_E_NONE;
	f->size = cp.size;
	f->root = cp.root;
	memcpy(f->note, note.p, note.len);
	f->note_len = note.len;
	tile_source_init(&f->tiles, f->dir, cp.size);
	return 0;
}

int folder_refresh(struct folder *f)
{
	uint8_t *note;
	size_t len;
	int r = folder_read_key(f);

	if (!r)
		r = folder_slurp(f, "checkpoint", FOLDER_NOTE_MAX, &note, &len);
	if (r)
		return r;
	r = folder_take(f, span_of(note, len));
	free(note);
	return r;
}

/* What a source of tiles says, as our answer. */
static int folder_tiles(struct folder *f, int r)
{
	if (r < 0)
		return folder_unreadable(f, "a tile in tile/", r);
	return r > 0 ? folder_bad(f, "a tile in tile/ is missing or damaged") : 0;
}

int folder_grew(struct folder *f, uint64_t old_size, const struct merkle_hash *old_root)
{
	struct merkle_source source = {tile_source_node, &f->tiles};
	struct merkle_proof proof = {0};
	int r = 0;

	if (old_size == 0)
		return 0;
	if (old_size < f->size)
		r = folder_tiles(f, merkle_prove_consistency(&source, old_size, f->size, &proof));
	if (r || merkle_verify_consistency(old_size, old_root, f->size, &f->root, proof.hashes, proof.n) == 0)
		return r;
	(void)folder_bad(f,
			 "the log was %s: %" PRIu64
			 " records were signed before, and they are not the first of these %" PRIu64,
			 old_size > f->size ? "set back" : "forked", old_size, f->size);
	return FOLDER_E_FORKED;
}

/* ---- records ---- */

/* Nodes of the tree: within the tile that is being proven from our copy of it, which nobody can exchange meanwhile. */
static int folder_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	struct folder *f = ctx;
	uint64_t first = index << level;

	if (level >= TILE_HEIGHT || first / TILE_WIDTH != f->tile_n)
		return tile_source_node(&f->tiles, level, index, ret);
	if (first % TILE_WIDTH + (1U << level) > f->tile.n)
		return TILE_E_DAMAGED;
	tile_node(&f->tile, (unsigned)(first % TILE_WIDTH), level, ret);
	return 0;
}

/*
 * Takes the tile with the bundle's hashes into f->tile and proves it: the inclusion proof of its first leaf is computed
 * from all of its hashes, so that one proof stands for each of them.
 */
static int folder_take_tile(struct folder *f, uint64_t n)
{
	struct merkle_source source = {folder_node, f};
	uint64_t first = n * TILE_WIDTH;
	struct merkle_proof proof;

	f->tile_n = n;
	int r = folder_tiles(f, tile_read(f->dir, 0, n, tile_width(0, n, f->size), &f->tile));
	if (!r)
		r = folder_tiles(f, merkle_prove_inclusion(&source, first, f->size, &proof));
	if (!r && merkle_verify_inclusion(&f->tile.hashes[0], first, f->size, proof.hashes, proof.n, &f->root))
		r = folder_bad(f, "the tiles of records from %" PRIu64 " on do not lead to the signed root", first);
	return r;
}

/* Leaf `at` of the bundle, which must be the one that the tile has there. */
static int folder_row(struct folder *f, uint64_t index, struct span leaf, struct row *ret)
{
	if (row_read(leaf, index, ret))
		return folder_bad(f, "record %" PRIu64 " is not one of this version", index);
	if (!merkle_hash_eq(&ret->hash, &f->tile.hashes[index % TILE_WIDTH]))
		return folder_bad(f, "record %" PRIu64 " is not the one that was signed", index);
	return 0;
}

static int folder_rows_of(struct folder *f, uint64_t index, size_t n, struct span bundle, struct folder_rows *rows)
{
	struct span leaf;
	int r = 0;

	for (uint64_t at = index - index % TILE_WIDTH; at < index + n && !r; at++) {
		if (!tile_bundle_next(&bundle, &leaf))
			return folder_bad(f, "the bundle of record %" PRIu64 " is damaged", index);
		if (at >= index)
			r = folder_row(f, at, leaf, &rows->rows[rows->n++]);
	}
	return r;
}

/* The records were removed by retention; their hashes stay. */
static int folder_hashes_of(const struct folder *f, uint64_t index, size_t n, struct folder_rows *rows)
{
	for (size_t i = 0; i < n; i++)
		rows->rows[i] = (struct row){.index = index + i, .hash = f->tile.hashes[(index + i) % TILE_WIDTH]};
	rows->n = n;
	rows->pruned = true;
	return FOLDER_E_PRUNED;
}

static bool folder_has_bundle(const struct folder *f, uint64_t n)
{
	char path[TILE_PATH_MAX];
	struct stat st;

	tile_path(path, TILE_ENTRIES, n, TILE_WIDTH);
	return fstatat(f->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/*
 * Retention removes whole bundles, the oldest first: all before one that it removed are gone, too. Any other that is
 * missing is one that a power failure lost, or a restored copy never had, and auditd makes again.
 */
static bool folder_is_pruned(const struct folder *f, uint64_t n)
{
	return tile_width(TILE_ENTRIES, n, f->size) == TILE_WIDTH &&
	       (n == 0 || (!folder_has_bundle(f, 0) && !folder_has_bundle(f, n - 1)));
}

int folder_read(struct folder *f, uint64_t index, size_t max, struct folder_rows *rows)
{
	uint64_t bundle = index / TILE_WIDTH;
	unsigned width = tile_width(TILE_ENTRIES, bundle, f->size);
	size_t n = MIN(max, (size_t)(width - index % TILE_WIDTH)), len;

	folder_rows_free(rows);
	int r = folder_take_tile(f, bundle);
	if (r)
		return r;
	r = tile_read_bundle(f->dir, bundle, width, &rows->bytes, &len);
	if (r == TILE_E_MISSING && folder_is_pruned(f, bundle))
		return folder_hashes_of(f, index, n, rows);
	if (r)
		return folder_tiles(f, r);
	return folder_rows_of(f, index, n, span_of(rows->bytes, len), rows);
}

void folder_rows_free(struct folder_rows *rows)
{
	free(rows->bytes);
	rows->bytes = NULL;
	rows->n = 0;
	rows->pruned = false;
}
