/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/format.h"

#include <assert.h>
#include <endian.h>

#include "common/crc32c.h"

#define SEGMENT_MAGIC UINT64_C(0x3130474553444242) /* "BBDSEG01" */
#define ENTRY_MAGIC   UINT32_C(0x31454242)         /* "BBE1" */

/* Offsets in the head. */
enum {
	HEAD_MAGIC = 0,
	HEAD_CRC = 8,
	HEAD_N_SOURCES = 12,
	HEAD_LOG_ID = 16,
	HEAD_FIRST = 32,
	HEAD_ROOT = 40,
	HEAD_LAST_LEAF = 72,
	HEAD_FILE_BYTES = 104,
	HEAD_SOURCES = 112,
	SOURCE_BYTES = 26,
};

/* Offsets in an entry's head. */
enum { ENTRY_AT_MAGIC = 0, ENTRY_AT_LEN = 4, ENTRY_AT_CRC = 8, ENTRY_AT_PLACE = 12, ENTRY_AT_INDEX = 16 };

static_assert(HEAD_SOURCES + SOURCES_MAX * SOURCE_BYTES <= SEGMENT_HEAD_BYTES, "the head has room for every producer");

static void put_u32(uint8_t *to, uint32_t v)
{
	v = htole32(v);
	memcpy(to, &v, sizeof v);
}

static void put_u64(uint8_t *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof v);
}

static uint32_t get_u32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, sizeof v);
	return le32toh(v);
}

static uint64_t get_u64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof v);
	return le64toh(v);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	/* A byte equal to its successor all the way down is equal to the first: memcmp does it a vector at a time. */
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* ---- producers ---- */

struct source *sources_find(struct sources *s, uint8_t role, uint8_t worker)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].role == role && s->all[i].worker == worker)
			return &s->all[i];
	return NULL;
}

int sources_set(struct sources *s, const struct source *source)
{
	struct source *row = sources_find(s, source->role, source->worker);

	if (!row) {
		if (s->n == SOURCES_MAX)
			return FORMAT_E_FULL;
		row = &s->all[s->n++];
	}
	*row = *source;
	return 0;
}

/* ---- heads ---- */

/* Over `len` bytes with the four at `at` taken as zero. */
static uint32_t crc_without(const uint8_t *p, size_t len, size_t at)
{
	static const uint8_t zeros[4];
	uint32_t crc = crc32c(0, p, at);

	crc = crc32c(crc, zeros, sizeof zeros);
	return crc32c(crc, p + at + 4, len - at - 4);
}

void segment_head_write(const struct segment_head *head, uint8_t to[SEGMENT_HEAD_BYTES])
{
	assert(head->sources.n <= SOURCES_MAX);
	memset(to, 0, SEGMENT_HEAD_BYTES);
	put_u64(to + HEAD_MAGIC, SEGMENT_MAGIC);
	put_u32(to + HEAD_N_SOURCES, (uint32_t)head->sources.n);
	memcpy(to + HEAD_LOG_ID, head->log_id, sizeof head->log_id);
	put_u64(to + HEAD_FIRST, head->first_index);
	memcpy(to + HEAD_ROOT, head->root.b, sizeof head->root.b);
	memcpy(to + HEAD_LAST_LEAF, head->last_leaf.b, sizeof head->last_leaf.b);
	put_u64(to + HEAD_FILE_BYTES, head->file_bytes);
	for (size_t i = 0; i < head->sources.n; i++) {
		const struct source *s = &head->sources.all[i];
		uint8_t *row = to + HEAD_SOURCES + i * SOURCE_BYTES;
		row[0] = s->role;
		row[1] = s->worker;
		memcpy(row + 2, s->boot, sizeof s->boot);
		put_u64(row + 18, s->last_seq);
	}
	put_u32(to + HEAD_CRC, crc32c(0, to, SEGMENT_HEAD_BYTES)); /* it is zero yet */
}

int segment_head_read(struct span in, struct segment_head *ret)
{
	const uint8_t *p = in.p;

	if (in.len < SEGMENT_HEAD_BYTES)
		return FORMAT_E_DAMAGED;
	if (all_zero(p, SEGMENT_HEAD_BYTES))
		return FORMAT_E_END;
	if (get_u64(p + HEAD_MAGIC) != SEGMENT_MAGIC ||
	    get_u32(p + HEAD_CRC) != crc_without(p, SEGMENT_HEAD_BYTES, HEAD_CRC))
		return FORMAT_E_DAMAGED;
	size_t n = get_u32(p + HEAD_N_SOURCES), end = HEAD_SOURCES + n * SOURCE_BYTES;
	if (n > SOURCES_MAX || !all_zero(p + end, SEGMENT_HEAD_BYTES - end))
		return FORMAT_E_DAMAGED;
	memcpy(ret->log_id, p + HEAD_LOG_ID, sizeof ret->log_id);
	ret->first_index = get_u64(p + HEAD_FIRST);
	memcpy(ret->root.b, p + HEAD_ROOT, sizeof ret->root.b);
	memcpy(ret->last_leaf.b, p + HEAD_LAST_LEAF, sizeof ret->last_leaf.b);
	ret->file_bytes = get_u64(p + HEAD_FILE_BYTES);
	ret->sources.n = n;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *row = p + HEAD_SOURCES + i * SOURCE_BYTES;
		struct source *s = &ret->sources.all[i];
		s->role = row[0];
		s->worker = row[1];
		memcpy(s->boot, row + 2, sizeof s->boot);
		s->last_seq = get_u64(row + 18);
	}
	return 0;
}

/* ---- entries ---- */

size_t entry_bytes(size_t leaf_bytes)
{
	return (ENTRY_HEAD_BYTES + leaf_bytes + 7) & ~(size_t)7;
}

size_t entry_seal(uint8_t *to, size_t leaf_bytes, uint64_t index, uint32_t place)
{
	size_t bytes = entry_bytes(leaf_bytes), used = ENTRY_HEAD_BYTES + leaf_bytes;

	assert(leaf_bytes > 0 && leaf_bytes <= ENTRY_LEAF_MAX && place <= index);
	put_u32(to + ENTRY_AT_MAGIC, ENTRY_MAGIC);
	put_u32(to + ENTRY_AT_LEN, (uint32_t)leaf_bytes);
	put_u32(to + ENTRY_AT_PLACE, place);
	put_u64(to + ENTRY_AT_INDEX, index);
	memset(to + used, 0, bytes - used);
	put_u32(to + ENTRY_AT_CRC, 0);
	put_u32(to + ENTRY_AT_CRC, crc32c(0, to, bytes));
	return bytes;
}

/* An entry of any index that is whole. */
static bool entry_whole(struct span in, struct entry *ret)
{
	if (in.len < ENTRY_HEAD_BYTES || get_u32(in.p + ENTRY_AT_MAGIC) != ENTRY_MAGIC)
		return false;
	size_t len = get_u32(in.p + ENTRY_AT_LEN);
	if (len == 0 || len > ENTRY_LEAF_MAX || entry_bytes(len) > in.len)
		return false;
	size_t bytes = entry_bytes(len), used = ENTRY_HEAD_BYTES + len;
	if (get_u32(in.p + ENTRY_AT_CRC) != crc_without(in.p, bytes, ENTRY_AT_CRC) ||
	    !all_zero(in.p + used, bytes - used))
		return false;
	*ret = (struct entry){
		.index = get_u64(in.p + ENTRY_AT_INDEX),
		.place = get_u32(in.p + ENTRY_AT_PLACE),
		.leaf = span_of(in.p + ENTRY_HEAD_BYTES, len),
		.bytes = bytes,
	};
	return ret->place <= ret->index;
}

int entry_read(struct span in, uint64_t index, struct entry *ret)
{
	struct entry entry;

	if (all_zero(in.p, MIN(in.len, (size_t)ENTRY_HEAD_BYTES)))
		return FORMAT_E_END;
	if (!entry_whole(in, &entry) || entry.index != index)
		return FORMAT_E_DAMAGED;
	*ret = entry;
	return 0;
}

enum tail segment_tail(struct span in, uint64_t index, size_t *ret_bytes)
{
	struct entry entry;
	size_t used = in.len;

	if (in.len == 0 || all_zero(in.p, in.len)) {
		*ret_bytes = 0;
		return TAIL_CLEAN;
	}
	while (in.p[used - 1] == 0)
		used--;
	*ret_bytes = used;
	for (size_t at = 0; at < used; at += 8) {
		if (!entry_whole(span_of(in.p + at, in.len - at), &entry))
			continue;
		/* Debris: further on in the commit that the unreadable entry belongs to. */
		if (entry.index <= index || entry.index - entry.place > index)
			return TAIL_CORRUPT;
	}
	return TAIL_TORN;
}
