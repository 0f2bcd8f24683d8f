/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only subtle byte is CR: it ends a line at once, for nobody may come after it, and takes an LF with it if one
 * follows. An event that ends in CR is therefore complete before its LF has come; that LF then opens the next piece of
 * bytes and stands for nothing.
 *
 * A line is empty when its end follows the end of the line before. Further empty lines between events come out as
 * events of their own: they are bytes to pass on like any other.
 */
#include "router/sse.h"

#define SSE_PIECE_BYTES 256

/* The next CR or LF at or after `at`; in.len when there is none. In pieces: where each line ends with CR the next LF
 * may be as far away as there are bytes, and would be looked for from every line. */
static size_t sse_line_end(struct span in, size_t at)
{
	for (size_t n; at < in.len; at += n) {
		n = MIN(in.len - at, (size_t)SSE_PIECE_BYTES);
		const uint8_t *lf = memchr(in.p + at, '\n', n);
		const uint8_t *cr = memchr(in.p + at, '\r', lf ? (size_t)(lf - in.p) - at : n);
		if (cr || lf)
			return (size_t)((cr ? cr : lf) - in.p);
	}
	return in.len;
}

bool sse_next(struct sse *s, struct span in, size_t *ret_bytes)
{
	size_t at = s->scanned;

	while (at < in.len) {
		if (s->after_cr && in.p[at] == '\n') {
			s->after_cr = false;
			at++;
			continue;
		}
		size_t end = sse_line_end(in, at);
		bool empty = end == at && s->line_empty;
		if (end > at) {
			s->line_empty = false;
			s->after_cr = false;
		}
		at = end;
		if (end == in.len)
			break;
		s->after_cr = in.p[at++] == '\r';
		s->line_empty = true;
		if (!empty)
			continue;
		if (s->after_cr && at < in.len && in.p[at] == '\n') {
			s->after_cr = false;
			at++;
		}
		*ret_bytes = at;
		s->scanned = 0;
		return true;
	}
	s->scanned = at;
	return false;
}

struct span sse_data(struct span event)
{
	static const char name[] = "data:";

	for (size_t at = 0, end; at < event.len; at = end + 1) {
		end = sse_line_end(event, at);
		size_t len = end - at;
		if (len < sizeof(name) - 1 || memcmp(event.p + at, name, sizeof(name) - 1) != 0)
			continue;
		at += sizeof(name) - 1;
		if (at < end && event.p[at] == ' ')
			at++;
		return span_of(event.p + at, end - at);
	}
	return SPAN_NULL;
}
