/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text written into a piece of memory of fixed size, mostly of the arena: heads, forms, assertions, strings to sign.
 * Sans I/O. What does not fit is left out whole and makes the text `full`; the writer checks once, at the end.
 */
#pragma once

#include "common/base.h"

struct text {
	uint8_t *to;
	size_t len, cap;
	bool full;
};

#define TEXT_OF(p, size) ((struct text){.to = (p), .cap = (size)})

/* Inline, as is the length of a literal: heads are written word by word. */
static inline void text_put(struct text *t, struct span s)
{
	if (s.len > t->cap - t->len) {
		t->full = true;
		return;
	}
	if (s.len > 0)
		memcpy(t->to + t->len, s.p, s.len);
	t->len += s.len;
}

static inline void text_put_str(struct text *t, const char *s)
{
	text_put(t, span_str(s));
}

void text_put_u64(struct text *t, uint64_t v);
/* Small letters. */
void text_put_hex(struct text *t, struct span s);
/* RFC 3986: all but unreserved characters as %XX in capitals; `keep` (0: none) is left alone too. */
void text_put_escaped(struct text *t, struct span s, char keep);
/* What stands between the quotes of a JSON string. `s` is ASCII without control characters. */
void text_put_json(struct text *t, struct span s);
/* RFC 4648: section 4 with padding, or section 5 without. */
void text_put_base64(struct text *t, struct span s);
void text_put_base64url(struct text *t, struct span s);

/* What was written; valid as long as its memory. */
static inline struct span text_span(const struct text *t)
{
	return span_of(t->to, t->len);
}

/* Reads base64 with padding into `to`, which has room for s.len bytes. False: not base64, or not its one spelling. */
MUST_USE bool text_get_base64(struct span s, uint8_t *to, size_t *ret_len);
