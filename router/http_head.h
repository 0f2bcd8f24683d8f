/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 request (RFC 9112), or a reason to refuse it.
 *
 * Two steps, both without I/O. http_scan() sees bytes as they come, looks at each once and finds where the head ends.
 * http_head_parse() takes a whole head and makes the table of fields. Everything in the table is a view into the head.
 */
#pragma once

#include "common/base.h"

#define HTTP_HEAD_BYTES_MAX  32768
#define HTTP_HEAD_FIELDS_MAX 100

enum http_head_err {
	HTTP_HEAD_E_MORE = 1,    /* the head is not complete */
	HTTP_HEAD_E_BAD,         /* not HTTP/1.1 as this gateway accepts it: 400 */
	HTTP_HEAD_E_TOO_LARGE,   /* over a limit above: 431 */
	HTTP_HEAD_E_EXPECTATION, /* an Expect that is not 100-continue: 417 */
};

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_POST, HTTP_METHOD_OTHER };
enum http_framing { HTTP_FRAMING_NONE, HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED };

struct http_field {
	struct span name; /* as sent, in any case */
	struct span value;
};

struct http_head {
	enum http_method method;
	struct span path, query; /* of the target; the query is without its `?` and may be empty */
	unsigned minor;          /* HTTP/1.<minor> */
	enum http_framing framing;
	uint64_t content_length;
	bool keep_alive, expect_continue;
	size_t n_fields;
	struct http_field fields[HTTP_HEAD_FIELDS_MAX];
};

/* Where the scan of one head stands. Zero to start with. */
struct http_scan {
	size_t at;    /* every byte before it is known to be good */
	size_t line;  /* where the current line began */
	size_t lines; /* complete ones */
};

/*
 * `in` begins with the head's first byte and only grows between calls. 0: *ret_bytes is the length of the head, its
 * empty line included. HTTP_HEAD_E_MORE, _BAD or _TOO_LARGE.
 */
MUST_USE int http_scan(struct http_scan *s, struct span in, size_t *ret_bytes);
/* `head` must have passed http_scan() in full. 0, HTTP_HEAD_E_BAD, _TOO_LARGE or _EXPECTATION. */
MUST_USE int http_head_parse(struct span head, struct http_head *ret_head);
/* The value of the first field of that name (given in lower case); SPAN_NULL when there is none. */
struct span http_head_field(const struct http_head *h, const char *name);
/* Case-insensitive; `lower` in lower case and as long as `name`. */
bool http_name_equals(struct span name, const char *lower);

/* The same for any two lengths; most names are told apart by their first character or by how long they are. */
static inline bool http_name_is(struct span name, const char *lower)
{
	return name.len > 0 && (name.p[0] | 0x20) == (uint8_t)lower[0] && name.len == strlen(lower) &&
	       http_name_equals(name, lower);
}
