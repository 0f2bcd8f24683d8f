/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stream, whole and cut into reads: the data of its events must be what a reader that takes one byte
 * after the other makes of it. Compared is the text of each event's first data line, since an LF after a CR may be
 * counted to either side. Then the remainder, as if the stream had ended in the middle.
 */
#include <assert.h>
#include <stdlib.h>

#include "router/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
	uint8_t *p;
	size_t len;
};

static void text_add(struct text *t, struct span s)
{
	if (s.len == 0)
		return;
	memcpy(t->p + t->len, s.p, s.len);
	t->len += s.len;
	t->p[t->len++] = '|';
}

/* The first data line of the lines in [begin, end), none of which is empty. */
static void read_event(const uint8_t *begin, const uint8_t *end, struct text *out)
{
	for (const uint8_t *p = begin, *line = begin; p < end; p++) {
		if (*p != '\r' && *p != '\n')
			continue;
		if (p - line >= 5 && memcmp(line, "data:", 5) == 0) {
			line += 5 + (p - line > 5 && line[5] == ' ');
			text_add(out, span_of(line, (size_t)(p - line)));
			return;
		}
		line = p + 1;
	}
}

static void read_slowly(const uint8_t *data, size_t size, struct text *out)
{
	const uint8_t *event = data, *line = data;

	for (const uint8_t *p = data; p < data + size; p++) {
		if (*p != '\r' && *p != '\n')
			continue;
		bool empty = p == line && line > data;
		if (*p == '\r' && p + 1 < data + size && p[1] == '\n')
			p++;
		line = p + 1;
		if (!empty)
			continue;
		read_event(event, line, out);
		event = line;
	}
}

static void read_all(const uint8_t *data, size_t size, size_t step, struct text *out)
{
	struct sse s = {0};
	size_t taken = 0, bytes;

	for (size_t have = 0; have < size;) {
		have = MIN(size, have + step);
		while (sse_next(&s, span_of(data + taken, have - taken), &bytes)) {
			assert(bytes > 0 && bytes <= have - taken);
			text_add(out, sse_data(span_of(data + taken, bytes)));
			taken += bytes;
		}
	}
	(void)sse_data(span_of(data + taken, size - taken));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t step = data[0] ? data[0] : 1, n = size - 1;
	struct text want = {malloc(2 * n), 0}, got = {malloc(2 * n), 0};
	uint8_t *stream = malloc(n); /* exactly sized: a read past the end is seen */

	assert(want.p && got.p && stream);
	memcpy(stream, data + 1, n);
	read_slowly(stream, n, &want);
	for (int whole = 0; whole < 2; whole++) {
		got.len = 0;
		read_all(stream, n, whole ? n : step, &got);
		assert(got.len == want.len && (got.len == 0 || memcmp(got.p, want.p, got.len) == 0));
	}
	free(want.p);
	free(got.p);
	free(stream);
	return 0;
}
