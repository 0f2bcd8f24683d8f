/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads msgpack values one by one from bytes that an attacker wrote: no allocation, no recursion, and only the shortest
 * encoding of each value is accepted (https://github.com/msgpack/msgpack/blob/master/spec.md, formats uint, str, bin,
 * array). A length is compared with the bytes that are there before anything is taken. On failure nothing is consumed.
 */
#pragma once

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

MUST_USE bool reader_u64(struct reader *r, uint64_t *ret);
MUST_USE bool reader_str(struct reader *r, struct span *ret); /* a view */
MUST_USE bool reader_bin(struct reader *r, struct span *ret); /* a view */
MUST_USE bool reader_array(struct reader *r, uint32_t *ret_items);
