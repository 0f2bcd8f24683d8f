/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's answer on its way through. Of an event stream only whole events pass, and it is complete only when its
 * last event has come: `data: [DONE]`, or `data: {"error": ...}`, with which many end instead. One that has it is
 * whole, however impolitely the connection ends; one that ends without either is broken, however politely, unless the
 * model has said that it is finished: Perplexity and several servers of local models end so, in order and without a
 * word.
 *
 * A plain answer is held until it is whole, if it is not large: half a JSON object is of no use to anybody, and while
 * nothing has left, an answer that breaks off can still be refused in words which a client knows how to take: it tries
 * a 503 again, but not a body that stops. Two things are not held: what is larger, and white space in front, by which a
 * provider says that it is still thinking.
 */
#include "proto/proto.h"
#include "router/fields.h"
#include "router/request_parts.h"

static bool starts_with(struct span s, const char *with)
{
	return s.len >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

enum reason relay_head(struct request *r, const struct proto_reply_head *head)
{
	static const char events[] = "text/event-stream";
	struct span type = fields_find(&head->headers, "content-type");
	struct proto_list list = head->headers;
	struct http_write w;

	r->stream = head->status == 200 && type.len >= sizeof(events) - 1 &&
		    http_name_is(span_of(type.p, sizeof(events) - 1), events);
	answer_begin(r, (unsigned)head->status, &w);
	r->reply.bodiless |= head->status == 204 || head->status == 304;
	if (!r->stream)
		reply_hold_head(&r->reply);
	if (type.len == 0)
		http_write_field(&w, "content-type", SPAN_LIT("application/octet-stream"));
	fields_to_client(&w, &list);
	return w.r ? REASON_UPSTREAM_INVALID : REASON_NONE;
}

/* Behind JSON's white space (RFC 8259 section 2). */
static struct span skip_blank(struct span s)
{
	while (s.len > 0 && memchr(" \t\r\n", s.p[0], 4))
		s = span_of(s.p + 1, s.len - 1);
	return s;
}

static bool is_blank(struct span s)
{
	return skip_blank(s).len == 0;
}

/* Takes `with` from the front of `s`, and white space before it. */
static bool takes(struct span *s, const char *with)
{
	*s = skip_blank(*s);
	if (!starts_with(*s, with))
		return false;
	*s = span_of(s->p + strlen(with), s->len - strlen(with));
	return true;
}

/* An object that begins with an error; of some servers every piece begins with `"error":null`. */
static bool is_error(struct span data)
{
	return takes(&data, "{") && takes(&data, "\"error\"") && takes(&data, ":") &&
	       (takes(&data, "{") || takes(&data, "\""));
}

/* A choice has its finish_reason, which is null or empty until then. In a string the name's quotes would be escaped. */
static bool is_finish(struct span data)
{
	static const char name[] = "\"finish_reason\"";
	const uint8_t *end = data.p + data.len, *at;

	while (data.len > 0 && (at = memmem(data.p, data.len, name, sizeof(name) - 1))) {
		at += sizeof(name) - 1;
		data = span_of(at, (size_t)(end - at));
		if (takes(&data, ":") && takes(&data, "\"") && !starts_with(data, "\""))
			return true;
	}
	return false;
}

/* As far as it is an object; what is none says nothing. */
static bool is_whole(struct span data)
{
	return data.len == 0 || data.p[data.len - 1] == '}';
}

static void relay_event(struct request *r, struct span event)
{
	struct span data = sse_data(event);

	if (starts_with(data, "[DONE]") || is_error(data)) {
		r->stream_done = true;
	} else if (data.len > 0) {
		r->stream_finished = r->stream_finished || is_finish(data);
		(void)usage_read(&r->record.usage, data);
	}
}

/* Passes on what was held. */
static void relay_let_go(struct request *r, struct span held)
{
	if (r->reply.head_waits) /* a plain answer's beginning */
		usage_begin(&r->record.usage, held);
	reply_release(&r->reply, held.len);
}

static void relay_plain(struct request *r, struct span bytes)
{
	struct span held = reply_held(&r->reply);

	usage_pass(&r->record.usage, &r->tail, bytes);
	if (!r->reply.head_waits || held.len > REPLY_WHOLE_BYTES_MAX || is_blank(held))
		relay_let_go(r, held);
}

/* As much at a time as finds room beside what is held: what follows an event in the same piece is none of its bytes. */
static enum reason relay_events(struct request *r, struct span bytes)
{
	size_t n;

	while (bytes.len > 0) {
		size_t part = MIN(bytes.len, REPLY_HELD_BYTES_MAX - reply_held(&r->reply).len);
		int e = part > 0 ? reply_append(&r->reply, span_of(bytes.p, part)) : BUF_E_FULL;

		if (e)
			return e < 0 ? REASON_INTERNAL : REASON_UPSTREAM_TOO_LARGE;
		while (sse_next(&r->sse, reply_held(&r->reply), &n)) {
			relay_event(r, span_of(reply_held(&r->reply).p, n));
			reply_release(&r->reply, n);
		}
		bytes = span_of(bytes.p + part, bytes.len - part);
	}
	return REASON_NONE;
}

enum reason relay_data(struct request *r, struct span bytes)
{
	if (r->reply.bodiless)
		return REASON_UPSTREAM_INVALID;
	if (r->reply.body_bytes + reply_held(&r->reply).len + bytes.len > r->all->limits.stream_bytes_max)
		return REASON_UPSTREAM_TOO_LARGE;
	if (r->stream)
		return relay_events(r, bytes);
	int e = reply_append(&r->reply, bytes);
	if (e)
		return e < 0 ? REASON_INTERNAL : REASON_UPSTREAM_TOO_LARGE;
	relay_plain(r, bytes);
	return REASON_NONE;
}

enum reason relay_end(struct request *r, const struct proto_end *end)
{
	struct span held = reply_held(&r->reply);

	if (r->stream) {
		if (held.len > 0)
			relay_event(r, held); /* an empty line after the last event is often forgotten */
		r->stream_done |= r->stream_finished && is_whole(sse_data(held));
		if (!r->stream_done)
			return REASON_UPSTREAM_BROKEN;
	} else {
		usage_end(&r->record.usage, &r->tail);
	}
	relay_let_go(r, held);
	reply_end(&r->reply);
	memcpy(r->record.digest, end->digest.p, sizeof(r->record.digest));
	r->record.has_digest = true;
	return REASON_NONE;
}

bool relay_cut(struct request *r, enum reason reason)
{
	struct span held = reply_held(&r->reply);
	struct buf words;

	if (r->stream_done && is_blank(held)) {
		relay_let_go(r, held);
		reply_end(&r->reply);
		return true;
	}
	if (!r->reply.begun)
		return false;
	r->record.reason = reason;
	buf_init(&words, 4096);
	int e = r->stream && !r->stream_done ? http_write_error_event(&words, reason) : 0;
	reply_cut(&r->reply, e ? SPAN_NULL : buf_span(&words));
	buf_deinit(&words);
	return true;
}
