/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads msgpack values one by one from bytes that an attacker wrote: no allocation, no recursion, and only the shortest
 * encoding of each value is accepted (https://github.com/msgpack/msgpack/blob/master/spec.md, formats uint, str, bin,
 * array). A length is compared with the bytes that are there before anything is taken. On failure nothing is consumed.
 *
 * Every format is a first byte that either carries a small value itself or announces a big-endian number of 1, 2, 4 or
 * 8 bytes. Shortest means: the number must be too large for every shorter format; `floor` says from where on.
 */
#pragma once

#include <endian.h>

#include "common/base.h"

struct reader {
	const uint8_t *p, *end;
};

static inline struct reader reader_of(struct span s)
{
	return (struct reader){s.p, s.len ? s.p + s.len : s.p}; /* NULL + 0 is undefined; this compiles to the same */
}

static inline bool reader_empty(const struct reader *r)
{
	return r->p == r->end;
}

/* The number behind the first byte. */
MUST_USE static inline bool reader_number(struct reader *r, size_t bytes, uint64_t floor, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->p) <= bytes)
		return false;
	memcpy((uint8_t *)&v + sizeof(v) - bytes, r->p + 1, bytes);
	v = be64toh(v);
	if (v < floor)
		return false;
	r->p += 1 + bytes;
	*ret = v;
	return true;
}

/* One of four formats with first bytes in a row, of 1, 2, 4 and 8 bytes; `floor` is the first one's. */
MUST_USE static inline bool reader_format(struct reader *r, uint8_t first, uint64_t floor, uint64_t *ret)
{
	switch (*r->p - first) {
	case 0:
		return reader_number(r, 1, floor, ret);
	case 1:
		return reader_number(r, 2, 0x100, ret);
	case 2:
		return reader_number(r, 4, 0x10000, ret);
	case 3:
		return first == 0xcc && reader_number(r, 8, 0x100000000, ret);
	default:
		return false;
	}
}

MUST_USE static inline bool reader_u64(struct reader *r, uint64_t *ret)
{
	if (reader_empty(r))
		return false;
	if (*r->p >= 0x80)
		return reader_format(r, 0xcc, 0x80, ret);
	*ret = *r->p++;
	return true;
}

/* The bytes announced by a head that ends at `at`; consumes head and bytes together or nothing. A view. */
MUST_USE static inline bool reader_bytes(struct reader *r, struct reader at, uint64_t len, struct span *ret)
{
	if (len > (size_t)(at.end - at.p))
		return false;
	*ret = span_of(at.p, len);
	r->p = at.p + len;
	return true;
}

MUST_USE static inline bool reader_str(struct reader *r, struct span *ret)
{
	struct reader at = *r;
	uint64_t len;

	if (reader_empty(r))
		return false;
	if ((*at.p & 0xe0) == 0xa0)
		len = *at.p++ & 0x1f;
	else if (!reader_format(&at, 0xd9, 32, &len))
		return false;
	return reader_bytes(r, at, len, ret);
}

MUST_USE static inline bool reader_bin(struct reader *r, struct span *ret)
{
	struct reader at = *r;
	uint64_t len;

	return !reader_empty(r) && reader_format(&at, 0xc4, 0, &len) && reader_bytes(r, at, len, ret);
}

MUST_USE static inline bool reader_array(struct reader *r, uint64_t *ret_items)
{
	if (reader_empty(r))
		return false;
	if (*r->p == 0xdc)
		return reader_number(r, 2, 16, ret_items);
	if (*r->p == 0xdd)
		return reader_number(r, 4, 0x10000, ret_items);
	if ((*r->p & 0xf0) != 0x90)
		return false;
	*ret_items = *r->p++ & 0x0f;
	return true;
}
