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

/* The number behind the first byte. Where it ends; NULL when it is not all there or could be shorter. By value and back
 * in a register: a copy of a struct that was just stored is what a processor waits for. */
MUST_USE static inline const uint8_t *reader_number(struct reader r, size_t bytes, uint64_t floor, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(r.end - r.p) <= bytes)
		return NULL;
	memcpy((uint8_t *)&v + sizeof(v) - bytes, r.p + 1, bytes);
	*ret = be64toh(v);
	return *ret < floor ? NULL : r.p + 1 + bytes;
}

/* One of four formats with first bytes in a row, of 1, 2, 4 and 8 bytes; `floor` is the first one's. As above. */
MUST_USE static inline const uint8_t *reader_format(struct reader r, uint8_t first, uint64_t floor, uint64_t *ret)
{
	switch (*r.p - first) {
	case 0:
		return reader_number(r, 1, floor, ret);
	case 1:
		return reader_number(r, 2, 0x100, ret);
	case 2:
		return reader_number(r, 4, 0x10000, ret);
	case 3:
		return first == 0xcc ? reader_number(r, 8, 0x100000000, ret) : NULL;
	default:
		return NULL;
	}
}

/* Behind what was read, or nothing is consumed. */
MUST_USE static inline bool reader_take(struct reader *r, const uint8_t *to)
{
	if (to)
		r->p = to;
	return to;
}

MUST_USE static inline bool reader_u64(struct reader *r, uint64_t *ret)
{
	if (reader_empty(r))
		return false;
	if (*r->p >= 0x80)
		return reader_take(r, reader_format(*r, 0xcc, 0x80, ret));
	*ret = *r->p++;
	return true;
}

/* The bytes announced by a head that ends at `at`, unless NULL; consumes head and bytes together or nothing. A view. */
MUST_USE static inline bool reader_bytes(struct reader *r, const uint8_t *at, uint64_t len, struct span *ret)
{
	if (!at || len > (size_t)(r->end - at))
		return false;
	*ret = span_of(at, len);
	r->p = at + len;
	return true;
}

MUST_USE static inline bool reader_str(struct reader *r, struct span *ret)
{
	uint64_t len = 0;

	if (reader_empty(r))
		return false;
	if ((*r->p & 0xe0) == 0xa0)
		return reader_bytes(r, r->p + 1, *r->p & 0x1f, ret);
	const uint8_t *at = reader_format(*r, 0xd9, 32, &len);
	return reader_bytes(r, at, len, ret);
}

MUST_USE static inline bool reader_bin(struct reader *r, struct span *ret)
{
	uint64_t len = 0;
	const uint8_t *at = reader_empty(r) ? NULL : reader_format(*r, 0xc4, 0, &len);

	return reader_bytes(r, at, len, ret);
}

MUST_USE static inline bool reader_array(struct reader *r, uint64_t *ret_items)
{
	if (reader_empty(r))
		return false;
	if (*r->p == 0xdc)
		return reader_take(r, reader_number(*r, 2, 16, ret_items));
	if (*r->p == 0xdd)
		return reader_take(r, reader_number(*r, 4, 0x10000, ret_items));
	if ((*r->p & 0xf0) != 0x90)
		return false;
	*ret_items = *r->p++ & 0x0f;
	return true;
}
