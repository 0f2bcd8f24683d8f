/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reader.h"

/*
 * Every format is a first byte that either carries a small value itself (`fix`) or announces a big-endian number of 1,
 * 2, 4 or 8 bytes. "Shortest" means: the number must be too large for every shorter format; `floor` says from where on.
 */
struct format {
	uint8_t first;
	uint8_t bytes;
	uint64_t floor;
};

static bool reader_number(struct reader *r, const struct format *formats, size_t n, uint64_t *ret)
{
	for (size_t i = 0; i < n; i++) {
		const struct format *f = &formats[i];
		uint64_t v = 0;

		if (*r->p != f->first)
			continue;
		if ((size_t)(r->end - r->p) - 1 < f->bytes)
			return false;
		for (size_t k = 1; k <= f->bytes; k++)
			v = v << 8 | r->p[k];
		if (v < f->floor)
			return false;
		r->p += 1 + f->bytes;
		*ret = v;
		return true;
	}
	return false;
}

bool reader_u64(struct reader *r, uint64_t *ret)
{
	static const struct format formats[] = {
		{0xcc, 1, 0x80}, {0xcd, 2, 0x100}, {0xce, 4, 0x10000}, {0xcf, 8, 0x100000000}};

	if (reader_empty(r))
		return false;
	if (*r->p < 0x80) {
		*ret = *r->p++;
		return true;
	}
	return reader_number(r, formats, ARRAY_LEN(formats), ret);
}

/* The bytes announced by a str or bin head at `at`; consumes head and bytes together or nothing. */
static bool reader_bytes(struct reader *r, struct reader at, uint64_t len, struct span *ret)
{
	if (len > (size_t)(at.end - at.p))
		return false;
	*ret = span_of(at.p, len);
	r->p = at.p + len;
	return true;
}

bool reader_str(struct reader *r, struct span *ret)
{
	static const struct format formats[] = {{0xd9, 1, 32}, {0xda, 2, 0x100}, {0xdb, 4, 0x10000}};
	struct reader at = *r;
	uint64_t len;

	if (reader_empty(r))
		return false;
	if ((*at.p & 0xe0) == 0xa0)
		len = *at.p++ & 0x1f;
	else if (!reader_number(&at, formats, ARRAY_LEN(formats), &len))
		return false;
	return reader_bytes(r, at, len, ret);
}

bool reader_bin(struct reader *r, struct span *ret)
{
	static const struct format formats[] = {{0xc4, 1, 0}, {0xc5, 2, 0x100}, {0xc6, 4, 0x10000}};
	struct reader at = *r;
	uint64_t len;

	if (reader_empty(r) || !reader_number(&at, formats, ARRAY_LEN(formats), &len))
		return false;
	return reader_bytes(r, at, len, ret);
}

bool reader_array(struct reader *r, uint32_t *ret_items)
{
	static const struct format formats[] = {{0xdc, 2, 16}, {0xdd, 4, 0x10000}};
	uint64_t items;

	if (reader_empty(r))
		return false;
	if ((*r->p & 0xf0) == 0x90) {
		*ret_items = *r->p++ & 0x0f;
		return true;
	}
	if (!reader_number(r, formats, ARRAY_LEN(formats), &items))
		return false;
	*ret_items = (uint32_t)items;
	return true;
}
