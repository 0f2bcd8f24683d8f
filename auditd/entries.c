/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/entries.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/proof.h"
#include "auditd/segment.h"
#include "common/err.h"

#define ENTRIES_NOTE_MAX 65536

/* ---- the last segment ---- */

/* The first index of the first and the last segment; false when there is none. */
static bool entries_segments(int dir, uint64_t *ret_first, uint64_t *ret_last)
{
	int fd = openat(dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	uint64_t first, low = UINT64_MAX, high = 0;
	bool found = false;

	for (const struct dirent *e = list ? readdir(list) : NULL; e; e = readdir(list)) {
		if (!segment_name_parse(e->d_name, &first))
			continue;
		low = MIN(low, first);
		high = MAX(high, first);
		found = true;
	}
	if (list)
		(void)closedir(list);
	*ret_first = low;
	*ret_last = high;
	return found;
}

static int entries_map(struct entries *e, uint64_t first)
{
	char name[SEGMENT_NAME_BYTES], path[SEGMENT_NAME_BYTES + 8];
	struct stat st;

	segment_name(name, first);
	(void)snprintf(path, sizeof path, "seg/%s", name);
	int fd = openat(e->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_origin(-errno);
	int r = fstat(fd, &st) < 0 ? err_origin(-errno) : 0;
	void *p = MAP_FAILED;
	if (!r && st.st_size > SEGMENT_HEAD_BYTES)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (r || p == MAP_FAILED)
		return r;
	e->map = span_of(p, (size_t)st.st_size);
	return 0;
}

/* The entry `index` at *at, which goes on behind it; false where none is whole. */
static bool entries_next(const struct entries *e, size_t *at, uint64_t index, struct entry *ret)
{
	if (*at >= e->map.len || entry_read(span_of(e->map.p + *at, e->map.len - *at), index, ret))
		return false;
	*at += ret->bytes;
	return true;
}

/* Notes where every 256th entry is, and where they end. */
static int entries_index(struct entries *e)
{
	struct entry entry;
	size_t at = SEGMENT_HEAD_BYTES, cap = 0;

	for (uint64_t n = 0;; n++) {
		size_t begin = at;
		bool more = entries_next(e, &at, e->map_first + n, &entry);
		if (n % TILE_WIDTH == 0 && more) {
			if (e->n_offsets == cap) {
				cap = cap ? 2 * cap : 64;
				size_t *grown = reallocarray(e->offsets, cap, sizeof *grown);
				if (!grown)
					return -ENOMEM;
				e->offsets = grown;
			}
			e->offsets[e->n_offsets++] = begin;
		}
		if (!more) {
			e->end = e->map_first + n;
			return 0;
		}
	}
}

/* ---- opening ---- */

/* As far as the checkpoint says, and from the first bundle on. */
static int entries_by_checkpoint(struct entries *e)
{
	struct checkpoint cp;
	uint8_t *note;
	size_t len;
	char path[TILE_PATH_MAX];

	int r = tile_slurp(e->dir, "checkpoint", ENTRIES_NOTE_MAX, &note, &len);
	if (r)
		return r < 0 ? r : ENTRIES_E_NONE;
	if (checkpoint_parse(proof_note_text(span_of(note, len)), &cp))
		r = ENTRIES_E_NONE;
	free(note);
	if (r)
		return r;
	e->end = cp.size;
	e->map_first = UINT64_MAX;
	for (e->first = 0; e->first < e->end; e->first += TILE_WIDTH) {
		uint64_t n = e->first / TILE_WIDTH;
		tile_path(path, TILE_ENTRIES, n, tile_width(TILE_ENTRIES, n, e->end));
		if (faccessat(e->dir, path, R_OK, 0) == 0)
			break;
		tile_path(path, TILE_ENTRIES, n, TILE_WIDTH);
		if (faccessat(e->dir, path, R_OK, 0) == 0)
			break;
	}
	e->first = MIN(e->first, e->end);
	return 0;
}

int entries_open(const char *path, struct entries *ret)
{
	struct entries e = {.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	int r;

	if (e.dir < 0)
		return -errno;
	if (entries_segments(e.dir, &e.first, &e.map_first)) {
		r = entries_map(&e, e.map_first);
		if (!r)
			r = entries_index(&e);
	} else {
		r = entries_by_checkpoint(&e);
	}
	if (r)
		entries_close(&e);
	else
		*ret = e;
	return r;
}

void entries_close(struct entries *e)
{
	if (e->map.p)
		(void)munmap((void *)(uintptr_t)e->map.p, e->map.len);
	free(e->offsets);
	(void)close(e->dir);
	*e = (struct entries){.dir = -1};
}

/* ---- pages ---- */

/* Leaves [page->first, ...) from the bundle on disk, `want` of them or as many as there are. */
static int entries_from_bundle(struct entries *e, uint64_t n, unsigned want, struct entries_page *page)
{
	uint64_t begin = n * TILE_WIDTH;
	struct span bundle, leaf;
	size_t len;

	int r = tile_read_bundle(e->dir, n, want, &page->owned, &len);
	if (r)
		return r < 0 ? r : ENTRIES_E_DAMAGED;
	bundle = span_of(page->owned, len);
	for (uint64_t index = begin; index < begin + want; index++) {
		if (!tile_bundle_next(&bundle, &leaf))
			return ENTRIES_E_DAMAGED;
		if (index >= page->first)
			page->leaves[page->n++] = leaf;
	}
	return 0;
}

/* Appends the last segment's entries [index, end). */
static int entries_from_segment(struct entries *e, uint64_t index, uint64_t end, struct entries_page *page)
{
	uint64_t place = (index - e->map_first) / TILE_WIDTH, at_index = e->map_first + place * TILE_WIDTH;
	size_t at = e->offsets[place];
	struct entry entry;

	for (; at_index < end; at_index++) {
		if (!entries_next(e, &at, at_index, &entry))
			return ENTRIES_E_DAMAGED;
		if (at_index >= index)
			page->leaves[page->n++] = entry.leaf;
	}
	return 0;
}

int entries_page(struct entries *e, uint64_t index, struct entries_page *page)
{
	uint64_t n = index / TILE_WIDTH, begin = n * TILE_WIDTH, end = MIN(begin + TILE_WIDTH, e->end);

	assert(index >= e->first && index < e->end);
	entries_page_deinit(page);
	page->first = MAX(begin, e->first);
	uint64_t middle = MIN(MAX(e->map_first, page->first), end); /* from here on the last segment has them */
	if (middle > page->first) {
		int r = entries_from_bundle(e, n, (unsigned)(middle - begin), page);
		if (r)
			return r;
	}
	return middle < end ? entries_from_segment(e, middle, end, page) : 0;
}

void entries_page_deinit(struct entries_page *page)
{
	free(page->owned);
	*page = ENTRIES_PAGE_NULL;
}
