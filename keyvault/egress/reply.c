/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two parsers in a row. Ours reads a head line by line and accepts less than any server should send: CRLF only, no
 * folding, no bare CR or NUL, names that are tokens, one length or one "chunked" and never both. From it come the
 * status and the fields that are passed on. Only then llhttp reads the same bytes, and must come to the same framing;
 * it then reads the body. Where the two disagree the answer is refused: such a difference is what smuggling is made of.
 *
 * A head that arrives whole is read where it lies. One that comes in pieces is gathered in memory that is wiped when it
 * is let go, since a provider may echo a key in it. Interim answers (1xx) are read by ours and dropped.
 *
 * Fields are passed by a list of exact names: nothing else of the provider's reaches a client, no Set-Cookie, no
 * hop-by-hop field, no name that a provider could choose freely. What describes the provider's own limits gets another
 * name, as ours describe the key's.
 */
#include "keyvault/egress/reply.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/secret.h"
#include "keyvault/egress/chars.h"

#define REPLY_HEAD_FIRST_BYTES 4096
#define REPLY_LENGTH_DIGITS    15

struct reply_pass {
	struct span name, as;
};

#define REPLY_TEXT(s)                               \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static const struct reply_pass reply_passes[] = {
#define PASSED(theirs, ours) {REPLY_TEXT(theirs), REPLY_TEXT(ours)},
#include "proto/passed.def"
#undef PASSED
};

/* Of which lengths their names are. */
#define REPLY_NAME_BYTES_MAX 63
static const uint64_t reply_pass_lengths = 0
#define PASSED(theirs, ours) | BIT(sizeof(theirs) - 1)
#include "proto/passed.def"
#undef PASSED
	;

/* What our own reading of a head found. */
struct reply_head {
	unsigned status, minor;
	bool has_length, chunked;
	uint64_t length;
	size_t n_fields, n_passed;
	struct proto_header passed[REPLY_PASSED_MAX];
};

static int reply_on_head(llhttp_t *p)
{
	struct reply *r = p->data;

	r->head_seen = true;
	return r->to_head_request; /* 1: no body follows */
}

static int reply_on_body(llhttp_t *p, const char *at, size_t len)
{
	struct reply *r = p->data;

	if (len > r->body_bytes_max - r->body_bytes) {
		r->too_large = true;
		return -1;
	}
	r->body_bytes += len;
	r->body_seen = true;
	r->sink->body(r->ctx, span_of(at, len));
	return 0;
}

static int reply_on_complete(llhttp_t *p)
{
	struct reply *r = p->data;

	r->keep_alive = llhttp_should_keep_alive(p) && !r->until_close;
	r->state = REPLY_DONE;
	return HPE_PAUSED; /* what follows is not ours to read */
}

static int reply_on_extension(llhttp_t *p, const char *at, size_t len)
{
	(void)p;
	(void)at;
	(void)len;
	return -1;
}

static const llhttp_settings_t reply_settings = {
	.on_headers_complete = reply_on_head,
	.on_body = reply_on_body,
	.on_message_complete = reply_on_complete,
	.on_chunk_extension_name = reply_on_extension,
	.on_chunk_extension_value = reply_on_extension,
};

void reply_init(struct reply *r, enum proto_method method, uint64_t body_bytes_max, const struct reply_sink *sink,
		void *ctx)
{
	*r = (struct reply){
		.sink = sink, .ctx = ctx, .body_bytes_max = body_bytes_max, .to_head_request = method == PROTO_HEAD};
	llhttp_init(&r->parser, HTTP_RESPONSE, &reply_settings);
	r->parser.data = r;
}

static void reply_drop_head(struct reply *r)
{
	if (r->head)
		secret_wipe(r->head, r->head_cap);
	free(r->head);
	r->head = NULL;
	r->head_len = r->head_cap = r->line_begin = 0;
}

void reply_deinit(struct reply *r)
{
	reply_drop_head(r);
}

/* ---- our own reading of a head ---- */

static bool reply_is(struct span s, struct span lower)
{
	if (s.len != lower.len)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]) != lower.p[i])
			return false;
	return true;
}

static struct span reply_trim(struct span s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = span_of(s.p + 1, s.len - 1);
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* "HTTP/1.1 200 OK" */
static int reply_read_status(struct reply_head *h, struct span line)
{
	if (line.len < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || (line.p[7] != '0' && line.p[7] != '1') ||
	    line.p[8] != ' ' || (line.len > 12 && line.p[12] != ' ') || !chars_text(line))
		return REPLY_E_INVALID;
	for (size_t i = 9; i < 12; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return REPLY_E_INVALID;
		h->status = h->status * 10 + (line.p[i] - '0');
	}
	h->minor = line.p[7] - '0';
	return h->status >= 100 && h->status <= 599 ? 0 : REPLY_E_INVALID;
}

static int reply_read_length(struct reply_head *h, struct span value)
{
	if (h->has_length || value.len == 0 || value.len > REPLY_LENGTH_DIGITS)
		return REPLY_E_INVALID;
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return REPLY_E_INVALID;
		h->length = h->length * 10 + (value.p[i] - '0');
	}
	h->has_length = true;
	return 0;
}

static int reply_read_coding(struct reply_head *h, struct span value)
{
	if (h->chunked || h->minor == 0 || !reply_is(value, SPAN_LIT("chunked")))
		return REPLY_E_INVALID;
	h->chunked = true;
	return 0;
}

static void reply_pass(struct reply_head *h, struct span name, struct span value)
{
	if (name.len > REPLY_NAME_BYTES_MAX || !(reply_pass_lengths & BIT(name.len)))
		return;
	for (size_t i = 0; i < ARRAY_LEN(reply_passes); i++) {
		if (!reply_is(name, reply_passes[i].name))
			continue;
		if (h->n_passed < REPLY_PASSED_MAX && value.len <= 8192)
			h->passed[h->n_passed++] = (struct proto_header){.name = reply_passes[i].as, .value = value};
		return;
	}
}

static int reply_read_field(struct reply_head *h, struct span line)
{
	const uint8_t *colon = memchr(line.p, ':', line.len);

	if (!colon || ++h->n_fields > REPLY_FIELDS_MAX)
		return REPLY_E_INVALID;
	struct span name = span_of(line.p, (size_t)(colon - line.p));
	struct span value = span_of(colon + 1, line.len - name.len - 1);
	if (name.len == 0 || !chars_all(name, CHARS_TOKEN) || !chars_text(value))
		return REPLY_E_INVALID;
	value = reply_trim(value);
	if (reply_is(name, SPAN_LIT("content-length")))
		return reply_read_length(h, value);
	if (reply_is(name, SPAN_LIT("transfer-encoding")))
		return reply_read_coding(h, value);
	if (reply_is(name, SPAN_LIT("content-encoding")))
		return value.len == 0 || reply_is(value, SPAN_LIT("identity")) ? 0 : REPLY_E_INVALID;
	reply_pass(h, name, value);
	return 0;
}

/* `text`: a whole head with its empty line; every line ends with CRLF. */
static int reply_read_head(struct reply_head *h, struct span text)
{
	bool first = true;
	int r = 0;

	for (size_t at = 0; r == 0 && at < text.len - 2; first = false) {
		const uint8_t *lf = memchr(text.p + at, '\n', text.len - at);
		struct span line = span_of(text.p + at, (size_t)(lf - text.p) - 1 - at);
		r = first ? reply_read_status(h, line) : reply_read_field(h, line);
		at += line.len + 2;
	}
	if (r == 0 && (first || (h->has_length && h->chunked)))
		return REPLY_E_INVALID;
	return r;
}

/* Looks for the empty line, from line_begin on: its end in *ret_len, or 0 there when it has not come. REPLY_E_INVALID:
 * a bare LF. */
static int reply_find_head(struct reply *r, struct span text, size_t *ret_len)
{
	*ret_len = 0;
	while (r->line_begin < text.len) {
		const uint8_t *begin = text.p + r->line_begin;
		const uint8_t *lf = memchr(begin, '\n', text.len - r->line_begin);
		if (!lf)
			return 0;
		if (lf == begin || lf[-1] != '\r')
			return REPLY_E_INVALID;
		r->line_begin = (size_t)(lf - text.p) + 1;
		if (lf - begin == 1) {
			*ret_len = r->line_begin;
			return 0;
		}
	}
	return 0;
}

static int reply_gather(struct reply *r, struct span in)
{
	size_t need = r->head_len + in.len;

	if (need > r->head_cap) {
		size_t cap = MAX(r->head_cap * 2, (size_t)REPLY_HEAD_FIRST_BYTES);
		while (cap < need)
			cap *= 2;
		uint8_t *mem = malloc(cap);
		if (!mem)
			return err_origin(-ENOMEM);
		if (r->head) {
			memcpy(mem, r->head, r->head_len);
			secret_wipe(r->head, r->head_cap);
			free(r->head);
		}
		r->head = mem;
		r->head_cap = cap;
	}
	memcpy(r->head + r->head_len, in.p, in.len);
	r->head_len = need;
	return 0;
}

/* ---- llhttp's reading ---- */

static int reply_execute(struct reply *r, struct span in, size_t *ret_used)
{
	enum llhttp_errno e = llhttp_execute(&r->parser, (const char *)in.p, in.len);
	*ret_used = in.len;
	if (e == HPE_PAUSED && r->state == REPLY_DONE) {
		*ret_used = (size_t)(llhttp_get_error_pos(&r->parser) - (const char *)in.p);
		return *ret_used <= in.len ? 0 : REPLY_E_INVALID;
	}
	if (e != HPE_OK)
		return r->too_large ? REPLY_E_TOO_LARGE : REPLY_E_INVALID;
	return 0;
}

static int reply_feed_body(struct reply *r, struct span in, size_t *ret_used)
{
	r->body_seen = false;
	int e = reply_execute(r, in, ret_used);
	if (e || r->state == REPLY_DONE)
		return e;
	r->overhead = r->body_seen ? 0 : r->overhead + in.len;
	return r->overhead > REPLY_OVERHEAD_MAX ? REPLY_E_INVALID : 0;
}

/* Both readings must give the same body, or none. */
static bool reply_agrees(const struct reply *r, const struct reply_head *h, bool empty)
{
	if (!r->head_seen || r->parser.status_code != h->status)
		return false;
	if (empty)
		return r->state == REPLY_DONE;
	return r->state == REPLY_BODY && ((r->parser.flags & F_CHUNKED) != 0) == h->chunked &&
	       ((r->parser.flags & F_CONTENT_LENGTH) != 0) == h->has_length &&
	       (!h->has_length || r->parser.content_length == h->length) &&
	       (llhttp_message_needs_eof(&r->parser) != 0) == r->until_close;
}

static int reply_take_head(struct reply *r, struct span text)
{
	struct reply_head h = {0};
	size_t used;

	int e = reply_read_head(&h, text);
	if (e)
		return e;
	r->line_begin = 0;
	if (h.status < 200)
		return h.status != 101 && ++r->interim <= REPLY_INTERIM_MAX ? 0 : REPLY_E_INVALID;
	if (h.status >= 300 && h.status < 400 && h.status != 304)
		return REPLY_E_REDIRECT;
	if (h.has_length && h.length > r->body_bytes_max)
		return REPLY_E_TOO_LARGE;
	bool bodiless = r->to_head_request || h.status == 204 || h.status == 304;
	r->until_close = !bodiless && !h.has_length && !h.chunked;
	r->state = REPLY_BODY;
	e = reply_execute(r, text, &used);
	if (e || used != text.len || !reply_agrees(r, &h, bodiless || (h.has_length && h.length == 0)))
		return REPLY_E_INVALID;
	r->sink->head(r->ctx, h.status, h.passed, h.n_passed);
	return 0;
}

/* Takes one head from the front of `in`, or all of `in` when it is not complete. */
static int reply_feed_head(struct reply *r, struct span in, size_t *ret_used)
{
	size_t before = r->head_len, len;
	struct span text = in;

	if (in.len > REPLY_HEAD_BYTES_MAX - before)
		text.len = REPLY_HEAD_BYTES_MAX - before;
	if (before > 0) {
		int e = reply_gather(r, text);
		if (e)
			return e;
		text = span_of(r->head, r->head_len);
	}
	int e = reply_find_head(r, text, &len);
	if (e)
		return e;
	if (len == 0) {
		*ret_used = in.len;
		if (text.len == REPLY_HEAD_BYTES_MAX)
			return REPLY_E_INVALID;
		return before > 0 ? 0 : reply_gather(r, in);
	}
	*ret_used = len - before;
	e = reply_take_head(r, span_of(text.p, len));
	reply_drop_head(r);
	return e;
}

int reply_feed(struct reply *r, struct span in, size_t *ret_used)
{
	size_t used;

	*ret_used = 0;
	while (*ret_used < in.len && r->state != REPLY_DONE) {
		struct span rest = span_of(in.p + *ret_used, in.len - *ret_used);
		int e = r->state == REPLY_HEAD ? reply_feed_head(r, rest, &used) : reply_feed_body(r, rest, &used);
		if (e)
			return e;
		*ret_used += used;
	}
	return 0;
}

int reply_eof(struct reply *r)
{
	if (r->state == REPLY_BODY && r->until_close)
		r->state = REPLY_DONE;
	return r->state == REPLY_DONE ? 0 : REPLY_E_CUT;
}
