/* SPDX-License-Identifier: Apache-2.0 */
#include "common/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

#define BUF_FIRST_BYTES 512

void buf_init(struct buf *b, size_t bytes_max)
{
	assert(bytes_max > 0);
	*b = (struct buf){.max = bytes_max};
}

void buf_deinit(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
	b->begin = b->end = 0;
}

int buf_reserve(struct buf *b, size_t len, uint8_t **ret_p)
{
	size_t held = buf_len(b);

	if (len > b->max - held)
		return BUF_E_FULL;
	if (len > b->cap - b->end && b->begin > 0) {
		memmove(b->mem, b->mem + b->begin, held);
		b->begin = 0;
		b->end = held;
	}
	if (len > b->cap - b->end) {
		size_t cap = b->cap ? b->cap : MIN((size_t)BUF_FIRST_BYTES, b->max);
		while (cap - held < len)
			cap = cap > b->max / 2 ? b->max : cap * 2;
		uint8_t *mem = realloc(b->mem, cap);
		if (!mem)
			return err_origin(-ENOMEM);
		b->mem = mem;
		b->cap = cap;
	}
	*ret_p = b->mem + b->end;
	return 0;
}

void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->cap - b->end);
	b->end += len;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= buf_len(b));
	b->begin += len;
	if (b->begin == b->end)
		buf_reset(b);
}

void buf_truncate(struct buf *b, size_t len)
{
	assert(len <= buf_len(b));
	b->end = b->begin + len;
}

int buf_append_grown(struct buf *b, const void *p, size_t len)
{
	uint8_t *to;
	int r = buf_reserve(b, len, &to);
	if (r)
		return r;
	memcpy(to, p, len);
	buf_commit(b, len);
	return 0;
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	uint8_t *to;

	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	int r = n < 0 ? err_origin(-EINVAL) : buf_reserve(b, (size_t)n + 1, &to);
	if (!r) {
		(void)vsnprintf((char *)to, (size_t)n + 1, format, again);
		buf_commit(b, (size_t)n);
	}
	va_end(again);
	return r;
}
