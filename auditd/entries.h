/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a log folder by their index, for readers who search: a page is the records of one bundle. Pages come
 * from tile/entries, and what no bundle has yet from the last segment; a folder that was served and copied has no
 * segments, and ends with its checkpoint. What retention has removed is missing at the beginning.
 *
 * Nothing is compared with the signed tree: that is verify_log()'s work. The folder may be in use.
 */
#pragma once

#include "auditd/tile.h"
#include "auditd/view.h"

enum entries_err {
	ENTRIES_E_DAMAGED = 1, /* neither a bundle nor a segment has it */
	ENTRIES_E_NONE,        /* not a log's folder */
	ENTRIES_E_UNREADABLE,  /* `why` says where */
};

struct entries_page {
	uint64_t first; /* index of leaves[0] */
	unsigned n;
	struct span leaves[TILE_WIDTH];
	uint8_t *bundle, *segment; /* what they lie in, or NULL */
};

#define ENTRIES_PAGE_NULL ((struct entries_page){0})

struct entries {
	int dir;
	uint64_t first, end; /* there are records [first, end) */
	struct view view;    /* the last segment */
	uint64_t view_first; /* its first index */
	uint64_t view_end;   /* where its entries end */
	uint64_t *offsets;   /* in it: of its entry 0, 256, 512 ... */
	size_t n_offsets;
	char why[VIEW_WHY_BYTES];
};

/* 0, ENTRIES_E_NONE, ENTRIES_E_UNREADABLE or negative; then there is nothing to close. */
MUST_USE int entries_open(const char *path, struct entries *ret);
void entries_close(struct entries *e);

/*
 * The records of bundle `index / 256`, from the first to the last that there are: `index` is one of them (asserted).
 * Valid until entries_page_deinit(), which is called for the page before. 0, ENTRIES_E_DAMAGED, ENTRIES_E_UNREADABLE or
 * negative.
 */
MUST_USE int entries_page(struct entries *e, uint64_t index, struct entries_page *page);
void entries_page_deinit(struct entries_page *page);
