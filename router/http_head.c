/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two parsers that must agree.
 *
 * Request smuggling lives where two readers of the same bytes differ. The upstream never sees a client's head: it is
 * rebuilt from the table made here. What remains is the question where one request ends and the next begins, and which
 * words the rest of the router believes. So the head is first checked by rules that leave no choice (this file), then
 * parsed by llhttp, and refused unless both read the same thing.
 *
 * The rules are stricter than the RFC wherever it lets a recipient be generous: no bare CR or LF, no control
 * characters, no folded lines, no empty line in front, one space between the parts of the request line, origin-form
 * targets only, exactly one Host (load balancers that ask in HTTP/1.0 whether we are well may leave it out), one
 * framing field at most, Transfer-Encoding exactly `chunked` and only on 1.1, no Upgrade but the offers that libraries
 * make unasked (h2c, TLS/1.2), which are passed over. Some of them repeat what one version of llhttp checks and another
 * does not (8.1 is in Debian 12, 9.2 in 13): the list does not depend on which one is linked.
 */
#include "router/http_head.h"

#include <llhttp.h>

#include "common/bytes16.h"

enum {
	CHAR_TOKEN = 1,  /* RFC 9110 5.6.2 */
	CHAR_TARGET = 2, /* what RFC 3986 allows in path and query */
	CHAR_TEXT = 4,   /* may stand in a head at all, line ends apart */
	CHAR_HOST = 8,
};

/* clang-format off */
static const uint8_t chars[256] = {
	['\t'] = CHAR_TEXT,
	[' '] = CHAR_TEXT,
	['0' ... '9'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['A' ... 'Z'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['a' ... 'z'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['-'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['.'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['_'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT | CHAR_HOST, [':'] = CHAR_TARGET | CHAR_TEXT | CHAR_HOST,
	['['] = CHAR_TEXT | CHAR_HOST, [']'] = CHAR_TEXT | CHAR_HOST,
	['!'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT, ['$'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT,
	['%'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT, ['&'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT,
	['\''] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT, ['*'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT,
	['+'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT, ['~'] = CHAR_TOKEN | CHAR_TARGET | CHAR_TEXT,
	['#'] = CHAR_TOKEN | CHAR_TEXT, ['^'] = CHAR_TOKEN | CHAR_TEXT, ['`'] = CHAR_TOKEN | CHAR_TEXT,
	['|'] = CHAR_TOKEN | CHAR_TEXT,
	['('] = CHAR_TARGET | CHAR_TEXT, [')'] = CHAR_TARGET | CHAR_TEXT, [','] = CHAR_TARGET | CHAR_TEXT,
	['/'] = CHAR_TARGET | CHAR_TEXT, [';'] = CHAR_TARGET | CHAR_TEXT, ['='] = CHAR_TARGET | CHAR_TEXT,
	['?'] = CHAR_TARGET | CHAR_TEXT, ['@'] = CHAR_TARGET | CHAR_TEXT,
	['"'] = CHAR_TEXT, ['<'] = CHAR_TEXT, ['>'] = CHAR_TEXT, ['\\'] = CHAR_TEXT, ['{'] = CHAR_TEXT, ['}'] = CHAR_TEXT,
	[0x80 ... 0xff] = CHAR_TEXT,
};
/* clang-format on */

/* All bytes, of which there is at least one. */
static bool all_of(struct span s, uint8_t class)
{
	uint8_t common = s.len > 0 ? class : 0;

	for (size_t i = 0; i < s.len; i++)
		common &= chars[s.p[i]];
	return common != 0;
}

/* From `at` on, the first byte that is no text, as far as `end`. What goes sixteen at a time stops at a tab too. */
static size_t head_skip_text(const uint8_t *p, size_t at, size_t end)
{
	while (end - at >= 16) {
		bytes16 b = bytes16_load(p + at);
		size_t first = mask16_first((b < ' ') | (b == 0x7f));
		at += first;
		if (first < 16)
			break;
	}
	while (at < end && chars[p[at]] & CHAR_TEXT)
		at++;
	return at;
}

int http_scan(struct http_scan *s, struct span in, size_t *ret_bytes)
{
	size_t end = MIN(in.len, (size_t)HTTP_HEAD_BYTES_MAX), at = s->at;

	for (;; at += 2) {
		at = head_skip_text(in.p, at, end);
		s->at = at;
		if (s->line < end && (in.p[s->line] == ' ' || in.p[s->line] == '\t'))
			return HTTP_HEAD_E_BAD;
		if (at < end && in.p[at] != '\r')
			return HTTP_HEAD_E_BAD;
		if (at + 1 >= end)
			return in.len >= HTTP_HEAD_BYTES_MAX ? HTTP_HEAD_E_TOO_LARGE : HTTP_HEAD_E_MORE;
		if (in.p[at + 1] != '\n')
			return HTTP_HEAD_E_BAD;
		if (at == s->line)
			break;
		s->line = at + 2;
		if (++s->lines > HTTP_HEAD_FIELDS_MAX + 1)
			return HTTP_HEAD_E_TOO_LARGE;
	}
	if (s->lines == 0)
		return HTTP_HEAD_E_BAD;
	*ret_bytes = at + 2;
	return 0;
}

/* Eight bytes with their capitals made small: of each that is ASCII, bit 7 of a sum says whether it is at least 'A',
 * and of another whether it is above 'Z'. */
static inline uint64_t head_lower(const uint8_t *p)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	uint64_t w, ascii;

	memcpy(&w, p, sizeof(w));
	ascii = w & (each * 0x7f);
	return w | (((ascii + each * (0x80 - 'A')) ^ (ascii + each * (0x7f - 'Z'))) & ~w & (each * 0x80)) >> 2;
}

static inline bool head_same(const uint8_t *p, const char *lower)
{
	uint64_t w;

	memcpy(&w, lower, sizeof(w));
	return head_lower(p) == w;
}

bool http_name_equals(struct span name, const char *lower)
{
	if (name.len >= 8) {
		for (size_t i = 0; i < name.len - 8; i += 8)
			if (!head_same(name.p + i, lower + i))
				return false;
		return head_same(name.p + name.len - 8, lower + name.len - 8); /* overlaps what was seen */
	}
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.p[i];
		if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != (uint8_t)lower[i])
			return false;
	}
	return true;
}

struct span http_head_field(const struct http_head *h, const char *name)
{
	for (size_t i = 0; i < h->n_fields; i++)
		if (http_name_is(h->fields[i].name, name))
			return h->fields[i].value;
	return SPAN_NULL;
}

/* The next line of a scanned head, without its CRLF; the empty one is the last. */
static struct span head_line(struct span *rest)
{
	const uint8_t *cr = memchr(rest->p, '\r', rest->len);
	struct span line = span_of(rest->p, (size_t)(cr - rest->p));

	*rest = span_of(cr + 2, rest->len - line.len - 2);
	return line;
}

/* The bytes up to `stop`, which is taken as well; SPAN_NULL when it does not occur. */
static struct span head_until(struct span *rest, char stop)
{
	const uint8_t *at = memchr(rest->p, stop, rest->len);

	if (!at)
		return SPAN_NULL;
	struct span part = span_of(rest->p, (size_t)(at - rest->p));
	*rest = span_of(at + 1, rest->len - part.len - 1);
	return part;
}

static enum http_method head_method(struct span name)
{
	static const char *const known[] = {"GET", "HEAD", "POST"};

	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		if (span_eq_str(name, known[i]))
			return (enum http_method)i;
	return HTTP_METHOD_OTHER;
}

/* Methods of RFC 9110 and PATCH; whatever else llhttp knows (WebDAV, RTSP, ICE) is not for this port. */
static bool head_method_is_http(struct span name)
{
	static const char *const http[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};

	for (size_t i = 0; i < ARRAY_LEN(http); i++)
		if (span_eq_str(name, http[i]))
			return true;
	return false;
}

static int head_request_line(struct span line, struct http_head *h)
{
	struct span method = head_until(&line, ' '), target = head_until(&line, ' ');

	if (!head_method_is_http(method) || !all_of(target, CHAR_TARGET) || target.p[0] != '/')
		return HTTP_HEAD_E_BAD;
	if (line.len != 8 || memcmp(line.p, "HTTP/1.", 7) != 0 || (line.p[7] != '0' && line.p[7] != '1'))
		return HTTP_HEAD_E_BAD;
	h->method = head_method(method);
	h->minor = line.p[7] == '1';
	h->query = target;
	h->path = head_until(&h->query, '?');
	if (!h->path.p) {
		h->path = target;
		h->query = SPAN_NULL;
	}
	return 0;
}

static int head_lines(struct span head, struct http_head *h, size_t *ret_fields)
{
	int r = head_request_line(head_line(&head), h);

	if (r)
		return r;
	*ret_fields = 0;
	for (struct span line = head_line(&head); line.len > 0; line = head_line(&head)) {
		if (!all_of(head_until(&line, ':'), CHAR_TOKEN))
			return HTTP_HEAD_E_BAD;
		if (++*ret_fields > HTTP_HEAD_FIELDS_MAX)
			return HTTP_HEAD_E_TOO_LARGE;
	}
	return 0;
}

/* llhttp may hand over a name or value in pieces; within one buffer they are adjacent. */
static int head_grow(struct span *s, const char *at, size_t len)
{
	if (len == 0)
		return 0;
	if (!s->p)
		*s = span_of(at, len);
	else if ((const char *)s->p + s->len == at)
		s->len += len;
	else
		return -1;
	return 0;
}

static int head_on_name(llhttp_t *p, const char *at, size_t len)
{
	struct http_head *h = p->data;

	return h->n_fields < HTTP_HEAD_FIELDS_MAX ? head_grow(&h->fields[h->n_fields].name, at, len) : -1;
}

static int head_on_value(llhttp_t *p, const char *at, size_t len)
{
	struct http_head *h = p->data;

	return h->n_fields < HTTP_HEAD_FIELDS_MAX ? head_grow(&h->fields[h->n_fields].value, at, len) : -1;
}

static int head_on_field(llhttp_t *p)
{
	struct http_head *h = p->data;

	if (h->n_fields == HTTP_HEAD_FIELDS_MAX)
		return -1;
	struct span *value = &h->fields[h->n_fields++].value;
	while (value->len > 0 && (value->p[value->len - 1] == ' ' || value->p[value->len - 1] == '\t'))
		value->len--;
	if (h->n_fields < HTTP_HEAD_FIELDS_MAX)
		h->fields[h->n_fields] = (struct http_field){SPAN_NULL, SPAN_NULL};
	return 0;
}

/* Any answer but 0 ends the parse: the body is read by http_body. */
static int head_on_complete(llhttp_t *p)
{
	(void)p;
	return HPE_PAUSED;
}

static const llhttp_settings_t head_settings = {
	.on_header_field = head_on_name,
	.on_header_value = head_on_value,
	.on_header_value_complete = head_on_field,
	.on_headers_complete = head_on_complete,
};

static bool head_number(struct span s, uint64_t *ret)
{
	uint64_t n = 0;

	if (s.len == 0 || s.len > 15)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = n;
	return true;
}

/* Is `word` (lower case) in a comma-separated list? */
static bool head_list_has(struct span list, const char *word)
{
	while (list.len > 0) {
		struct span rest = list, item = head_until(&rest, ',');
		if (!item.p) {
			item = list;
			rest = SPAN_NULL;
		}
		while (item.len > 0 && (item.p[0] == ' ' || item.p[0] == '\t'))
			item = span_of(item.p + 1, item.len - 1);
		while (item.len > 0 && (item.p[item.len - 1] == ' ' || item.p[item.len - 1] == '\t'))
			item.len--;
		if (http_name_is(item, word))
			return true;
		list = rest;
	}
	return false;
}

/* Java's own client offers h2c with each request, Apache's TLS/1.2 with each GET and HEAD (RFC 2817). */
static bool head_may_upgrade(struct span value)
{
	return http_name_is(value, "h2c") || http_name_is(value, "tls/1.2");
}

static int head_facts(struct http_head *h)
{
	unsigned hosts = 0, lengths = 0, codings = 0;

	h->keep_alive = h->minor == 1;
	for (size_t i = 0; i < h->n_fields; i++) {
		struct span name = h->fields[i].name, value = h->fields[i].value;

		if (http_name_is(name, "host")) {
			if (hosts++ || !all_of(value, CHAR_HOST))
				return HTTP_HEAD_E_BAD;
		} else if (http_name_is(name, "content-length")) {
			if (lengths++ || !head_number(value, &h->content_length))
				return HTTP_HEAD_E_BAD;
			h->framing = HTTP_FRAMING_LENGTH;
		} else if (http_name_is(name, "transfer-encoding")) {
			if (codings++ || h->minor == 0 || !http_name_is(value, "chunked"))
				return HTTP_HEAD_E_BAD;
			h->framing = HTTP_FRAMING_CHUNKED;
		} else if (http_name_is(name, "connection")) {
			h->keep_alive = h->keep_alive && !head_list_has(value, "close");
		} else if (http_name_is(name, "upgrade")) {
			if (!head_may_upgrade(value))
				return HTTP_HEAD_E_BAD;
		} else if (http_name_is(name, "expect")) {
			if (!http_name_is(value, "100-continue"))
				return HTTP_HEAD_E_EXPECTATION;
			h->expect_continue = h->minor == 1;
		}
	}
	if (hosts == 0 && h->minor == 1)
		return HTTP_HEAD_E_BAD;
	return lengths + codings <= 1 ? 0 : HTTP_HEAD_E_BAD;
}

/* Did llhttp understand what we understood? */
static bool head_agrees(const struct http_head *h, const llhttp_t *p)
{
	static const uint8_t methods[] = {HTTP_GET, HTTP_HEAD, HTTP_POST};
	bool chunked = p->flags & F_CHUNKED, length = p->flags & F_CONTENT_LENGTH;

	if (p->http_major != 1 || p->http_minor != h->minor || (p->upgrade && !http_head_field(h, "upgrade").p))
		return false;
	if (h->method != HTTP_METHOD_OTHER && p->method != methods[h->method])
		return false;
	if (chunked != (h->framing == HTTP_FRAMING_CHUNKED) || length != (h->framing == HTTP_FRAMING_LENGTH))
		return false;
	return !length || p->content_length == h->content_length;
}

int http_head_parse(struct span head, struct http_head *ret_head)
{
	struct http_head *h = ret_head;
	size_t n_fields;
	llhttp_t parser;

	h->framing = HTTP_FRAMING_NONE;
	h->content_length = 0;
	h->keep_alive = h->expect_continue = false;
	h->n_fields = 0;
	h->fields[0] = (struct http_field){SPAN_NULL, SPAN_NULL};
	int r = head_lines(head, h, &n_fields);
	if (r)
		return r;
	llhttp_init(&parser, HTTP_REQUEST, &head_settings);
	parser.data = h;
	if (llhttp_execute(&parser, (const char *)head.p, head.len) != HPE_PAUSED || h->n_fields != n_fields)
		return HTTP_HEAD_E_BAD;
	r = head_facts(h);
	if (r)
		return r;
	return head_agrees(h, &parser) ? 0 : HTTP_HEAD_E_BAD;
}
