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
	return (struct reader){s.p, s.p + s.len};
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

MUST_USE static inline bool reader_u64(struct reader *r, uint64_t *ret)
{
	if (reader_empty(r))
		return false;
	switch (*r->p) {
	case 0x00 ... 0x7f:
		*ret = *r->p++;
		return true;
	case 0xcc:
		return reader_number(r, 1, 0x80, ret);
	case 0xcd:
		return reader_number(r, 2, 0x100, ret);
	case 0xce:
		return reader_number(r, 4, 0x10000, ret);
	case 0xcf:
		return reader_number(r, 8, 0x100000000, ret);
	default:
		return false;
	}
}

/* The bytes announced by the head of a str or bin that ends at `at`; consumes head and bytes together or nothing. */
MUST_USE static inline bool reader_bytes(struct reader *r, struct reader at, uint64_t len, struct span *ret)
{
	if (len > (size_t)(at.end - at.p))
		return false;
	*ret = span_of(at.p, len);
	r->p = at.p + len;
	return true;
}

/* A view. */
MUST_USE static inline bool reader_str(struct reader *r, struct span *ret)
{
	struct reader at = *r;
	uint64_t len;
	bool ok = true;

	if (reader_empty(r))
		return false;
	switch (*at.p) {
	case 0xa0 ... 0xbf:
		len = *at.p++ & 0x1f;
		break;
	case 0xd9:
		ok = reader_number(&at, 1, 32, &len);
		break;
	case 0xda:
		ok = reader_number(&at, 2, 0x100, &len);
		break;
	case 0xdb:
		ok = reader_number(&at, 4, 0x10000, &len);
		break;
	default:
		return false;
	}
	return ok && reader_bytes(r, at, len, ret);
}

/* A view. */
MUST_USE static inline bool reader_bin(struct reader *r, struct span *ret)
{
	struct reader at = *r;
	uint64_t len;
	bool ok;

	if (reader_empty(r))
		return false;
	switch (*at.p) {
	case 0xc4:
		ok = reader_number(&at, 1, 0, &len);
		break;
	case 0xc5:
		ok = reader_number(&at, 2, 0x100, &len);
		break;
	case 0xc6:
		ok = reader_number(&at, 4, 0x10000, &len);
		break;
	default:
		return false;
	}
	return ok && reader_bytes(r, at, len, ret);
}

MUST_USE static inline bool reader_array(struct reader *r, uint64_t *ret_items)
{
	if (reader_empty(r))
		return false;
	switch (*r->p) {
	case 0x90 ... 0x9f:
		*ret_items = *r->p++ & 0x0f;
		return true;
	case 0xdc:
		return reader_number(r, 2, 16, ret_items);
	case 0xdd:
		return reader_number(r, 4, 0x10000, ret_items);
	default:
		return false;
	}
}
