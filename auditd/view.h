/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment as it is read: a window that pread() fills, one after the other. Never mmap(): there a bad sector, or a
 * file that is cut meanwhile, is a signal that ends the process; here it is an answer that names the place.
 */
#pragma once

#include "auditd/segment.h"

#define VIEW_WINDOW_BYTES (1U << 20)
#define VIEW_WHY_BYTES    (SEGMENT_FILE_BYTES + 80)

enum view_err {
	VIEW_E_MISSING = 1, /* of both, view_why() says where and what */
	VIEW_E_UNREADABLE,
};

struct view {
	int fd;
	uint64_t size; /* when it was opened */
	char path[SEGMENT_FILE_BYTES];
	uint8_t *window;
	uint64_t at; /* [at, at + len) lies in the window */
	size_t len;
	uint64_t bad_at; /* where reading failed */
	int error;       /* errno; 0: the file ends there */
};

#define VIEW_NULL ((struct view){.fd = -1})

/* The segment that begins with entry `first`, of the log in `dir`. 0, VIEW_E_* or negative; then nothing is to close.
 */
MUST_USE int view_open(struct view *v, int dir, uint64_t first);
void view_close(struct view *v);
/* "seg/... cannot be read at byte ...: Input/output error". */
void view_why(const struct view *v, char to[VIEW_WHY_BYTES]);

/* What the window had may have been changed since: it is read again. */
void view_refresh(struct view *v);
/*
 * What the file has from `at` on: at least as much as the largest entry, or all of it. Nothing at and behind its end.
 * Valid until the next call. 0 or VIEW_E_UNREADABLE.
 */
MUST_USE int view_read(struct view *v, uint64_t at, struct span *ret);
/* segment_tail() of all from `at` on, where entry `index` would stand. 0, VIEW_E_UNREADABLE or -ENOMEM. */
MUST_USE int view_tail(struct view *v, uint64_t at, uint64_t index, enum tail *ret, size_t *ret_bytes);
/* [at, at + len) into fresh memory, the caller's. 0, VIEW_E_UNREADABLE (the file may be shorter) or -ENOMEM. */
MUST_USE int view_copy(struct view *v, uint64_t at, size_t len, uint8_t **ret);
