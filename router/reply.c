/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `body` holds [released | held back]. reply_iov() frames everything that is released as one piece; whatever a write
 * does not take of that piece moves to `wire`, framing and all, and leaves before anything new is framed. So a piece is
 * framed exactly once, and the common case, a write that takes all, copies nothing.
 */
#include "router/reply.h"

#include <assert.h>
#include <stdio.h>

#include "common/err.h"
#include "router/http_write.h"

#define REPLY_HEAD_BYTES_MAX 65536
#define REPLY_BODY_BYTES_MAX (REPLY_HELD_BYTES_MAX + (1U << 20))
#define REPLY_WIRE_BYTES_MAX (REPLY_BODY_BYTES_MAX + REPLY_HEAD_BYTES_MAX + 64)
#define REPLY_KEPT_BYTES     8192

static const char last_chunk[] = "\r\n0\r\n\r\n";

void reply_init(struct reply *r)
{
	*r = (struct reply){0};
	buf_init(&r->head, REPLY_HEAD_BYTES_MAX);
	buf_init(&r->body, REPLY_BODY_BYTES_MAX);
	buf_init(&r->wire, REPLY_WIRE_BYTES_MAX);
}

void reply_deinit(struct reply *r)
{
	buf_deinit(&r->head);
	buf_deinit(&r->body);
	buf_deinit(&r->wire);
}

void reply_trim(struct reply *r)
{
	if (r->body.cap > REPLY_KEPT_BYTES && buf_len(&r->body) == 0)
		buf_deinit(&r->body);
	if (r->wire.cap > 0 && buf_len(&r->wire) == 0)
		buf_deinit(&r->wire);
}

void reply_begin(struct reply *r, bool chunks, bool bodiless, bool close)
{
	assert(buf_len(&r->head) + r->released == 0);
	buf_reset(&r->head);
	buf_reset(&r->body);
	r->released = 0;
	r->framing = REPLY_FRAMING_OPEN;
	r->chunks = chunks;
	r->bodiless = bodiless;
	r->close = close;
	r->head_waits = false;
	r->begun = r->ended = r->cut = false;
	r->body_bytes = 0;
}

void reply_hold_head(struct reply *r)
{
	assert(r->framing == REPLY_FRAMING_OPEN);
	r->head_waits = true;
}

int reply_append(struct reply *r, struct span bytes)
{
	assert(!r->ended && !r->cut);
	if (bytes.len > REPLY_HELD_BYTES_MAX - MIN(reply_held(r).len, (size_t)REPLY_HELD_BYTES_MAX))
		return BUF_E_FULL;
	return buf_append(&r->body, bytes.p, bytes.len);
}

struct span reply_held(const struct reply *r)
{
	struct span all = buf_span(&r->body);

	return all.len > r->released ? span_of(all.p + r->released, all.len - r->released) : SPAN_NULL;
}

void reply_release(struct reply *r, size_t bytes)
{
	assert(bytes <= buf_len(&r->body) - r->released);
	r->head_waits &= bytes == 0;
	r->released += bytes;
	r->body_bytes += r->bodiless ? 0 : bytes;
}

void reply_end(struct reply *r)
{
	assert(!r->cut && reply_held(r).len == 0);
	r->head_waits = false;
	r->ended = true;
}

void reply_cut(struct reply *r, struct span words)
{
	assert(!r->ended);
	buf_truncate(&r->body, r->released);
	if (words.len > 0 && !buf_append(&r->body, words.p, words.len))
		reply_release(r, words.len);
	r->cut = true;
}

void reply_discard(struct reply *r)
{
	assert(!r->begun);
	buf_reset(&r->head);
	buf_reset(&r->body);
	r->released = 0;
}

/* What is not in `wire` yet and may leave. */
static size_t reply_ready(const struct reply *r)
{
	if (r->head_waits)
		return 0;
	return buf_len(&r->head) + r->released + (r->ended && r->framing == REPLY_FRAMING_CHUNKED);
}

static int reply_frame_head(struct reply *r)
{
	struct http_write w = {.to = &r->head};

	if (r->bodiless || r->ended)
		r->framing = r->bodiless ? REPLY_FRAMING_NONE : REPLY_FRAMING_LENGTH;
	else
		r->framing = r->chunks ? REPLY_FRAMING_CHUNKED : REPLY_FRAMING_CLOSE;
	if (r->ended && (!r->bodiless || r->released > 0))
		http_write_field_u64(&w, "content-length", r->released);
	if (r->framing == REPLY_FRAMING_CHUNKED)
		http_write_field(&w, "transfer-encoding", SPAN_LIT("chunked"));
	r->close |= r->framing == REPLY_FRAMING_CLOSE;
	if (r->close)
		http_write_field(&w, "connection", SPAN_LIT("close"));
	if (!w.r)
		w.r = buf_append_str(&r->head, "\r\n");
	if (r->framing == REPLY_FRAMING_NONE) {
		buf_consume(&r->body, r->released);
		r->released = 0;
	}
	return w.r < 0 ? w.r : w.r ? err_fold(w.r) : 0;
}

static void reply_add(struct reply *r, struct iovec *iov, int *n, const void *p, size_t len)
{
	if (len > 0)
		iov[(*n)++] = (struct iovec){(void *)(uintptr_t)p, len};
	r->offered += len;
}

int reply_iov(struct reply *r, struct iovec iov[REPLY_IOV_MAX])
{
	struct span wire = buf_span(&r->wire);
	int n = 0;

	r->offered = 0;
	reply_add(r, iov, &n, wire.p, wire.len);
	if (n > 0 || reply_ready(r) == 0)
		return n;
	if (r->framing == REPLY_FRAMING_OPEN) {
		int e = reply_frame_head(r);
		if (e)
			return e;
	}
	struct span head = buf_span(&r->head), body = buf_span(&r->body);
	reply_add(r, iov, &n, head.p, head.len);
	if (r->framing != REPLY_FRAMING_CHUNKED) {
		reply_add(r, iov, &n, body.p, r->released);
		return n;
	}
	const char *tail = r->ended ? last_chunk : "\r\n";
	if (r->released > 0) {
		int len = snprintf(r->chunk_head, sizeof(r->chunk_head), "%zx\r\n", r->released);
		reply_add(r, iov, &n, r->chunk_head, (size_t)len);
		reply_add(r, iov, &n, body.p, r->released);
		reply_add(r, iov, &n, tail, strlen(tail));
	} else if (r->ended) {
		reply_add(r, iov, &n, last_chunk + 2, sizeof(last_chunk) - 3);
	}
	return n;
}

/* Everything framed has been written or lies in `wire`. */
static void reply_taken(struct reply *r)
{
	buf_reset(&r->head);
	buf_consume(&r->body, r->released);
	r->released = 0;
	if (r->ended && r->framing == REPLY_FRAMING_CHUNKED)
		r->framing = REPLY_FRAMING_NONE;
}

int reply_sent(struct reply *r, size_t bytes)
{
	struct iovec iov[REPLY_IOV_MAX];

	r->begun |= bytes > 0 && r->framing != REPLY_FRAMING_OPEN; /* else it was a 100 Continue */
	if (buf_len(&r->wire) > 0) {
		buf_consume(&r->wire, bytes);
		return 0;
	}
	if (bytes == r->offered) {
		reply_taken(r);
		return 0;
	}
	int n = reply_iov(r, iov);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		size_t skip = MIN(bytes, iov[i].iov_len);
		bytes -= skip;
		int e = buf_append(&r->wire, (char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
		if (e)
			return e < 0 ? e : err_fold(e);
	}
	assert(bytes == 0);
	reply_taken(r);
	return 0;
}

size_t reply_pending(const struct reply *r)
{
	return buf_len(&r->wire) + reply_ready(r);
}

bool reply_needs_reset(const struct reply *r)
{
	return r->framing == REPLY_FRAMING_CLOSE && (!r->ended || reply_pending(r) > 0);
}
