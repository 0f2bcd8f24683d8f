/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smuggling corpus: every head below is refused, or read in the one way that is written beside it. Twice: with
 * llhttp as it is, and with one in its place that believes everything, since the rules must not depend on which is
 * linked. A third one lies, and is found out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <llhttp.h>

#include "router/http_head.h"

#define H "Host: a\r\n"

/* ---- in the place of llhttp ---- */

enum lie {
	NO_LIE,
	LIE_LENGTH,
	LIE_CHUNKED,
	LIE_NO_FRAMING,
	LIE_METHOD,
	LIE_MINOR,
	LIE_MAJOR,
	LIE_UPGRADE,
	LIE_FIELD,
	LIE_END,
	N_LIES
};

/* The wrapper has no context to be given. */
static struct {
	bool credulous;
	enum lie lie;
} reader;

static void believe_field(llhttp_t *p, const char *line, size_t len)
{
	const llhttp_settings_t *settings = p->settings;
	const char *colon = memchr(line, ':', len);
	struct span name = span_of(line, colon ? (size_t)(colon - line) : len);
	struct span value = span_of(line + name.len + (colon != NULL), len - name.len - (colon != NULL));

	while (value.len > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
		value = span_of(value.p + 1, value.len - 1);
	(void)settings->on_header_field(p, (const char *)name.p, name.len);
	(void)settings->on_header_value(p, (const char *)value.p, value.len);
	(void)settings->on_header_value_complete(p);
	if (http_name_is(name, "content-length")) {
		p->flags = F_CONTENT_LENGTH;
		p->content_length = strtoull((const char *)value.p, NULL, 10);
	} else if (http_name_is(name, "transfer-encoding")) {
		p->flags = F_CHUNKED;
	}
}

static void believe(llhttp_t *p, const char *data, size_t len)
{
	const char *end = data + len, *line = data;

	p->method = data[0] == 'G' ? HTTP_GET : data[0] == 'H' ? HTTP_HEAD : HTTP_POST;
	p->http_major = 1;
	p->flags = 0;
	for (const char *cr; line < end && (cr = memchr(line, '\r', (size_t)(end - line))) && cr > line;
	     line = cr + 2) {
		if (line == data)
			p->http_minor = cr[-1] == '1';
		else
			believe_field(p, line, (size_t)(cr - line));
	}
}

static void tell_lie(llhttp_t *p)
{
	p->content_length += reader.lie == LIE_LENGTH;
	p->flags = reader.lie == LIE_CHUNKED ? F_CHUNKED : reader.lie == LIE_NO_FRAMING ? 0 : p->flags;
	p->method = reader.lie == LIE_METHOD ? HTTP_GET : p->method;
	p->http_minor ^= reader.lie == LIE_MINOR;
	p->http_major ^= reader.lie == LIE_MAJOR;
	p->upgrade = reader.lie == LIE_UPGRADE;
	if (reader.lie == LIE_FIELD)
		believe_field(p, "x: y", 4);
}

llhttp_errno_t __real_llhttp_execute(llhttp_t *p, const char *data, size_t len);
llhttp_errno_t __wrap_llhttp_execute(llhttp_t *p, const char *data, size_t len);
llhttp_errno_t __wrap_llhttp_execute(llhttp_t *p, const char *data, size_t len)
{
	if (!reader.credulous)
		return __real_llhttp_execute(p, data, len);
	believe(p, data, len);
	tell_lie(p);
	return reader.lie == LIE_END ? HPE_OK : HPE_PAUSED;
}

/* Scans byte by byte and at once, which must agree, then parses. */
static int read_head(struct span in, struct http_head *h)
{
	struct http_scan whole = {0}, piecewise = {0};
	size_t bytes = 0, again = 0;
	int r = http_scan(&whole, in, &bytes), p = HTTP_HEAD_E_MORE;

	for (size_t n = 0; n <= in.len && p == HTTP_HEAD_E_MORE; n++) {
		uint8_t *copy = malloc(n + 1); /* exact, so that a sanitizer sees a read beyond */
		assert_non_null(copy);
		memcpy(copy, in.p, n);
		p = http_scan(&piecewise, span_of(copy, n), &again);
		free(copy);
	}
	assert_int_equal(r, p);
	assert_int_equal(bytes, again);
	return r ? r : http_head_parse(span_of(in.p, bytes), h);
}

struct bad {
	const char *what;
	struct span head;
	int expect;
};

#define BAD(what, s)                                                         \
	{                                                                    \
		what, {(const uint8_t *)(s), sizeof(s) - 1}, HTTP_HEAD_E_BAD \
	}
#define ERR(what, s, expect)                                        \
	{                                                           \
		what, {(const uint8_t *)(s), sizeof(s) - 1}, expect \
	}

static const struct bad corpus[] = {
	BAD("llhttp trap: bare CR hides a field (CVE-2023-30589)",
	    "POST / HTTP/1.1\r\n" H "X-Abc:\rxTransfer-Encoding: chunked\r\n\r\n"),
	BAD("llhttp trap: bare LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
	BAD("bare LF ends a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
	BAD("bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
	BAD("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
	BAD("CR before a name", "GET / HTTP/1.1\r\n\rHost: a\r\n\r\n"),
	BAD("NUL in a value", "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"),
	BAD("NUL in a name", "GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n"),
	BAD("control character in a value", "GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n"),
	BAD("DEL in a value", "GET / HTTP/1.1\r\n" H "X: \x7f\r\n\r\n"),
	BAD("obs-fold with SP (CVE-2024-27982)", "POST / HTTP/1.1\r\n" H " Content-Length: 5\r\n\r\n"),
	BAD("obs-fold with HT", "POST / HTTP/1.1\r\n" H "X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n"),
	BAD("obs-fold on the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
	BAD("folded line of white space", "GET / HTTP/1.1\r\n" H " \r\n\r\n"),
	BAD("empty line in front", "\r\nGET / HTTP/1.1\r\n" H "\r\n"),
	BAD("empty name", "GET / HTTP/1.1\r\n" H ": a\r\n\r\n"),
	BAD("space before the colon", "POST / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n"),
	BAD("tab before the colon", "POST / HTTP/1.1\r\n" H "Transfer-Encoding\t: chunked\r\n\r\n"),
	BAD("no colon", "GET / HTTP/1.1\r\n" H "nonsense\r\n\r\n"),
	BAD("not a token in a name", "GET / HTTP/1.1\r\n" H "X(y): a\r\n\r\n"),
	BAD("name beyond ASCII", "GET / HTTP/1.1\r\n" H "Tr\xc3\xa4nsfer: a\r\n\r\n"),
	/* the request line */
	BAD("no version (HTTP/0.9)", "GET /\r\n" H "\r\n"),
	BAD("HTTP/0.9 named", "GET / HTTP/0.9\r\n" H "\r\n"),
	BAD("HTTP/2.0", "GET / HTTP/2.0\r\n" H "\r\n"),
	BAD("HTTP/1.2", "GET / HTTP/1.2\r\n" H "\r\n"),
	BAD("HTTP/1.10", "GET / HTTP/1.10\r\n" H "\r\n"),
	BAD("HTTP/1", "GET / HTTP/1\r\n" H "\r\n"),
	BAD("http/1.1 in lower case", "GET / http/1.1\r\n" H "\r\n"),
	BAD("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	BAD("two spaces after the method", "GET  / HTTP/1.1\r\n" H "\r\n"),
	BAD("two spaces after the target", "GET /  HTTP/1.1\r\n" H "\r\n"),
	BAD("space at the end", "GET / HTTP/1.1 \r\n" H "\r\n"),
	BAD("space in front", " GET / HTTP/1.1\r\n" H "\r\n"),
	BAD("tab between", "GET\t/ HTTP/1.1\r\n" H "\r\n"),
	BAD("fragment", "GET /v1/models#x HTTP/1.1\r\n" H "\r\n"),
	BAD("absolute form", "GET http://b/ HTTP/1.1\r\n" H "\r\n"),
	BAD("authority form", "CONNECT a:80 HTTP/1.1\r\n" H "\r\n"),
	BAD("asterisk form", "OPTIONS * HTTP/1.1\r\n" H "\r\n"),
	BAD("no target", "GET  HTTP/1.1\r\n" H "\r\n"),
	BAD("target beyond ASCII", "GET /\xff HTTP/1.1\r\n" H "\r\n"),
	BAD("backslash in the target", "GET /a\\b HTTP/1.1\r\n" H "\r\n"),
	BAD("quote in the target", "GET /\" HTTP/1.1\r\n" H "\r\n"),
	BAD("ICE method", "SOURCE /radio HTTP/1.1\r\n" H "\r\n"),
	BAD("ICE protocol", "SOURCE /radio ICE/1.0\r\n" H "\r\n"),
	BAD("RTSP method", "DESCRIBE / HTTP/1.1\r\n" H "\r\n"),
	BAD("RTSP protocol", "GET / RTSP/1.0\r\n" H "\r\n"),
	BAD("WebDAV method", "PROPFIND / HTTP/1.1\r\n" H "\r\n"),
	BAD("TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n"),
	BAD("method in lower case", "get / HTTP/1.1\r\n" H "\r\n"),
	BAD("method glued to another", "GPOST / HTTP/1.1\r\n" H "\r\n"),
	BAD("TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
	/* Host */
	BAD("no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n"),
	BAD("no field at all", "GET / HTTP/1.1\r\n\r\n"),
	BAD("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
	BAD("two Hosts on HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
	BAD("two Hosts, another case", "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n"),
	BAD("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
	BAD("Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
	BAD("Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
	BAD("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
	/* framing */
	BAD("Content-Length twice, the same", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	BAD("Content-Length twice, different",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	BAD("Content-Length list", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n"),
	BAD("Content-Length signed", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"),
	BAD("Content-Length negative", "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n"),
	BAD("Content-Length hexadecimal", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"),
	BAD("Content-Length with a space inside", "POST / HTTP/1.1\r\n" H "Content-Length: 1 2\r\n\r\n"),
	BAD("Content-Length empty", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"),
	BAD("Content-Length over 64 bits", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551621\r\n\r\n"),
	BAD("Transfer-Encoding and Content-Length",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
	BAD("Content-Length and Transfer-Encoding",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	BAD("Transfer-Encoding twice",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
	BAD("Transfer-Encoding identity, chunked",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity, chunked\r\n\r\n"),
	BAD("Transfer-Encoding gzip, chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	BAD("Transfer-Encoding gzip and chunked apart",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
	BAD("Transfer-Encoding chunked, identity",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n"),
	BAD("Transfer-Encoding identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"),
	BAD("Transfer-Encoding xchunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"),
	BAD("Transfer-Encoding quoted", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"),
	BAD("Transfer-Encoding with VT", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
					 "chunked\r\n\r\n"),
	BAD("Transfer-Encoding empty", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"),
	BAD("Transfer-Encoding on HTTP/1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
	/* what we do not speak */
	BAD("one upgrade of several", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n"),
	BAD("another upgrade beside TLS", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: TLS/1.2, h2\r\n\r\n"),
	BAD("two upgrades", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: x\r\n\r\n"),
	BAD("websocket upgrade", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
	ERR("unknown expectation", "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", HTTP_HEAD_E_EXPECTATION),
	ERR("incomplete", "GET / HTTP/1.1\r\n" H, HTTP_HEAD_E_MORE),
	ERR("incomplete at CR", "GET / HTTP/1.1\r\n" H "\r", HTTP_HEAD_E_MORE),
	ERR("nothing", "", HTTP_HEAD_E_MORE),
};

static void test_corpus_is_refused(void **state)
{
	struct http_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
		int r = read_head(corpus[i].head, &h);
		if (r != corpus[i].expect)
			fail_msg("%s: got %d", corpus[i].what, r);
	}
}

static void test_corpus_is_refused_by_our_rules_alone(void **state)
{
	static struct http_head h;

	(void)state;
	reader.credulous = true;
	for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
		int r = read_head(corpus[i].head, &h);
		if (r != corpus[i].expect)
			fail_msg("%s: got %d", corpus[i].what, r);
	}
	reader.credulous = false;
}

static void test_two_readings_are_refused(void **state)
{
	static const char head[] = "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n";
	static struct http_head h;

	(void)state;
	reader.credulous = true;
	for (enum lie lie = NO_LIE; lie < N_LIES; lie++) {
		reader.lie = lie;
		int r = read_head(SPAN_LIT(head), &h);
		if (r != (lie == NO_LIE ? 0 : HTTP_HEAD_E_BAD))
			fail_msg("lie %d: got %d", lie, r);
	}
	reader.lie = NO_LIE;
	reader.credulous = false;
}

static void test_good_head(void **state)
{
	static const char text[] = "POST /v1/chat/completions?beta=true HTTP/1.1\r\nHOST: api.test:8080\r\n"
				   "content-length:  12 \r\nAuthorization:Bearer k\r\nExpect: 100-Continue\r\n"
				   "X-Empty:\r\nX-Utf8: \xc3\xa4\t!\r\nConnection: Keep-Alive\r\n\r\n{\"body\"";
	struct http_head h;

	(void)state;
	assert_int_equal(read_head(SPAN_LIT(text), &h), 0);
	assert_int_equal(h.method, HTTP_METHOD_POST);
	assert_true(span_eq_str(h.path, "/v1/chat/completions"));
	assert_true(span_eq_str(h.query, "beta=true"));
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.framing, HTTP_FRAMING_LENGTH);
	assert_int_equal(h.content_length, 12);
	assert_true(h.keep_alive && h.expect_continue);
	assert_int_equal(h.n_fields, 7);
	assert_true(span_eq_str(http_head_field(&h, "content-length"), "12"));
	assert_true(span_eq_str(http_head_field(&h, "authorization"), "Bearer k"));
	assert_true(span_eq_str(http_head_field(&h, "x-utf8"), "\xc3\xa4\t!"));
	assert_int_equal(http_head_field(&h, "x-empty").len, 0);
	assert_null(http_head_field(&h, "x-none").p);
}

static void test_framing_and_connection(void **state)
{
	static const struct {
		const char *head;
		enum http_framing framing;
		bool keep_alive;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", HTTP_FRAMING_NONE, true},
		{"GET / HTTP/1.0\r\n" H "\r\n", HTTP_FRAMING_NONE, false},
		{"GET / HTTP/1.0\r\n\r\n", HTTP_FRAMING_NONE, false},
		{"GET / HTTP/1.0\r\n" H "Connection: keep-alive\r\n\r\n", HTTP_FRAMING_NONE, false},
		{"GET / HTTP/1.1\r\n" H "Connection: foo , Close\r\n\r\n", HTTP_FRAMING_NONE, false},
		{"GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", HTTP_FRAMING_NONE, true},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", HTTP_FRAMING_CHUNKED, true},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", HTTP_FRAMING_LENGTH, true},
		{"DELETE /x HTTP/1.1\r\n" H "\r\n", HTTP_FRAMING_NONE, true},
		{"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 2\r\n" H
		 "HTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n\r\n",
		 HTTP_FRAMING_LENGTH, true},
		{"GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\n\r\n",
		 HTTP_FRAMING_NONE, true},
	};
	struct http_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(read_head(span_str(cases[i].head), &h), 0);
		assert_int_equal(h.framing, cases[i].framing);
		assert_int_equal(h.keep_alive, cases[i].keep_alive);
	}
}

/* A head with `n` fields besides Host, the last of them `pad` bytes long. */
static struct span head_of(char *to, size_t cap, size_t n, size_t pad)
{
	size_t len = (size_t)snprintf(to, cap, "GET / HTTP/1.1\r\n" H);

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(to + len, cap - len, "x-%zu: %s", i, i + 1 < n ? "a\r\n" : "");
	memset(to + len, 'p', pad);
	memcpy(to + len + pad, "\r\n\r\n", 4);
	return span_of(to, len + pad + 4);
}

static void test_limits(void **state)
{
	static char text[HTTP_HEAD_BYTES_MAX + 200];
	static struct http_head h;

	(void)state;
	assert_int_equal(read_head(head_of(text, sizeof(text), HTTP_HEAD_FIELDS_MAX - 1, 1), &h), 0);
	assert_int_equal(h.n_fields, HTTP_HEAD_FIELDS_MAX);
	assert_int_equal(read_head(head_of(text, sizeof(text), HTTP_HEAD_FIELDS_MAX, 1), &h), HTTP_HEAD_E_TOO_LARGE);
	size_t pad = HTTP_HEAD_BYTES_MAX - head_of(text, sizeof(text), 1, 0).len;
	struct http_scan s = {0};
	size_t bytes;
	assert_int_equal(http_scan(&s, head_of(text, sizeof(text), 1, pad), &bytes), 0);
	assert_int_equal(bytes, HTTP_HEAD_BYTES_MAX);
	s = (struct http_scan){0};
	assert_int_equal(http_scan(&s, head_of(text, sizeof(text), 1, pad + 1), &bytes), HTTP_HEAD_E_TOO_LARGE);
}

/* A broken byte anywhere in a good head never turns it into another good head of different framing. */
static void test_every_single_byte_changed(void **state)
{
	static const char text[] = "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\n";
	char copy[sizeof(text)];
	struct http_head h;

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		for (unsigned c = 0; c < 256; c++) {
			memcpy(copy, text, sizeof(text));
			copy[i] = (char)c;
			struct http_scan s = {0};
			size_t bytes = 0;
			struct span in = span_of(copy, sizeof(text) - 1);
			if (http_scan(&s, in, &bytes) || bytes != in.len || http_head_parse(in, &h))
				continue;
			assert_true(h.framing != HTTP_FRAMING_CHUNKED);
			assert_int_equal(h.n_fields, 2);
		}
}

/* Every byte at every place of a line, around the steps of the scan. */
static void any_byte_anywhere(void **state)
{
	char text[96];

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		bool good = c == '\t' || (c >= 0x20 && c != 0x7f);
		for (size_t at = 0; at < 48; at++) {
			struct http_scan scan = {0};
			size_t bytes,
				len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX: %048d\r\n\r\n", 0);
			text[19 + at] = (char)c;
			int r = http_scan(&scan, span_of(text, len), &bytes);
			assert_int_equal(r, good ? 0 : HTTP_HEAD_E_BAD);
			assert_true(r || bytes == len);
		}
	}
}

/* Each byte at each place of a name of each length: only a capital of the same letter is as good. */
static void test_names_in_any_case(void **state)
{
	static const char lower[] = "a-z{[`_@7zoeknamesoflength";
	uint8_t name[sizeof(lower)];

	(void)state;
	for (size_t len = 1; len < sizeof(lower); len++)
		for (size_t at = 0; at < len; at++)
			for (unsigned c = 0; c < 256; c++) {
				const unsigned l = (uint8_t)lower[at];
				memcpy(name, lower, len);
				name[at] = (uint8_t)c;
				assert_int_equal(http_name_equals(span_of(name, len), lower),
						 c == l || (l >= 'a' && l <= 'z' && c == l - 0x20));
			}
}

/* A tab may stand anywhere in a value, and what may not is seen behind it too. */
static void test_tabs(void **state)
{
	char text[100];

	(void)state;
	for (size_t at = 0; at < 40; at++)
		for (size_t bad = at + 1; bad <= 40; bad++) {
			struct http_scan s = {0};
			size_t n;
			int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\na: %040d\r\n\r\n", 0);
			text[19 + at] = '\t';
			assert_int_equal(http_scan(&s, span_of(text, (size_t)len), &n), 0);
			assert_int_equal(n, len);
			s = (struct http_scan){0};
			text[18 + bad] = '\x7f';
			assert_int_equal(http_scan(&s, span_of(text, (size_t)len), &n), HTTP_HEAD_E_BAD);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus_is_refused_by_our_rules_alone),
		cmocka_unit_test(test_two_readings_are_refused),
		cmocka_unit_test(test_corpus_is_refused),
		cmocka_unit_test(test_good_head),
		cmocka_unit_test(test_framing_and_connection),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_every_single_byte_changed),
		cmocka_unit_test(any_byte_anywhere),
		cmocka_unit_test(test_names_in_any_case),
		cmocka_unit_test(test_tabs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
