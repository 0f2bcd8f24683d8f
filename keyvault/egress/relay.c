/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plaintext of a provider passes through one buffer of the process (eg->in), which is wiped before the loop goes on: it
 * may hold an echo of the secret. What leaves the scrubber (eg->out) holds none and is copied into the lane's queue.
 *
 * Batches. What has become readable in a turn of the loop is read at its end, one stream after the other into the same
 * buffer, and then scrubbed and passed on, one stream after the other. So the code of either half stays in the
 * processor's cache, and where it costs a system call to open the arena, one opening does for the batch, and it is
 * closed while OpenSSL reads for it what providers wrote.
 *
 * Pauses. A stream that has used its credit stops reading its socket until CREDIT comes. All streams pause while the
 * lane's queue is above its mark. Nobody is read for longer than his credit lasts, 64 KiB, so one burst delays the
 * others by that much at most.
 *
 * The socket is asked again only while OpenSSL holds decrypted or undecrypted bytes; otherwise epoll says when. That
 * saves the read that would only find nothing.
 */
#include "keyvault/egress/relay.h"

#include <assert.h>

#include "common/head_digest.h"
#include "common/secret.h"
#include "keyvault/egress/egress.h"

static void relay_send(struct exchange *x, enum proto_type type, const void *msg)
{
	if (ipc_send(x->lane->conn, type, x->id, msg))
		ipc_drop(x->lane->conn, "router does not read its lane");
}

/* A value without the secret, itself or in eg->fields; empty when there is no room left there. */
static struct span relay_scrub_value(struct exchange *x, struct span value, size_t *used)
{
	struct scrub_pass pass;
	uint8_t *to = x->eg->fields + *used;

	if (value.len < x->key->scrub.len_min)
		return value; /* too short to hold it in any form */
	if (value.len > EGRESS_FIELDS_BYTES - *used)
		return SPAN_NULL;
	scrub_begin(&pass, &x->key->scrub);
	size_t n = scrub_feed(&pass, value, to);
	n += scrub_end(&pass, to + n);
	x->scrub.found += pass.found;
	*used += n;
	return span_of(to, n);
}

static void relay_on_head(void *ctx, unsigned status, const struct proto_header *passed, size_t n)
{
	struct exchange *x = ctx;
	struct proto_header fields[REPLY_PASSED_MAX];
	size_t used = 0;

	fields[0] = (struct proto_header){0};
	x->status = status;
	x->refused = status == 401 && x->spare;
	if (x->refused)
		return;
	for (size_t i = 0; i < n; i++)
		fields[i] = (struct proto_header){.name = passed[i].name,
						  .value = relay_scrub_value(x, passed[i].value, &used)};
	struct proto_reply_head head = {.status = status, .headers = {.items = fields, .count = n}};
	x->head_sent = true;
	head_digest(status, fields, n, x->head_digest);
	if (status == 401)
		credential_refuse(x->credential, x->key);
	relay_send(x, PROTO_REPLY_HEAD, &head);
}

/* `len` bytes behind eg->out_len have left the scrubber, and are the provider's own where it has found nothing. The
 * digest is of these: of a text with the key in it, it would be there to try guesses on, for all who read the log; and
 * its state, which outlives the turn of the loop, would have the text's end in it. */
static void relay_let_out(struct exchange *x, size_t len)
{
	sha256_add(&x->digest, span_of(x->eg->out + x->eg->out_len, len));
	x->eg->out_len += len;
}

/* Pieces are gathered where the first lies: to look at the scrubber's held bytes again for each byte of a body in
 * chunks of one would cost a provider nothing, and the lane much. */
static void relay_on_body(void *ctx, struct span bytes)
{
	struct egress *eg = ((struct exchange *)ctx)->eg;

	if (eg->body_len == 0)
		eg->body_at = (size_t)(bytes.p - eg->in);
	else if (eg->in + eg->body_at + eg->body_len != bytes.p)
		memmove(eg->in + eg->body_at + eg->body_len, bytes.p, bytes.len);
	eg->body_len += bytes.len;
}

static void relay_scrub_body(struct exchange *x)
{
	struct egress *eg = x->eg;

	assert(eg->body_len + x->scrub.held <= EGRESS_OUT_BYTES - eg->out_len);
	relay_let_out(x, scrub_feed(&x->scrub, span_of(eg->in + eg->body_at, eg->body_len), eg->out + eg->out_len));
}

static const struct reply_sink relay_sink = {relay_on_head, relay_on_body};

void relay_begin(struct exchange *x)
{
	reply_init(&x->reply, x->request.method, x->eg->config.router.stream_bytes_max, &relay_sink, x);
	scrub_begin(&x->scrub, &x->key->scrub);
	sha256_begin(&x->digest);
}

static void relay_flush(struct exchange *x)
{
	struct egress *eg = x->eg;

	assert(eg->out_len <= x->credit);
	for (size_t at = 0, len; at < eg->out_len; at += len) {
		len = MIN(eg->out_len - at, (size_t)EGRESS_DATA_BYTES);
		relay_send(x, PROTO_DATA, &(struct proto_data){.bytes = span_of(eg->out + at, len)});
	}
	x->credit -= eg->out_len;
	x->body_bytes += eg->out_len;
	eg->out_len = 0;
}

static enum reason relay_reason(int reply_answer)
{
	switch (reply_answer) {
	case 0:
		return REASON_NONE;
	case REPLY_E_REDIRECT:
		return REASON_UPSTREAM_REDIRECT;
	case REPLY_E_TOO_LARGE:
		return REASON_UPSTREAM_TOO_LARGE;
	case REPLY_E_CUT:
		return REASON_UPSTREAM_BROKEN;
	case REPLY_E_INVALID:
		return REASON_UPSTREAM_INVALID;
	default:
		return REASON_OVERLOADED;
	}
}

/* The reply is whole: what the scrubber held back was no secret after all. */
static void relay_finish(struct exchange *x)
{
	x->reply_over = true;
	relay_let_out(x, scrub_end(&x->scrub, x->eg->out + x->eg->out_len));
}

static enum reason relay_pass(struct exchange *x, struct span in)
{
	struct egress *eg = x->eg;
	size_t used;

	eg->body_at = eg->body_len = 0;
	secret_open(eg->arena);
	int r = reply_feed(&x->reply, in, &used);
	relay_scrub_body(x);
	if (r == 0 && x->reply.state == REPLY_DONE)
		relay_finish(x);
	secret_close(eg->arena);
	x->unclean |= used < in.len; /* bytes that nobody asked for: the connection is not in step with us */
	if (x->refused) {
		eg->out_len = 0;
		return REASON_KEY_REFUSED;
	}
	relay_flush(x);
	return relay_reason(r);
}

static enum reason relay_eof(struct exchange *x)
{
	int r = reply_eof(&x->reply);

	x->unclean = true;
	if (r == 0) {
		secret_open(x->eg->arena);
		relay_finish(x);
		secret_close(x->eg->arena);
		relay_flush(x);
	}
	return relay_reason(r);
}

/* How much may be read now; 0 and paused when nothing. */
static size_t relay_room(struct exchange *x)
{
	size_t room = x->credit > x->scrub.held ? (size_t)x->credit - x->scrub.held : 0;

	if (ipc_queued(x->lane->conn) > EGRESS_LANE_BYTES_HIGH) {
		if (list_empty(&x->in_stalled))
			list_push(&x->eg->stalled, &x->in_stalled);
		room = 0;
	}
	if (room == 0)
		upstream_pause(x->upstream);
	return MIN(room, (size_t)EGRESS_READ_BYTES);
}

/* Decrypts into eg->in, behind what the others have there. */
static void relay_read(struct exchange *x)
{
	struct egress *eg = x->eg;
	uint8_t *to = eg->in + eg->in_len;
	size_t room = relay_room(x), n;
	struct relay_read read = {.at = eg->in_len, .more = true};

	while (read.more && read.len < room) {
		read.answer = tls_read(x->upstream->tls, to + read.len, room - read.len, &n);
		if (read.answer == 0)
			read.len += n;
		read.more = read.answer == 0 && tls_pending(x->upstream->tls);
	}
	eg->in_len += read.len;
	x->read = read;
}

enum reason relay_take(struct exchange *x)
{
	const struct relay_read *read = &x->read;
	enum reason why = REASON_NONE;

	if (read->len > 0)
		why = relay_pass(x, span_of(x->eg->in + read->at, read->len));
	if (why != REASON_NONE || x->reply_over || read->answer == TLS_E_READ)
		return why;
	if (read->answer)
		return read->answer == TLS_E_CLOSED ? relay_eof(x) : REASON_UPSTREAM_BROKEN;
	if (read->len > 0 && read->more)
		relay_later(x);
	return REASON_NONE;
}

void relay_later(struct exchange *x)
{
	if (list_empty(&x->in_readable))
		list_push(&x->eg->readable, &x->in_readable);
}

void relay_resume(struct exchange *x)
{
	list_unlink(&x->in_stalled);
	if (upstream_watch(x->upstream, UV_READABLE))
		exchange_break(x, REASON_INTERNAL);
	else if (tls_pending(x->upstream->tls))
		relay_later(x);
}

void relay_turn(void *ctx)
{
	struct egress *eg = ctx;
	struct list batch = LIST_INIT(batch);
	struct list *it;

	while (!list_empty(&eg->readable)) {
		eg->in_len = 0;
		while ((it = list_first(&eg->readable)) && eg->in_len < EGRESS_READ_BYTES) {
			list_unlink(it);
			list_push(&batch, it);
			relay_read(container_of(it, struct exchange, in_readable));
		}
		secret_hold(eg->arena);
		while ((it = list_first(&batch))) {
			list_unlink(it);
			exchange_read(container_of(it, struct exchange, in_readable));
		}
		secret_release(eg->arena);
		secret_wipe(eg->in, eg->in_len);
	}
}
