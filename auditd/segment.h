/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files as the writer has them: `seg/<first index, 20 digits>.seg`, allocated and filled with zeros before use,
 * so that a commit never changes a file's length, and the next one always made beforehand (`seg/next`), so that a full
 * disk is met one segment early. A commit is one pwrite and one fdatasync, and before it a look whether the file is
 * still the one that its path leads to, and whole: a log that was unlinked, replaced (itself or a folder above it) or
 * cut is noticed before anything else is acknowledged.
 *
 * `seg/spare` has nothing but room. It is given up when the disk is full and retention has something to remove, which
 * must be recorded, in the tree and signed first (pruner.h).
 */
#pragma once

#include "auditd/format.h"

#define SEGMENT_NAME_BYTES 32
#define SEGMENT_FILE_BYTES (SEGMENT_NAME_BYTES + 8)
#define SEGMENT_PATH_BYTES 4096
/* The spare is as long as the next segment and its tiles, and never shorter than the tiles of a few checkpoints. */
#define SEGMENT_SPARE_BYTES(segment_bytes) MAX(2 * (uint64_t)(segment_bytes), UINT64_C(4) << 20)

struct segment {
	int dir; /* the folder seg, owned */
	int fd;  /* of the one that is being written */
	uint64_t dev, ino;
	char path[SEGMENT_PATH_BYTES]; /* of the folder */
	char name[SEGMENT_NAME_BYTES];
	uint64_t end;         /* where the next entry goes */
	uint64_t bytes_max;   /* of each new segment */
	uint64_t size;        /* of this one, which may have been made under another configuration */
	uint64_t spare_bytes; /* of seg/spare; 0: there shall be none */
};

#define SEGMENT_NULL ((struct segment){.dir = -1, .fd = -1})

void segment_name(char to[SEGMENT_NAME_BYTES], uint64_t first_index);
/* "seg/..." in the log's folder. */
void segment_file(char to[SEGMENT_FILE_BYTES], uint64_t first_index);

/* First indices of the segments below `log_dir`, ascending; *ret is the caller's, NULL when there are none. 0 or
 * negative.
 */
MUST_USE int segment_list(int log_dir, uint64_t **ret, size_t *ret_n);

/* Opens (makes) the folder under `log_dir`, which is the one at `path`. 0 or negative. */
MUST_USE int segment_init(struct segment *s, int log_dir, const char *path, uint64_t bytes_max);
void segment_deinit(struct segment *s);
/* Makes seg/next unless it is there in full size. Touches nothing that a commit touches. 0 or negative (-ENOSPC). */
MUST_USE int segment_reserve(const struct segment *s);
/* Makes seg/spare unless it is there in full size; likewise. Where files cannot be given room beforehand there is none.
 */
MUST_USE int segment_keep_spare(const struct segment *s);
MUST_USE bool segment_has_spare(const struct segment *s);
/* Gives its room back to the disk. 0 or negative. */
MUST_USE int segment_give_spare(const struct segment *s);
/* Turns seg/next into the segment that is written from now on; fills in head->file_bytes. 0 or negative. */
MUST_USE int segment_start(struct segment *s, const struct segment_head *head);
/* Continues an existing one, `end` bytes into it. 0 or negative. */
MUST_USE int segment_resume(struct segment *s, uint64_t first_index, uint64_t end);
/*
 * After segment_resume(): zeros what a torn commit left behind the end, and makes the whole durable: what reads well,
 * [from, end), may be only in the kernel's memory if the sync of its commit failed in the life before this one, and
 * would then never be written; so it is written again. 0 or negative.
 */
MUST_USE int segment_settle(struct segment *s, uint64_t from, size_t debris_bytes);

static inline uint64_t segment_room(const struct segment *s)
{
	return s->size - s->end;
}

/* Makes `bytes` durable, which must fit. 0 or negative; after a failure the process must not write again. */
MUST_USE int segment_commit(struct segment *s, struct span bytes);
