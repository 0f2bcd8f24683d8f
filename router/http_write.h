/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and error bodies of answers. Sans I/O. Framing fields are reply.c's, which knows how an answer is framed. */
#pragma once

#include "common/buf.h"
#include "proto/reasons.h"

/* A head is written line by line; the first failure sticks and the rest does nothing. */
struct http_write {
	struct buf *to;
	int r; /* 0, or what a struct buf answered */
};

#define HTTP_DATE_BYTES 30

/* IMF-fixdate (RFC 9110 5.6.7) of a Unix time, NUL included. */
void http_date(uint64_t unix_s, char ret[HTTP_DATE_BYTES]);

/* The status line, Date, and what every answer of ours carries: nosniff, no-store. */
void http_write_status(struct http_write *w, unsigned status, const char *date);
/* Neither may hold a CR, LF or NUL. */
void http_write_field_named(struct http_write *w, struct span name, struct span value);
static inline void http_write_field(struct http_write *w, const char *name, struct span value)
{
	http_write_field_named(w, span_str(name), value); /* a literal's length is known to the compiler */
}
void http_write_field_u64(struct http_write *w, const char *name, uint64_t value);
/* x-request-id and request-id. */
void http_write_request_id(struct http_write *w, struct span id);

/* What a client is told about its limit. `limit` 0: it has none. */
struct http_limit {
	uint64_t limit, remaining, reset_ms;
};
void http_write_limit(struct http_write *w, const struct http_limit *limit);
/* Retry-After (rounded up to seconds), retry-after-ms and x-should-retry. 0: no use in trying again. */
void http_write_retry(struct http_write *w, uint64_t retry_ms);

/* The error object of OpenAI's dialect. What buf_printf answers. */
MUST_USE int http_write_error(struct buf *to, enum reason reason);
/* The same as an event of a stream. */
MUST_USE int http_write_error_event(struct buf *to, enum reason reason);
/* `text` as the inside of a JSON string. */
MUST_USE int http_write_json_text(struct buf *to, struct span text);
