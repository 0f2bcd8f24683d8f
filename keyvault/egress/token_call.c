/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   connect -> send -> read -> over
 *
 * Always a fresh connection, and never a second try: of a request that may have arrived the service may have taken the
 * refresh token. The answer is bounded in size and time; a redirect is an answer that cannot be used.
 */
#include "keyvault/egress/token_call.h"

#include <stdlib.h>
#include <time.h>

#define CALL_OUT_BYTES   24576
#define CALL_IN_BYTES    4096
#define CALL_LINES_BYTES 8192
#define CALL_FORM_BYTES  16384
#define CALL_BYTES       (CALL_OUT_BYTES + CALL_IN_BYTES + TOKEN_ANSWER_BYTES_MAX)

_Static_assert(CALL_LINES_BYTES + CALL_FORM_BYTES <= TOKEN_ANSWER_BYTES_MAX, "composed where the answer will be");
_Static_assert(2 * TOKEN_BYTES_MAX <= CALL_OUT_BYTES, "decoded where the request was");

struct token_call {
	struct credential *credential;
	struct pool_waiter waiter;
	struct upstream *upstream;
	struct secret mem; /* request | what was read | body of the answer */
	size_t out_len, sent, body_len;
	struct reply reply;
	unsigned status;
	uint64_t deadline_ms;
	bool sending;
	token_call_done *done;
	void *ctx;
};

static struct secret_arena *call_arena(const struct token_call *call)
{
	return call->credential->cache->arena;
}

static uint8_t *call_in(const struct token_call *call)
{
	return call->mem.p + CALL_OUT_BYTES;
}

static uint8_t *call_body(const struct token_call *call)
{
	return call->mem.p + CALL_OUT_BYTES + CALL_IN_BYTES;
}

/* ---- the end ---- */

static void call_free(struct token_call *call)
{
	struct credential *c = call->credential;

	pool_forget(&c->token_pool, &call->waiter);
	if (call->upstream)
		pool_give_back(TAKE(call->upstream), false);
	reply_deinit(&call->reply);
	secret_open(call_arena(call));
	secret_free(call_arena(call), &call->mem);
	secret_close(call_arena(call));
	credential_unref(c);
	free(call);
}

static void call_end(struct token_call *call, enum reason why)
{
	char error[TOKEN_ERROR_BYTES + 1] = "";
	struct token_call_end end = {.why = why, .status = call->status, .error = error};
	struct span body = span_of(call_body(call), call->body_len);

	secret_open(call_arena(call));
	if (why == REASON_NONE && call->status == 200)
		end.why = token_answer_read(body, call->mem.p, &end.answer) ? REASON_TOKEN_INVALID : REASON_NONE;
	else if (why == REASON_NONE)
		token_answer_error(body, error);
	if (why == REASON_NONE && call->status != 200)
		end.why = call->status == 400 || call->status == 401 || call->status == 403   ? REASON_TOKEN_DENIED
			  : call->status == 408 || call->status == 429 || call->status >= 500 ? REASON_TOKEN_UNAVAILABLE
											      : REASON_TOKEN_INVALID;
	call->done(call->ctx, &end);
	secret_close(call_arena(call));
	call_free(call);
}

void token_call_cancel(struct token_call *call)
{
	call_free(call);
}

void token_call_tick(struct token_call *call, uint64_t now_ms)
{
	if (now_ms >= call->deadline_ms)
		call_end(call, REASON_TOKEN_UNAVAILABLE);
}

/* ---- reading ---- */

static void call_on_head(void *ctx, unsigned status, const struct proto_header *passed, size_t n)
{
	struct token_call *call = ctx;

	(void)passed;
	(void)n;
	call->status = status;
}

/* The reply's own limit is that of this memory. */
static void call_on_body(void *ctx, struct span bytes)
{
	struct token_call *call = ctx;
	size_t n = MIN(bytes.len, TOKEN_ANSWER_BYTES_MAX - call->body_len);

	memcpy(call_body(call) + call->body_len, bytes.p, n);
	call->body_len += n;
}

static const struct reply_sink call_sink = {call_on_head, call_on_body};

static void call_fed(struct token_call *call, int r)
{
	if (r)
		call_end(call, r < 0              ? REASON_OVERLOADED
			       : r == REPLY_E_CUT ? REASON_TOKEN_UNAVAILABLE
						  : REASON_TOKEN_INVALID);
	else if (call->reply.state == REPLY_DONE)
		call_end(call, REASON_NONE);
}

/* One read's worth. True: there may be more. */
static bool call_read_some(struct token_call *call)
{
	size_t len, used;

	secret_open(call_arena(call));
	int r = tls_read(call->upstream->tls, call_in(call), CALL_IN_BYTES, &len);
	int fed = 0;
	if (r == 0) {
		fed = reply_feed(&call->reply, span_of(call_in(call), len), &used);
		secret_wipe(call_in(call), len);
	}
	secret_close(call_arena(call));
	if (r == TLS_E_READ)
		return false;
	bool over = r || fed || call->reply.state == REPLY_DONE;
	if (r == TLS_E_CLOSED)
		call_end(call, reply_eof(&call->reply) ? REASON_TOKEN_UNAVAILABLE : REASON_NONE);
	else if (r)
		call_end(call, REASON_TOKEN_UNAVAILABLE);
	else
		call_fed(call, fed);
	return !over;
}

static void call_read(struct token_call *call)
{
	while (call_read_some(call))
		;
}

/* ---- sending ---- */

static void call_send(struct token_call *call)
{
	struct secret_arena *arena = call_arena(call);
	size_t n;
	int r = 0;

	secret_open(arena);
	while (r == 0 && call->sent < call->out_len) {
		r = tls_write(call->upstream->tls, span_of(call->mem.p + call->sent, call->out_len - call->sent), &n);
		call->sent += r ? 0 : n;
	}
	if (r != TLS_E_WRITE)
		secret_wipe(call->mem.p, CALL_OUT_BYTES);
	secret_close(arena);
	call->sending = r == TLS_E_WRITE;
	if ((r && !call->sending) || upstream_watch(call->upstream, call->sending ? UV_WRITABLE : UV_READABLE))
		call_end(call, REASON_TOKEN_UNAVAILABLE);
	else if (!call->sending && tls_pending(call->upstream->tls))
		call_read(call);
}

static void call_on_upstream(void *ctx, bool writable)
{
	struct token_call *call = ctx;

	(void)writable;
	if (call->sending)
		call_send(call);
	else
		call_read(call);
}

static void call_on_connected(struct pool_waiter *w, struct upstream *u, enum reason why)
{
	struct token_call *call = container_of(w, struct token_call, waiter);

	if (!u) {
		call_end(call, why == REASON_TLS_FAILED || why == REASON_DIAL_DENIED ? why : REASON_TOKEN_UNAVAILABLE);
		return;
	}
	call->upstream = u;
	u->on_event = call_on_upstream;
	u->ctx = call;
	call_send(call);
}

/* ---- composing ---- */

static void call_put_head(struct text *t, const struct proto_binding *b, struct span lines, size_t form_len)
{
	text_put_str(t, "POST ");
	text_put(t, b->token_path);
	text_put_str(t, " HTTP/1.1\r\nhost: ");
	head_put_host(t, b->token_host, (uint16_t)b->token_port);
	text_put_str(t, "\r\naccept: application/json\r\naccept-encoding: identity\r\nconnection: close\r\n"
			"content-type: application/x-www-form-urlencoded\r\ncontent-length: ");
	text_put_u64(t, form_len);
	text_put_str(t, "\r\n");
	text_put(t, lines);
	text_put_str(t, "\r\n");
}

static enum reason call_compose(struct token_call *call, struct span secret)
{
	const struct credential *c = call->credential;
	struct text out = TEXT_OF(call->mem.p, CALL_OUT_BYTES);
	struct text lines = TEXT_OF(call_body(call), CALL_LINES_BYTES);
	struct text form = TEXT_OF(call_body(call) + CALL_LINES_BYTES, CALL_FORM_BYTES);
	struct auth_use use = {
		.binding = &c->binding, .secret = secret, .unix_s = (uint64_t)time(NULL), .work = call->mem.p};

	int r = c->scheme->ask(&use, &lines, &form);
	secret_wipe(use.work, AUTH_WORK_BYTES);
	if (r)
		return r == AUTH_E_SECRET ? REASON_NO_CREDENTIAL : REASON_INTERNAL;
	call_put_head(&out, &c->binding, text_span(&lines), form.len);
	text_put(&out, text_span(&form));
	secret_wipe(call_body(call), CALL_LINES_BYTES + CALL_FORM_BYTES);
	call->out_len = out.len;
	return out.full ? REASON_INTERNAL : REASON_NONE;
}

enum reason token_call_start(struct credential *c, struct span secret, token_call_done *done, void *ctx,
			     struct token_call **ret_call)
{
	struct token_call *call = calloc(1, sizeof(*call));
	struct upstream *u;

	if (!call)
		return REASON_OVERLOADED;
	*call = (struct token_call){.credential = credential_ref(c), .done = done, .ctx = ctx};
	call->deadline_ms = ipc_now_ms(c->cache->pool_env->ipc) + TOKEN_CALL_MS;
	call->waiter.ready = call_on_connected;
	reply_init(&call->reply, PROTO_POST, TOKEN_ANSWER_BYTES_MAX, &call_sink, call);
	enum reason why =
		credential_alloc(c->cache, CALL_BYTES, &call->mem) ? REASON_OVERLOADED : call_compose(call, secret);
	/* A fresh one is never there at once. */
	if (why == REASON_NONE && pool_take(&c->token_pool, &call->waiter, true, &u) != POOL_E_WAIT)
		why = REASON_TOKEN_UNAVAILABLE;
	if (why != REASON_NONE)
		call_free(call);
	else
		*ret_call = call;
	return why;
}
