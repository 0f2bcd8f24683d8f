/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer with a hard maximum, fixed when it is made. Bytes are appended at the end and consumed from
 * the front; everything between is one contiguous span. Growth doubles; consuming everything resets to the start.
 *
 * Not for secrets: growing leaves old bytes behind in freed memory. Those live in common/secret.h.
 */
#pragma once

#include "common/base.h"

struct buf {
	uint8_t *mem;
	size_t begin, end, cap, max;
};

enum buf_err {
	BUF_E_FULL = 1, /* the append would exceed `max`; nothing was appended */
};

#define BUF_NULL ((struct buf){0})

/* Cannot fail: memory is taken on first use. */
void buf_init(struct buf *b, size_t bytes_max);
void buf_deinit(struct buf *b);

/* The bytes held, valid until the next append, reserve, consume or deinit. */
static inline struct span buf_span(const struct buf *b)
{
	return span_of(b->mem ? b->mem + b->begin : NULL, b->end - b->begin);
}

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->begin;
}

/* 0, BUF_E_FULL or -ENOMEM. */
MUST_USE int buf_append_grown(struct buf *b, const void *p, size_t len);

/* Inline while there is room, which is nearly always: heads are written word by word. */
MUST_USE static inline int buf_append(struct buf *b, const void *p, size_t len)
{
	if (len > b->cap - b->end)
		return buf_append_grown(b, p, len);
	if (len > 0)
		memcpy(b->mem + b->end, p, len);
	b->end += len;
	return 0;
}

MUST_USE static inline int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

MUST_USE int buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes at *ret_p; buf_commit() then says how many were written. 0, BUF_E_FULL or -ENOMEM. */
MUST_USE int buf_reserve(struct buf *b, size_t len, uint8_t **ret_p);
void buf_commit(struct buf *b, size_t len);
void buf_consume(struct buf *b, size_t len);
/* Forgets what lies beyond the first `len` bytes held. */
void buf_truncate(struct buf *b, size_t len);
void buf_reset(struct buf *b);
