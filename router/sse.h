/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the events of a server-sent event stream end (WHATWG HTML, 9.2.6). Lines end with LF, CRLF or CR; an empty line
 * ends an event. Bytes are passed on as they came: only whole events leave, so that a stream that breaks can be ended
 * with an event of ours. Sans I/O, no memory: the caller keeps the bytes of an incomplete event.
 */
#pragma once

#include "common/base.h"

/* Zero to start with. */
struct sse {
	size_t scanned;  /* bytes of the incomplete event already looked at */
	bool line_empty; /* the last thing seen was the end of a line */
	bool after_cr;   /* an LF that comes next belongs to the CR before it */
};

/*
 * `in` begins with the first byte that was not yet taken. True: the first *ret_bytes of it are one whole event (or an
 * empty line). False: no event is complete.
 */
bool sse_next(struct sse *s, struct span in, size_t *ret_bytes);
/* The first `data` line of an event, without its name and the one space; SPAN_NULL when it has none. */
struct span sse_data(struct span event);
