/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a segment file, without I/O. Little endian throughout.
 *
 *   head     8192 bytes: magic, CRC, log id, first index, root and last leaf hash of everything before, the file's
 *            length, table of producers
 *   entry    magic u32 | leaf bytes u32 | crc32c u32 | place u32 | index u64 | leaf | zeros to a multiple of 8
 *   entry    ...
 *   zeros    to the end of the file
 *
 * The CRC covers the whole entry with its own field zero. `place` is the entry's place in its commit: index - place is
 * where that commit began. Commits are strictly one after the other, each durable before the next is written, so what a
 * crash can tear is exactly one commit, the last, of which nothing was acknowledged. Its sectors may have reached the
 * disk in any order. Hence the rule of segment_tail(): after the first entry that cannot be read, whole entries of the
 * same commit are debris; an entry of a later commit proves that the damaged one was once durable, and then nobody
 * may cut anything.
 *
 * The head lets recovery start at any segment: the root at its first index is checked against the tiles, and the table
 * says which sequence number of each producer came last.
 */
#pragma once

#include "common/merkle.h"

#define SEGMENT_HEAD_BYTES 8192
#define ENTRY_HEAD_BYTES   24
#define ENTRY_LEAF_MAX     65535 /* C2SP tlog-tiles: u16 lengths in bundles */
#define SOURCES_MAX        200

/* A producer and the last sequence number of its that is in the log. */
struct source {
	uint8_t role, worker;
	uint8_t boot[16];
	uint64_t last_seq;
};

struct sources {
	size_t n;
	struct source all[SOURCES_MAX];
};

struct segment_head {
	uint8_t log_id[16];
	uint64_t first_index;
	struct merkle_hash root;      /* of the tree of first_index leaves */
	struct merkle_hash last_leaf; /* hash of leaf first_index - 1; zeros for the first segment */
	uint64_t file_bytes;          /* the segment's length, which never changes */
	struct sources sources;
};

struct entry {
	uint64_t index;
	uint32_t place;
	struct span leaf; /* into the input */
	size_t bytes;     /* of the whole entry */
};

enum format_err {
	FORMAT_E_END = 1, /* zeros: nothing was written here */
	FORMAT_E_DAMAGED, /* something else than what we write */
	FORMAT_E_FULL,    /* no room for one more producer */
};

enum tail { TAIL_CLEAN, TAIL_TORN, TAIL_CORRUPT };

/* The producer's row, NULL when there is none. */
struct source *sources_find(struct sources *s, uint8_t role, uint8_t worker);
/* Sets the last sequence number of a producer; a new boot replaces the old. 0 or FORMAT_E_FULL. */
MUST_USE int sources_set(struct sources *s, const struct source *source);

void segment_head_write(const struct segment_head *head, uint8_t to[SEGMENT_HEAD_BYTES]);
/* 0, FORMAT_E_END or FORMAT_E_DAMAGED. */
MUST_USE int segment_head_read(struct span in, struct segment_head *ret);

/* Bytes of an entry with such a leaf. */
size_t entry_bytes(size_t leaf_bytes);
/* The leaf already lies at to + ENTRY_HEAD_BYTES; head and padding are written around it. Returns entry_bytes(). */
size_t entry_seal(uint8_t *to, size_t leaf_bytes, uint64_t index, uint32_t place);
/* The entry at the front of `in`, which must have this index. 0, FORMAT_E_END or FORMAT_E_DAMAGED. */
MUST_USE int entry_read(struct span in, uint64_t index, struct entry *ret);

/*
 * Judges everything after the last good entry, where entry `index` would stand; `in` starts at a multiple of 8 of the
 * file. *ret_bytes: up to the last byte that is not zero.
 */
enum tail segment_tail(struct span in, uint64_t index, size_t *ret_bytes);
