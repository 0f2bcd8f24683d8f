/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/entries.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/proof.h"
#include "auditd/segment.h"
#include "common/err.h"

#define ENTRIES_NOTE_MAX 65536

/* ---- the last segment ---- */

static int entries_unreadable(struct entries *e, int r)
{
	if (r <= 0)
		return r;
	view_why(&e->view, e->why);
	return ENTRIES_E_UNREADABLE;
}

/* Notes where every 256th entry is, and where they end. */
static int entries_index(struct entries *e)
{
	uint64_t at = SEGMENT_HEAD_BYTES;
	struct entry entry;
	struct span rest;
	size_t cap = 0;

	for (uint64_t n = 0;; n++) {
		int r = view_read(&e->view, at, &rest);
		if (r)
			return entries_unreadable(e, r);
		e->end = e->view_first + n;
		e->view_end = at;
		if (rest.len == 0 || entry_read(rest, e->end, &entry))
			return 0;
		if (n % TILE_WIDTH == 0) {
			if (e->n_offsets == cap) {
				cap = cap ? 2 * cap : 64;
				uint64_t *grown = reallocarray(e->offsets, cap, sizeof *grown);
				if (!grown)
					return -ENOMEM;
				e->offsets = grown;
			}
			e->offsets[e->n_offsets++] = at;
		}
		at += entry.bytes;
	}
}

static int entries_last(struct entries *e)
{
	int r = view_open(&e->view, e->dir, e->view_first);

	if (r == VIEW_E_MISSING)
		return err_origin(-ENOENT);
	return r ? entries_unreadable(e, r) : entries_index(e);
}

/* ---- opening ---- */

static bool entries_has_bundle(const struct entries *e, uint64_t n)
{
	char path[TILE_PATH_MAX];

	tile_path(path, TILE_ENTRIES, n, tile_width(TILE_ENTRIES, n, e->end));
	if (faccessat(e->dir, path, R_OK, 0) == 0)
		return true;
	tile_path(path, TILE_ENTRIES, n, TILE_WIDTH);
	return faccessat(e->dir, path, R_OK, 0) == 0;
}

/* Retention takes bundles from the beginning. The size is anybody's word, so it is not counted up to. */
static uint64_t entries_first_bundle(const struct entries *e)
{
	uint64_t low = 0, high = e->end / TILE_WIDTH + (e->end % TILE_WIDTH != 0);

	while (low < high) {
		uint64_t at = MIN(2 * low, low + (high - low) / 2); /* near the beginning first */
		if (entries_has_bundle(e, at))
			high = at;
		else
			low = at + 1;
	}
	return low;
}

/* As far as the checkpoint says, and from the first bundle on. */
static int entries_by_checkpoint(struct entries *e)
{
	struct checkpoint cp;
	uint8_t *note;
	size_t len;

	int r = tile_slurp(e->dir, "checkpoint", ENTRIES_NOTE_MAX, &note, &len);
	if (r)
		return r < 0 ? r : ENTRIES_E_NONE;
	if (checkpoint_parse(proof_note_text(span_of(note, len)), &cp))
		r = ENTRIES_E_NONE;
	free(note);
	if (r)
		return r;
	e->end = cp.size;
	e->view_first = UINT64_MAX;
	uint64_t first = entries_first_bundle(e);
	e->first = first > e->end / TILE_WIDTH ? e->end : first * TILE_WIDTH;
	return 0;
}

int entries_open(const char *path, struct entries *ret)
{
	struct entries e = {.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .view = VIEW_NULL};
	uint64_t *firsts;
	size_t n;

	if (e.dir < 0)
		return -errno;
	int r = segment_list(e.dir, &firsts, &n);
	if (r == 0 && n > 0) {
		e.first = firsts[0];
		e.view_first = firsts[n - 1];
		free(firsts);
		r = entries_last(&e);
	} else if (r == 0 || r == -ENOENT) {
		r = entries_by_checkpoint(&e);
	}
	if (r)
		entries_close(&e);
	*ret = e;
	return r;
}

void entries_close(struct entries *e)
{
	view_close(&e->view);
	free(e->offsets);
	(void)close(e->dir);
	e->offsets = NULL;
	e->dir = -1;
}

/* ---- pages ---- */

/* Leaves [page->first, ...) from the bundle on disk, `want` of them or as many as there are. */
static int entries_from_bundle(struct entries *e, uint64_t n, unsigned want, struct entries_page *page)
{
	uint64_t begin = n * TILE_WIDTH;
	struct span bundle, leaf;
	size_t len;

	int r = tile_read_bundle(e->dir, n, want, &page->bundle, &len);
	if (r)
		return r < 0 ? r : ENTRIES_E_DAMAGED;
	bundle = span_of(page->bundle, len);
	for (uint64_t index = begin; index < begin + want; index++) {
		if (!tile_bundle_next(&bundle, &leaf))
			return ENTRIES_E_DAMAGED;
		if (index >= page->first)
			page->leaves[page->n++] = leaf;
	}
	return 0;
}

/* Where the last segment's entries [0, 256), [256, 512) ... begin, or all of them end. */
static uint64_t entries_offset(const struct entries *e, uint64_t place)
{
	return place < e->n_offsets ? e->offsets[place] : e->view_end;
}

/* Appends the last segment's entries [index, end), of which there are some. */
static int entries_from_segment(struct entries *e, uint64_t index, uint64_t end, struct entries_page *page)
{
	uint64_t place = (index - e->view_first) / TILE_WIDTH, after = (end - 1 - e->view_first) / TILE_WIDTH + 1;
	uint64_t begin = entries_offset(e, place);
	size_t len = (size_t)(entries_offset(e, after) - begin);
	struct entry entry;

	int r = view_copy(&e->view, begin, len, &page->segment);
	if (r)
		return entries_unreadable(e, r);
	struct span rest = span_of(page->segment, len);
	for (uint64_t at = e->view_first + place * TILE_WIDTH; at < end; at++) {
		if (rest.len == 0 || entry_read(rest, at, &entry))
			return ENTRIES_E_DAMAGED;
		if (at >= index)
			page->leaves[page->n++] = entry.leaf;
		rest = span_of(rest.p + entry.bytes, rest.len - entry.bytes);
	}
	return 0;
}

int entries_page(struct entries *e, uint64_t index, struct entries_page *page)
{
	uint64_t n = index / TILE_WIDTH, begin = n * TILE_WIDTH, end = MIN(begin + TILE_WIDTH, e->end);

	assert(index >= e->first && index < e->end);
	entries_page_deinit(page);
	page->first = MAX(begin, e->first);
	uint64_t middle = MIN(MAX(e->view_first, page->first), end); /* from here on the last segment has them */
	if (middle > page->first) {
		int r = entries_from_bundle(e, n, (unsigned)(middle - begin), page);
		if (r)
			return r;
	}
	return middle < end ? entries_from_segment(e, middle, end, page) : 0;
}

void entries_page_deinit(struct entries_page *page)
{
	free(page->bundle);
	free(page->segment);
	*page = ENTRIES_PAGE_NULL;
}
