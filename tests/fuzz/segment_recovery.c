/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as what a crash or an enemy left in a segment. First byte: how to use the rest.
 *
 * - As they are: head, entries and tail are read; nothing may crash, and whatever is accepted must be exactly what our
 * own writer would have written.
 * - As changes to a segment that we wrote: an entry that is accepted must be the one that was written there.
 */
#include <stdlib.h>

#include "auditd/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ENTRIES 8
#define FUZZ_BYTES   1024

static void must(bool held)
{
	if (!held)
		abort();
}

static void fuzz_head(struct span in)
{
	static struct segment_head head;
	static uint8_t again[SEGMENT_HEAD_BYTES];

	if (segment_head_read(in, &head) != 0)
		return;
	segment_head_write(&head, again);
	must(memcmp(again, in.p, sizeof(again)) == 0);
}

/* Reads entries as recovery does; each is written again and compared. Returns how many. */
static uint64_t fuzz_entries(struct span in, uint64_t index)
{
	static uint8_t again[ENTRY_HEAD_BYTES + ENTRY_LEAF_MAX + 8];
	struct entry entry;
	uint64_t n = 0;
	size_t debris;

	while (in.len > 0 && entry_read(in, index + n, &entry) == 0) {
		must(entry.index == index + n && entry.bytes <= in.len);
		memcpy(again + ENTRY_HEAD_BYTES, entry.leaf.p, entry.leaf.len);
		must(entry_seal(again, entry.leaf.len, entry.index, entry.place) == entry.bytes);
		must(memcmp(again, in.p, entry.bytes) == 0);
		in = span_of(in.p + entry.bytes, in.len - entry.bytes);
		n++;
	}
	enum tail tail = segment_tail(in, index + n, &debris);
	must(debris <= in.len && (tail == TAIL_CLEAN) == (debris == 0));
	return n;
}

/* Two commits of four entries each, then the input's changes: offset u16, xor u8. */
static void fuzz_changed(const uint8_t *data, size_t size)
{
	static uint8_t written[FUZZ_BYTES], changed[FUZZ_BYTES];
	size_t begin[FUZZ_ENTRIES + 1] = {0}, debris;
	uint64_t n = 0;
	struct entry entry;

	memset(written, 0, sizeof(written));
	for (size_t i = 0; i < FUZZ_ENTRIES; i++) {
		size_t leaf = 10 + i * 7;
		memset(written + begin[i] + ENTRY_HEAD_BYTES, (int)('a' + i), leaf);
		begin[i + 1] = begin[i] + entry_seal(written + begin[i], leaf, 40 + i, (uint32_t)(i % 4));
	}
	memcpy(changed, written, sizeof(changed));
	for (; size >= 3; data += 3, size -= 3)
		changed[(data[0] << 8 | data[1]) % FUZZ_BYTES] ^= data[2];

	struct span rest = span_of(changed, sizeof(changed));
	while (n < FUZZ_ENTRIES && entry_read(rest, 40 + n, &entry) == 0) {
		must(entry.bytes == begin[n + 1] - begin[n]);
		must(memcmp(rest.p, written + begin[n], entry.bytes) == 0);
		rest = span_of(rest.p + entry.bytes, rest.len - entry.bytes);
		n++;
	}
	enum tail tail = segment_tail(rest, 40 + n, &debris);
	/* The first commit was durable when the second began: with any of the second in place, it may not be cut. */
	for (size_t i = 4; i < FUZZ_ENTRIES && n < 4; i++)
		if (memcmp(changed + begin[i], written + begin[i], begin[i + 1] - begin[i]) == 0)
			must(tail == TAIL_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct span in = span_of(data + 1, size - 1);
	if (data[0] & 1) {
		fuzz_changed(in.p, in.len);
		return 0;
	}
	fuzz_head(in);
	(void)fuzz_entries(in, data[0]);
	return 0;
}
