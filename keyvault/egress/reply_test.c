/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* What a reply came to, as one line of text: "200 name=value; |body|" and how it ended. */
struct seen {
	char text[70000];
	size_t len;
	unsigned heads;
};

static void put(struct seen *s, struct span bytes)
{
	assert_true(s->len + bytes.len < sizeof(s->text));
	memcpy(s->text + s->len, bytes.p, bytes.len);
	s->len += bytes.len;
	s->text[s->len] = 0;
}

static void on_head(void *ctx, unsigned status, const struct proto_header *passed, size_t n)
{
	struct seen *s = ctx;
	char digits[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), ' '};

	s->heads++;
	put(s, span_of(digits, 4));
	for (size_t i = 0; i < n; i++) {
		put(s, passed[i].name);
		put(s, SPAN_LIT("="));
		put(s, passed[i].value);
		put(s, SPAN_LIT("; "));
	}
	put(s, SPAN_LIT("|"));
}

static void on_body(void *ctx, struct span bytes)
{
	assert_true(bytes.len > 0);
	put(ctx, bytes);
}

static const struct reply_sink sink = {on_head, on_body};

/* Feeds `in` cut at `cut` and closes. The answer; *ret_rest: bytes left over after the reply. */
static int run(struct seen *seen, enum proto_method method, struct span in, size_t cut, size_t *ret_rest,
	       bool *ret_keep)
{
	/* On the heap, and each piece too, so that the sanitizers see one byte too far. */
	struct reply *r = malloc(sizeof(*r));
	int answer = 0;

	*ret_rest = 0;
	seen->len = 0;
	seen->heads = 0;
	seen->text[0] = 0;
	reply_init(r, method, 1000, &sink, seen);
	for (int piece = 0; piece < 2 && answer == 0; piece++) {
		struct span part = piece == 0 ? span_of(in.p, cut) : span_of(in.p + cut, in.len - cut);
		size_t used;
		uint8_t *copy = malloc(part.len + 1);
		memcpy(copy, part.p, part.len);
		answer = reply_feed(r, span_of(copy, part.len), &used);
		free(copy);
		if (answer == 0 && used < part.len) {
			assert_int_equal(r->state, REPLY_DONE);
			*ret_rest += part.len - used;
		}
	}
	if (answer == 0)
		answer = reply_eof(r);
	*ret_keep = r->keep_alive;
	reply_deinit(r);
	free(r);
	return answer;
}

struct row {
	const char *in;
	int answer;
	const char *text; /* NULL: no head may be seen */
	bool keep;
	size_t rest;
	enum proto_method method;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct row rows[] = {
	/* framing */
	{OK "content-length: 5\r\n\r\nhello", 0, "200 |hello", true, 0, PROTO_POST},
	{OK "Content-Length: 0\r\n\r\n", 0, "200 |", true, 0, PROTO_POST},
	{OK "content-length: 5\r\n\r\nhelloHTTP/1.1", 0, "200 |hello", true, 8, PROTO_POST},
	{OK "content-length: 5\r\n\r\nhell", REPLY_E_CUT, "200 |hell", false, 0, PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, w\r\n0\r\n\r\n", 0, "200 |hello, w", true, 0,
	 PROTO_POST},
	{OK "Transfer-Encoding: Chunked\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\nx", 0, "200 |0123456789", true, 1,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSet-Cookie: a=b\r\nx: y\r\n\r\n", 0, "200 |a", true, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", REPLY_E_CUT, "200 |a", false, 0, PROTO_POST},
	{OK "\r\nuntil the end", 0, "200 |until the end", false, 0, PROTO_POST},
	{"HTTP/1.0 200 OK\r\n\r\nold", 0, "200 |old", false, 0, PROTO_POST},
	{"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", 0, "200 |old", false, 0, PROTO_POST},
	{OK "connection: close\r\ncontent-length: 1\r\n\r\na", 0, "200 |a", false, 0, PROTO_POST},
	{OK "content-length: 5\r\n\r\n", 0, "200 |", true, 0, PROTO_HEAD},
	{OK "\r\n", 0, "200 |", true, 0, PROTO_HEAD},
	{"HTTP/1.1 204 No Content\r\n\r\n", 0, "204 |", true, 0, PROTO_POST},
	{"HTTP/1.1 304 Not Modified\r\n\r\n", 0, "304 |", true, 0, PROTO_GET},
	{"HTTP/1.1 204\r\n\r\nx", 0, "204 |", true, 1, PROTO_POST},
	/* interim answers */
	{"HTTP/1.1 100 Continue\r\n\r\n" OK "content-length: 1\r\n\r\na", 0, "200 |a", true, 0, PROTO_POST},
	{"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\n" OK "content-length: 0\r\n\r\n", 0, "200 |", true,
	 0, PROTO_POST},
	{"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	/* fields */
	{OK "Content-Type: text/event-stream\r\nset-cookie: a\r\nServer: x\r\nX-Request-ID: 7 "
	    "\r\nx-ratelimit-reset-tokens:\t6m0s\r\ncontent-length: 0\r\n\r\n",
	 0, "200 content-type=text/event-stream; x-upstream-request-id=7; x-upstream-ratelimit-reset-tokens=6m0s; |",
	 true, 0, PROTO_POST},
	{"HTTP/1.1 401 \xc3\x9cnauthorised\r\nauthorization: Bearer k\r\nx-api-key: k\r\nwww-authenticate: "
	 "k\r\ncontent-length: 0\r\n\r\n",
	 0, "401 |", true, 0, PROTO_POST},
	{OK "content-encoding: identity\r\ncontent-length: 0\r\n\r\n", 0, "200 |", true, 0, PROTO_POST},
	/* refused: codings and redirects */
	{OK "content-encoding: gzip\r\ncontent-length: 0\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1 302 Found\r\nlocation: https://evil.test/\r\ncontent-length: 0\r\n\r\n", REPLY_E_REDIRECT, NULL,
	 false, 0, PROTO_POST},
	{"HTTP/1.1 308 Permanent Redirect\r\ncontent-length: 0\r\n\r\n", REPLY_E_REDIRECT, NULL, false, 0, PROTO_POST},
	{OK "content-length: 1001\r\n\r\n", REPLY_E_TOO_LARGE, NULL, false, 0, PROTO_POST},
	/* refused: conflicting framing */
	{OK "content-length: 5\r\ncontent-length: 5\r\n\r\nhello", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length: 5, 5\r\n\r\nhello", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length: +5\r\n\r\nhello", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length: 0x5\r\n\r\nhello", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length:\r\n\r\nhello", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length: 18446744073709551617\r\n\r\nh", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", REPLY_E_INVALID, NULL, false, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", REPLY_E_INVALID, NULL, false,
	 0, PROTO_POST},
	{OK "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "transfer-encoding: identity\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	/* refused: heads that another parser might read otherwise */
	{"HTTP/2.0 200 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1  200 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1 20 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1 2000 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1 600 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"\r\n" OK "\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"ICE/1.1 200 OK\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{"HTTP/1.1 200 OK\ncontent-length: 0\n\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "a: b\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "X-Abc:\rxTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "a: b\r\n c\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "a : b\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK ": b\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "nocolon\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	{OK "a: b\x01\r\n\r\n", REPLY_E_INVALID, NULL, false, 0, PROTO_POST},
	/* refused: chunks */
	{OK "transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", REPLY_E_INVALID, "200 |", false, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", REPLY_E_INVALID, "200 |hello", false, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", REPLY_E_INVALID, "200 |", false, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n", REPLY_E_INVALID, "200 |", false, 0,
	 PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", REPLY_E_INVALID, "200 |", false, 0, PROTO_POST},
	{OK "transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", REPLY_E_INVALID, "200 |", false, 0, PROTO_POST},
	/* nothing at all */
	{"", REPLY_E_CUT, NULL, false, 0, PROTO_POST},
	{OK "a: b\r\n", REPLY_E_CUT, NULL, false, 0, PROTO_POST},
};

static void rows_at_every_cut(void **state)
{
	static struct seen seen;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span in = span_str(rows[i].in);
		for (size_t cut = 0; cut <= in.len; cut++) {
			size_t rest;
			bool keep;
			int answer = run(&seen, rows[i].method, in, cut, &rest, &keep);
			const char *want = rows[i].text ? rows[i].text : "";
			bool same = answer == rows[i].answer && strcmp(seen.text, want) == 0 &&
				    (answer != 0 || (rest == rows[i].rest && keep == rows[i].keep));
			if (!same)
				fail_msg("row %zu cut %zu: answer %d keep %d rest %zu saw '%s'", i, cut, answer, keep,
					 rest, seen.text);
			assert_true(seen.heads <= 1);
		}
	}
}

static int run_big(const char *line, size_t times)
{
	static struct seen seen;
	static char text[200000];
	size_t n = 0, rest;
	bool keep;

	n += (size_t)snprintf(text + n, sizeof(text) - n, OK);
	for (size_t i = 0; i < times; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\r\n", line);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "content-length: 1\r\n\r\nx"); /* a body is no part of it */
	int whole = run(&seen, PROTO_POST, span_of(text, n), 0, &rest, &keep);
	int cut = run(&seen, PROTO_POST, span_of(text, n), n / 2, &rest, &keep);
	assert_int_equal(whole, cut);
	return whole;
}

static void limits(void **state)
{
	char line[1025];

	(void)state;
	memset(line, 'v', 1024);
	memcpy(line, "a: ", 3);
	line[1022] = 0;
	assert_int_equal(run_big("a: b", 99), 0);
	assert_int_equal(run_big("a: b", 100), REPLY_E_INVALID);
	assert_int_equal(run_big(line, 63), 0);
	assert_int_equal(run_big(line, 64), REPLY_E_INVALID);
	assert_int_equal(run_big("x-request-id: 1", 99), 0); /* more than are passed on: the rest is dropped */
}

static void body_limit_and_endless_trailers(void **state)
{
	static struct seen seen;
	static char text[40000];
	struct reply r;
	size_t used;

	(void)state;
	reply_init(&r, PROTO_POST, 10, &sink, &seen);
	seen.len = 0;
	struct span in = SPAN_LIT(OK "\r\n0123456789");
	assert_int_equal(reply_feed(&r, in, &used), 0);
	assert_int_equal(reply_feed(&r, SPAN_LIT("x"), &used), REPLY_E_TOO_LARGE);
	reply_deinit(&r);

	reply_init(&r, PROTO_POST, 10, &sink, &seen);
	assert_int_equal(reply_feed(&r, SPAN_LIT(OK "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"), &used), 0);
	memset(text, 'x', sizeof(text));
	memcpy(text, "a: ", 3);
	assert_int_equal(reply_feed(&r, span_of(text, 16000), &used), 0);
	assert_int_equal(reply_feed(&r, span_of(text + 16, 16000), &used), REPLY_E_INVALID);
	reply_deinit(&r);

	reply_init(&r, PROTO_POST, 10, &sink, &seen);
	for (int i = 0; i < REPLY_INTERIM_MAX; i++)
		assert_int_equal(reply_feed(&r, SPAN_LIT("HTTP/1.1 102 P\r\n\r\n"), &used), 0);
	assert_int_equal(reply_feed(&r, SPAN_LIT("HTTP/1.1 102 P\r\n\r\n"), &used), REPLY_E_INVALID);
	reply_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_at_every_cut),
		cmocka_unit_test(limits),
		cmocka_unit_test(body_limit_and_endless_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
