/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a request: scan, head, body. What is accepted must be readable in one way only: no control character but
 * in CRLF and tabs, one Host, one framing field at most; the scan agrees however the bytes are cut, every table entry
 * lies within the head and holds no line end, and the head written out again from the table parses to the same facts.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "router/http_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct span s, struct span head)
{
	if (!s.p)
		return;
	assert(s.p >= head.p && s.p + s.len <= head.p + head.len);
	assert(!memchr(s.p, '\r', s.len) && !memchr(s.p, '\n', s.len) && !memchr(s.p, 0, s.len));
}

/* The bytes themselves, without a parser. */
static void check_plain(struct span head)
{
	for (size_t i = 0; i < head.len; i++) {
		uint8_t c = head.p[i];
		bool cr = c == '\r' && i + 1 < head.len && head.p[i + 1] == '\n';
		bool lf = c == '\n' && i > 0 && head.p[i - 1] == '\r';

		assert((c >= 0x20 && c != 0x7f) || c == '\t' || cr || lf);
	}
}

static void check_fields(const struct http_head *h)
{
	unsigned hosts = 0, lengths = 0, codings = 0;

	for (size_t i = 0; i < h->n_fields; i++) {
		struct span name = h->fields[i].name, value = h->fields[i].value;

		assert(name.len > 0);
		for (size_t k = 0; k < name.len; k++)
			assert(isalnum(name.p[k]) || strchr("!#$%&'*+-.^_`|~", name.p[k]));
		hosts += name.len == 4 && strncasecmp((const char *)name.p, "host", 4) == 0;
		codings += name.len == 17 && strncasecmp((const char *)name.p, "transfer-encoding", 17) == 0;
		if (name.len != 14 || strncasecmp((const char *)name.p, "content-length", 14) != 0)
			continue;
		lengths++;
		assert(value.len > 0 && isdigit(value.p[0]) &&
		       strtoull((const char *)value.p, NULL, 10) == h->content_length);
	}
	assert((hosts == 1 || (hosts == 0 && h->minor == 0)) && lengths + codings <= 1);
	assert((h->framing == HTTP_FRAMING_CHUNKED) == (codings == 1));
	assert((h->framing == HTTP_FRAMING_LENGTH) == (lengths == 1));
}

static void check_again(const struct http_head *h, struct span head)
{
	size_t cap = head.len + 16 * HTTP_HEAD_FIELDS_MAX, len = 0, bytes;
	char *text = malloc(cap);
	struct http_scan s = {0};
	static struct http_head again;
	const uint8_t *line_end = memchr(head.p, '\r', head.len);

	assert(text && line_end);
	len += (size_t)snprintf(text, cap, "%.*s\r\n", (int)(line_end - head.p), (const char *)head.p);
	for (size_t i = 0; i < h->n_fields; i++)
		len += (size_t)snprintf(text + len, cap - len, "%.*s: %.*s\r\n", SPAN_ARG(h->fields[i].name),
					SPAN_ARG(h->fields[i].value));
	len += (size_t)snprintf(text + len, cap - len, "\r\n");
	int r = http_scan(&s, span_of(text, len), &bytes);
	assert(r == 0 || (r == HTTP_HEAD_E_TOO_LARGE && len > HTTP_HEAD_BYTES_MAX));
	if (r == 0) {
		assert(bytes == len && http_head_parse(span_of(text, len), &again) == 0);
		assert(again.framing == h->framing && again.content_length == h->content_length);
		assert(again.method == h->method && again.n_fields == h->n_fields && again.keep_alive == h->keep_alive);
		assert(span_eq(again.path, h->path));
	}
	free(text);
}

/* The body of what has come so far, up to its end or to what is no body; a byte more each time. */
static size_t read_body(const struct http_head *h, struct span all, size_t step, uint8_t *to, int *ret_end)
{
	struct http_body b;
	struct span piece;
	size_t taken = 0, len = 0, used;

	http_body_init(&b, h);
	*ret_end = HTTP_BODY_E_MORE;
	for (size_t have = 0; *ret_end == HTTP_BODY_E_MORE && have <= all.len; have += step) {
		while ((*ret_end = http_body_next(&b, span_of(all.p + taken, have - taken), &used, &piece)) == 0) {
			assert(used > 0 && used <= have - taken && piece.len <= used);
			assert(piece.len == 0 || (piece.p == all.p + taken && piece.len == used));
			if (piece.len > 0)
				memcpy(to + len, piece.p, piece.len);
			len += piece.len;
			taken += used;
		}
	}
	return len;
}

static void check_body(const struct http_head *h, struct span all)
{
	uint8_t *whole = malloc(all.len + 1), *cut = malloc(all.len + 1);
	int end, cut_end;

	assert(whole && cut);
	size_t len = read_body(h, all, MAX(all.len, (size_t)1), whole, &end);
	assert(len == read_body(h, all, 1, cut, &cut_end) && memcmp(whole, cut, len) == 0 && end == cut_end);
	if (h->framing == HTTP_FRAMING_LENGTH)
		assert(len == MIN((uint64_t)all.len, h->content_length));
	free(whole);
	free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_scan whole = {0}, cut = {0};
	struct span in = span_of(data, size);
	static struct http_head h;
	size_t bytes = 0, cut_bytes = 0;
	int r = http_scan(&whole, in, &bytes), c = http_scan(&cut, span_of(data, size / 2), &cut_bytes);

	if (c == HTTP_HEAD_E_MORE)
		c = http_scan(&cut, in, &cut_bytes);
	assert(r == c && bytes == cut_bytes);
	if (r)
		return 0;
	check_plain(span_of(data, bytes));
	if (http_head_parse(span_of(data, bytes), &h))
		return 0;
	for (size_t i = 0; i < h.n_fields; i++) {
		check_within(h.fields[i].name, in);
		check_within(h.fields[i].value, in);
	}
	check_fields(&h);
	check_within(h.path, in);
	check_within(h.query, in);
	check_again(&h, span_of(data, bytes));
	check_body(&h, span_of(data + bytes, size - bytes));
	return 0;
}
