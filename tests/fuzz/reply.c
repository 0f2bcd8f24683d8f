/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply parser: any bytes, any cuts. Oracle: the same bytes in one piece give the same head, body, end and answer;
 * no body byte is seen before a head; nothing is passed on with a control character in it.
 */
#include <assert.h>
#include <stdlib.h>

#include "keyvault/egress/reply.h"

#define BODY_MAX 500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	unsigned heads, status;
	uint64_t fields, body_hash, body_bytes;
};

static uint64_t hash(uint64_t h, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.p[i]) * 0x100000001b3u;
	return h;
}

static void on_head(void *ctx, unsigned status, const struct proto_header *passed, size_t n)
{
	struct seen *s = ctx;

	assert(s->heads++ == 0 && status >= 200 && status <= 599);
	s->status = status;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < passed[i].value.len; k++)
			assert(passed[i].value.p[k] >= 0x20 || passed[i].value.p[k] == '\t');
		s->fields = hash(hash(s->fields, passed[i].name), passed[i].value);
	}
}

static void on_body(void *ctx, struct span bytes)
{
	struct seen *s = ctx;

	assert(s->heads == 1 && bytes.len > 0);
	s->body_hash = hash(s->body_hash, bytes);
	s->body_bytes += bytes.len;
}

static int run(const uint8_t *data, size_t size, unsigned cuts, enum proto_method method, struct seen *seen,
	       bool *ret_keep)
{
	static const struct reply_sink sink = {on_head, on_body};
	struct reply r;
	int answer = 0;

	*seen = (struct seen){0};
	reply_init(&r, method, BODY_MAX, &sink, seen);
	for (size_t at = 0, used = 0, len; at < size && r.state != REPLY_DONE; at += used) {
		len = size - at;
		if (cuts) {
			cuts = cuts * 1664525u + 1013904223u;
			len = MIN(len, 1 + (size_t)(cuts >> 24) % 40);
		}
		uint8_t *piece = malloc(len);
		memcpy(piece, data + at, len);
		answer = reply_feed(&r, span_of(piece, len), &used);
		free(piece);
		if (answer)
			break;
		assert(used == len || r.state == REPLY_DONE);
	}
	if (answer == 0)
		answer = reply_eof(&r);
	*ret_keep = r.keep_alive;
	assert(seen->body_bytes <= BODY_MAX);
	reply_deinit(&r);
	return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, cut;
	bool keep_whole, keep_cut;

	if (size < 2)
		return 0;
	enum proto_method method = data[0] & 1 ? PROTO_HEAD : PROTO_POST;
	int a = run(data + 2, size - 2, 0, method, &whole, &keep_whole);
	int b = run(data + 2, size - 2, data[1] + 1u, method, &cut, &keep_cut);
	assert(a == b && whole.heads == cut.heads && whole.fields == cut.fields && whole.status == cut.status);
	assert(a != 0 ||
	       (keep_whole == keep_cut && whole.body_hash == cut.body_hash && whole.body_bytes == cut.body_bytes));
	return 0;
}
