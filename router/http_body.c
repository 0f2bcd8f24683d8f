/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked framing without its optional parts: no chunk extensions (nobody who means well sends them to an API, and
 * readers differ in where one ends), no trailer fields, at most eight hex digits, CRLF and nothing else as line end.
 *
 *   SIZE -> DATA -> DATA_END -> SIZE ... SIZE(0) -> LAST -> DONE
 *
 * A body with a length is one DATA; a body without framing is DONE at once.
 */
#include "router/http_body.h"

#define CHUNK_DIGITS_MAX 8

void http_body_init(struct http_body *b, const struct http_head *head)
{
	bool chunked = head->framing == HTTP_FRAMING_CHUNKED;
	bool some = head->framing == HTTP_FRAMING_LENGTH && head->content_length > 0;

	*b = (struct http_body){
		.state = chunked ? HTTP_BODY_SIZE
			 : some  ? HTTP_BODY_DATA
				 : HTTP_BODY_DONE,
		.chunked = chunked,
		.left = some ? head->content_length : 0,
	};
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\r\n", given in whole or in part. */
static int body_crlf(struct span in, size_t at)
{
	if (in.len > at && in.p[at] != '\r')
		return HTTP_BODY_E_BAD;
	if (in.len < at + 2)
		return HTTP_BODY_E_MORE;
	return in.p[at + 1] == '\n' ? 0 : HTTP_BODY_E_BAD;
}

static int body_size(struct http_body *b, struct span in, size_t *ret_used)
{
	uint64_t size = 0;
	size_t i = 0;
	int digit;

	for (; i < in.len && i < CHUNK_DIGITS_MAX && (digit = hex_digit(in.p[i])) >= 0; i++)
		size = size << 4 | (uint64_t)digit;
	if (i == 0)
		return in.len == 0 ? HTTP_BODY_E_MORE : HTTP_BODY_E_BAD;
	int r = body_crlf(in, i);
	if (r)
		return r;
	b->left = size;
	b->state = size > 0 ? HTTP_BODY_DATA : HTTP_BODY_LAST;
	*ret_used = i + 2;
	return 0;
}

static int body_data(struct http_body *b, struct span in, size_t *ret_used, struct span *ret_data)
{
	size_t n = in.len < b->left ? in.len : (size_t)b->left;

	if (n == 0)
		return HTTP_BODY_E_MORE;
	b->left -= n;
	if (b->left == 0)
		b->state = b->chunked ? HTTP_BODY_DATA_END : HTTP_BODY_DONE;
	*ret_data = span_of(in.p, n);
	*ret_used = n;
	return 0;
}

int http_body_next(struct http_body *b, struct span in, size_t *ret_used, struct span *ret_data)
{
	int r;

	*ret_used = 0;
	*ret_data = SPAN_NULL;
	switch (b->state) {
	case HTTP_BODY_SIZE:
		return body_size(b, in, ret_used);
	case HTTP_BODY_DATA:
		return body_data(b, in, ret_used, ret_data);
	case HTTP_BODY_DATA_END:
	case HTTP_BODY_LAST:
		r = body_crlf(in, 0);
		if (r)
			return r;
		b->state = b->state == HTTP_BODY_LAST ? HTTP_BODY_DONE : HTTP_BODY_SIZE;
		*ret_used = 2;
		return 0;
	case HTTP_BODY_DONE:
		break;
	}
	return HTTP_BODY_E_DONE;
}
