/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine. Each state has one step function; the driver alone changes state. A step starts at most one operation
 * and returns the state to be in. All ends meet in OVER, which is the only place that answers END or BROKEN, writes the
 * record and frees.
 *
 * When a request may be sent twice: never, if a byte of it may have reached the provider. One that met a connection
 * which had been idle and which refuses the very first write gets a fresh connection, once. A connection that dies
 * after it took bytes is UPSTREAM_BROKEN with `sent`, even if no byte of an answer came: whether the provider acted on
 * it cannot be known, and what is bought here is money. To make this rare, an idle connection is read from just before
 * it is taken (pool_take). A 401 is the exception: the provider did not act on it, so where the grant has another try
 * with the key's successor, the router is told that it may be made.
 */
#include "keyvault/egress/exchange.h"

#include <assert.h>
#include <unistd.h>

#include "keyvault/egress/egress.h"
#include "keyvault/egress/permit.h"
#include "keyvault/egress/relay.h"
#include "keyvault/egress/send.h"

enum exchange_event_kind { EV_ENTER, EV_KEY, EV_CREDENTIAL, EV_RECORDED, EV_CONNECTED, EV_READ, EV_WRITABLE };

struct exchange_event {
	enum exchange_event_kind kind;
	enum reason why;           /* CREDENTIAL, RECORDED, CONNECTED */
	struct upstream *upstream; /* CONNECTED */
};

static void exchange_event(struct exchange *x, const struct exchange_event *ev);
static void exchange_enter(struct exchange *x, enum exchange_state state);

static COLD enum exchange_state exchange_fail(struct exchange *x, enum reason why)
{
	x->why = why;
	return EXCHANGE_OVER;
}

/* Not a mishap but something that was asked and must not be: for the record. */
static COLD enum exchange_state exchange_refuse(struct exchange *x, enum reason why)
{
	x->why = why;
	egress_record_refusal(x->eg, x);
	return EXCHANGE_OVER;
}

/* ---- GRANT ---- */

/*
 * Without a key nothing can be checked. It comes within moments of a start, unless the vault is sealed. The next one
 * may be on its way too: authd has it before we do, and the first grants under it may be faster.
 */
static bool exchange_waits_for_key(const struct exchange *x, const struct permit_env *env, enum reason why)
{
	return x->eg->n_exchanges <= EGRESS_KEYLESS_MAX && why == REASON_GRANT_STALE &&
	       ((!env->key && !x->eg->sealed) || permit_is_early(env, x->request.grant));
}

static enum exchange_state exchange_grant(struct exchange *x, const struct exchange_event *ev)
{
	struct egress *eg = x->eg;
	struct exchange_request *q = &x->request;
	struct proto_grant grant;
	struct proto_grant_route route;

	assert(ev->kind == EV_ENTER || ev->kind == EV_KEY);
	const struct proto_open open = {
		.grant = q->grant, .route = q->route, .method = q->method, .path = q->path, .body_bytes = q->body.len};
	struct permit_env env = {.key = eg->edge_key.p,
				 .epoch = eg->epoch,
				 .lane = eg->daemon.worker,
				 .now_ms = ipc_now_ms(eg->daemon.ipc),
				 .replay = &eg->replay,
				 .voids = &eg->voids};
	secret_open(eg->arena);
	enum reason why = permit_open(&env, &open, &x->authentic, &grant, &route);
	secret_close(eg->arena);
	if (exchange_waits_for_key(x, &env, why))
		return request_keep(q) ? exchange_fail(x, REASON_OVERLOADED) : EXCHANGE_GRANT;
	if (x->authentic)
		egress_note_grant(x, &grant, &route);
	if (why == REASON_NONE) {
		eg->permitted++;
		x->spare = permit_has_spare(&grant, q->route);
		q->grant = SPAN_NULL;
		return EXCHANGE_CREDENTIAL;
	}
	return exchange_refuse(x, why);
}

/* ---- CREDENTIAL ---- */

/* What it holds of its credential. `keep`: the connection may serve another. */
static void exchange_release(struct exchange *x, bool keep)
{
	egress_forget_intent(x);
	credential_forget(&x->credential_waiter);
	if (x->credential && x->credential->pooled)
		pool_forget(&x->credential->pool, &x->pool_waiter);
	if (x->upstream)
		pool_give_back(TAKE(x->upstream), keep);
	x->key = credential_key_unref(x->key);
	if (x->credential)
		credential_unref(TAKE(x->credential));
}

/* There is none; but if one was replaced before a byte was sent, then what has taken its place is asked for. */
static enum exchange_state exchange_without(struct exchange *x, enum reason why)
{
	if (!x->credential->replaced || x->sent_any || x->turns == EXCHANGE_TURNS_MAX)
		return exchange_fail(x, why);
	x->turns++;
	exchange_release(x, false);
	return EXCHANGE_CREDENTIAL;
}

static void exchange_on_credential(struct credential_waiter *w, enum reason why)
{
	struct exchange *x = container_of(w, struct exchange, credential_waiter);

	exchange_event(x, &(struct exchange_event){.kind = EV_CREDENTIAL, .why = why});
}

/* The credential must be bound to what the grant's route says. */
static enum exchange_state exchange_bound(struct exchange *x)
{
	const struct proto_binding *b = &x->credential->binding;
	struct proto_grant_route route = {.credential = span_str(x->credential_id),
					  .host = span_str(x->host),
					  .port = x->port,
					  .method = x->request.method,
					  .path = x->request.path};

	enum reason why = permit_binding(b, &route, span_str(x->tenant), ipc_unix_ns(x->eg->daemon.ipc) / 1000000000);
	if (why == REASON_NO_CREDENTIAL) /* its time has come or not yet; there may be another version */
		credential_reject(x->credential);
	if (why != REASON_NONE)
		return exchange_refuse(x, why);
	x->key = credential_key_ref(x->credential);
	return egress_is_strict(x->eg, x->tenant) ? EXCHANGE_RECORD : EXCHANGE_CONNECT;
}

static enum exchange_state exchange_credential(struct exchange *x, const struct exchange_event *ev)
{
	if (ev->kind == EV_CREDENTIAL && ev->why == REASON_NONE)
		return exchange_bound(x);
	if (ev->kind == EV_CREDENTIAL && exchange_without(x, ev->why) == EXCHANGE_OVER)
		return EXCHANGE_OVER;
	x->credential_waiter.ready = exchange_on_credential;
	switch (credential_get(&x->eg->credentials, span_str(x->credential_id), &x->credential_waiter,
			       &x->credential)) {
	case 0:
		return exchange_bound(x);
	case CREDENTIAL_E_WAIT:
		return request_keep(&x->request) ? exchange_fail(x, REASON_OVERLOADED) : EXCHANGE_CREDENTIAL;
	case CREDENTIAL_E_DOWN:
		return exchange_fail(x, REASON_VAULT_SEALED);
	default:
		return exchange_fail(x, REASON_OVERLOADED);
	}
}

/* ---- RECORD ---- */

static void exchange_on_recorded(struct exchange *x, bool durable)
{
	exchange_event(x,
		       &(struct exchange_event){.kind = EV_RECORDED, .why = durable ? REASON_NONE : REASON_AUDIT_GONE});
}

static enum exchange_state exchange_record(struct exchange *x, const struct exchange_event *ev)
{
	if (ev->kind == EV_RECORDED)
		return ev->why == REASON_NONE ? EXCHANGE_CONNECT : exchange_fail(x, ev->why);
	if (request_keep(&x->request))
		return exchange_fail(x, REASON_OVERLOADED);
	return egress_record_intent(x->eg, x, exchange_on_recorded) ? EXCHANGE_RECORD
								    : exchange_fail(x, REASON_AUDIT_GONE);
}

/* ---- CONNECT ---- */

static void exchange_on_upstream(void *ctx, bool writable)
{
	struct exchange *x = ctx;

	if (writable)
		exchange_event(x, &(struct exchange_event){.kind = EV_WRITABLE});
	else if (x->state != EXCHANGE_SEND) /* an early answer waits in the socket */
		relay_later(x);
}

static void exchange_on_connected(struct pool_waiter *w, struct upstream *u, enum reason why)
{
	struct exchange *x = container_of(w, struct exchange, pool_waiter);

	exchange_event(x, &(struct exchange_event){.kind = EV_CONNECTED, .why = why, .upstream = u});
}

static enum exchange_state exchange_hold(struct exchange *x, struct upstream *u)
{
	x->upstream = u;
	u->on_event = exchange_on_upstream;
	u->ctx = x;
	if (u->reused)
		x->eg->count.reused++;
	else
		x->eg->count.fresh++;
	return EXCHANGE_SEND;
}

static enum exchange_state exchange_connect(struct exchange *x, const struct exchange_event *ev)
{
	struct upstream *u = NULL;

	if (ev->kind == EV_CONNECTED)
		return ev->upstream ? exchange_hold(x, ev->upstream) : exchange_without(x, ev->why);
	assert(ev->kind == EV_ENTER);
	if (x->credential->state != CREDENTIAL_READY) /* retired while the record was written */
		return exchange_without(x, REASON_VAULT_SEALED);
	x->pool_waiter.ready = exchange_on_connected;
	switch (pool_take(&x->credential->pool, &x->pool_waiter, x->retried, &u)) {
	case 0:
		return exchange_hold(x, u);
	case POOL_E_WAIT:
		return request_keep(&x->request) ? exchange_fail(x, REASON_OVERLOADED) : EXCHANGE_CONNECT;
	case POOL_E_FULL:
		return exchange_fail(x, REASON_OVERLOADED);
	default:
		return exchange_fail(x, REASON_EGRESS_GONE);
	}
}

/* ---- SEND ---- */

static bool exchange_retry(const struct exchange *x)
{
	return x->upstream->reused && !x->sent_any && !x->retried;
}

static enum exchange_state exchange_send(struct exchange *x, const struct exchange_event *ev)
{
	enum reason why = REASON_NONE;
	int r = 0;

	secret_open(x->eg->arena);
	if (ev->kind == EV_ENTER)
		why = send_begin(x, &r);
	else
		r = send_write(x);
	secret_close(x->eg->arena);
	if (why != REASON_NONE)
		return exchange_without(x, why);
	if (r == 0)
		return EXCHANGE_HEAD;
	if (r == TLS_E_WRITE) {
		/* Not READABLE too: an answer that is not read yet would wake the loop for ever. */
		if (request_keep(&x->request) || upstream_watch(x->upstream, UV_WRITABLE))
			return exchange_fail(x, REASON_OVERLOADED);
		return EXCHANGE_SEND;
	}
	if (!exchange_retry(x)) {
		/* A provider may refuse a body before it has read it all: its answer, if there is one, is worth more
		 * than ours. */
		x->unclean = true;
		return x->sent_any ? EXCHANGE_HEAD : exchange_fail(x, REASON_UPSTREAM_BROKEN);
	}
	x->retried = true;
	pool_give_back(TAKE(x->upstream), false);
	send_drop(x);
	x->sent = 0;
	return EXCHANGE_CONNECT;
}

/* ---- HEAD, BODY ---- */

static enum exchange_state exchange_head(struct exchange *x, const struct exchange_event *ev)
{
	if (ev->kind == EV_ENTER) {
		send_drop(x);
		request_drop(&x->request);
		relay_begin(x);
		if (upstream_watch(x->upstream, UV_READABLE))
			return exchange_fail(x, REASON_INTERNAL);
		if (x->unclean || tls_pending(x->upstream->tls))
			relay_later(x);
		return EXCHANGE_HEAD;
	}
	x->why = relay_take(x);
	if (x->why != REASON_NONE || x->reply_over)
		return EXCHANGE_OVER;
	return x->head_sent ? EXCHANGE_BODY : EXCHANGE_HEAD;
}

static enum exchange_state exchange_body(struct exchange *x, const struct exchange_event *ev)
{
	if (ev->kind == EV_ENTER)
		return EXCHANGE_BODY;
	x->why = relay_take(x);
	exchange_enter(x, EXCHANGE_BODY); /* it lives: a new deadline */
	return x->why != REASON_NONE || x->reply_over ? EXCHANGE_OVER : EXCHANGE_BODY;
}

/* ---- OVER ---- */

static void exchange_answer(struct exchange *x, uint8_t digest[32])
{
	struct proto_end end = {.bytes = x->body_bytes, .digest = span_of(digest, 32), .scrubbed = x->scrub.found};
	struct proto_broken broken = {.reason = x->why, .sent = x->sent_any && !x->refused};

	if (x->cancelled)
		return;
	int r = x->why == REASON_NONE ? ipc_send(x->lane->conn, PROTO_END, x->id, &end)
				      : ipc_send(x->lane->conn, PROTO_BROKEN, x->id, &broken);
	if (r)
		ipc_drop(x->lane->conn, "router does not read its lane");
}

/* Frees everything. The connection serves on only when both sides said all they had to say. */
static void exchange_end(struct exchange *x)
{
	struct egress *eg = x->eg;
	uint8_t digest[32] = {0};

	if (x->state >= EXCHANGE_HEAD)
		sha256_end(&x->digest, digest);
	exchange_answer(x, digest);
	if (x->sent_any)
		egress_record_use(eg, x, digest);
	else
		egress_forget_promise(x);
	egress_record_count(eg, x);
	if (x->refused)
		credential_reject(x->credential);
	send_drop(x);
	request_drop(&x->request);
	reply_deinit(&x->reply);
	exchange_release(x, x->why == REASON_NONE && !x->cancelled && !x->unclean && x->reply_over &&
				    x->reply.keep_alive && x->credential->state == CREDENTIAL_READY);
	list_unlink(&x->in_state);
	list_unlink(&x->in_lane);
	list_unlink(&x->in_stalled);
	list_unlink(&x->in_readable);
	x->lane->n--;
	eg->n_exchanges--;
	spare_keep(eg, x);
	egress_note_end(eg);
}

/* ---- the driver ---- */

typedef enum exchange_state exchange_step(struct exchange *x, const struct exchange_event *ev);

static const struct exchange_row {
	uint64_t deadline_ms, next;
	enum reason late;
} exchange_rows[] = {
#define S(NAME, deadline, late, following) \
	[EXCHANGE_##NAME] = {(deadline), (following) | BIT(EXCHANGE_OVER), REASON_##late},
	EXCHANGE_STATES(S)
#undef S
};

static exchange_step *const exchange_steps[] = {
	[EXCHANGE_GRANT] = exchange_grant,   [EXCHANGE_CREDENTIAL] = exchange_credential,
	[EXCHANGE_RECORD] = exchange_record, [EXCHANGE_CONNECT] = exchange_connect,
	[EXCHANGE_SEND] = exchange_send,     [EXCHANGE_HEAD] = exchange_head,
	[EXCHANGE_BODY] = exchange_body,
};

/* All exchanges of a state have the same time, so its list is in order of deadline. */
static void exchange_enter(struct exchange *x, enum exchange_state state)
{
	uint64_t ms = exchange_rows[state].deadline_ms;

	x->state = state;
	x->deadline_ms = ipc_now_ms(x->eg->daemon.ipc) + (ms ? ms : x->eg->pool_env.connect_timeout_ms);
	list_unlink(&x->in_state);
	list_push(&x->eg->states[state], &x->in_state);
}

/* The only place where an exchange changes state. It may be gone afterwards. */
static void exchange_event(struct exchange *x, const struct exchange_event *ev)
{
	assert(!x->running);
	x->running = true;
	enum exchange_state next = exchange_steps[x->state](x, ev);
	while (next != x->state) {
		assert(exchange_rows[x->state].next & BIT(next));
		if (next == EXCHANGE_OVER) {
			exchange_end(x);
			return;
		}
		exchange_enter(x, next);
		next = exchange_steps[next](x, &(struct exchange_event){.kind = EV_ENTER});
	}
	x->running = false;
}

/* ---- from outside ---- */

static int exchange_check(const struct proto_open *open, const struct lane *lane, uint64_t id, int fd)
{
	bool inlined = open->body.len == open->body_bytes;

	if ((fd >= 0) == inlined || (!inlined && open->body.len > 0) || lane_find(lane, id))
		return IPC_E_VIOLATION;
	return 0;
}

static int exchange_reject(struct lane *lane, uint64_t id, enum reason why)
{
	struct proto_broken broken = {.reason = why, .sent = 0};
	int r = ipc_send(lane->conn, PROTO_BROKEN, id, &broken);

	return r > 0 ? IPC_E_VIOLATION : r;
}

int exchange_open(struct egress *eg, struct lane *lane, uint64_t id, const struct proto_open *open, int fd)
{
	int r = exchange_check(open, lane, id, fd);
	bool full = eg->n_exchanges >= EGRESS_EXCHANGES_MAX;
	struct exchange *x = r || full || eg->draining ? NULL : spare_begin(eg, lane, id, open);

	if (x && fd >= 0 && !request_map(&x->request, open->body_bytes, fd)) {
		spare_keep(eg, TAKE(x));
		r = IPC_E_VIOLATION;
	}
	if (fd >= 0)
		(void)close(fd);
	if (r)
		return r;
	if (!x)
		return exchange_reject(lane, id, eg->draining ? REASON_SHUTTING_DOWN : REASON_OVERLOADED);
	eg->count.opened++;
	eg->n_exchanges++;
	lane_add(lane, x);
	egress_wake(eg);
	exchange_enter(x, EXCHANGE_GRANT);
	exchange_event(x, &(struct exchange_event){.kind = EV_ENTER});
	return 0;
}

void exchange_key(struct egress *eg)
{
	struct list waiting = LIST_INIT(waiting);

	list_move_all(&eg->states[EXCHANGE_GRANT], &waiting);
	while (!list_empty(&waiting)) { /* each leaves the state, unless it waits for yet another key */
		struct exchange *x = container_of(waiting.next, struct exchange, in_state);
		list_unlink(&x->in_state);
		list_push(&eg->states[EXCHANGE_GRANT], &x->in_state);
		exchange_event(x, &(struct exchange_event){.kind = EV_KEY});
	}
}

void exchange_credit(struct exchange *x, uint64_t bytes)
{
	x->credit = MIN(x->credit + bytes, (uint64_t)EGRESS_CREDIT_BYTES);
	if (x->state == EXCHANGE_HEAD || x->state == EXCHANGE_BODY)
		relay_resume(x);
}

void exchange_read(struct exchange *x)
{
	exchange_event(x, &(struct exchange_event){.kind = EV_READ});
}

void exchange_cancel(struct exchange *x)
{
	x->cancelled = true;
	exchange_break(x, REASON_CLIENT_GONE);
}

void exchange_break(struct exchange *x, enum reason why)
{
	assert(!x->running);
	x->why = why;
	exchange_end(x);
}

void exchange_timeout(struct exchange *x)
{
	bool full = x->state == EXCHANGE_CONNECT && pool_is_full(&x->credential->pool);

	exchange_break(x, full ? REASON_OVERLOADED : exchange_rows[x->state].late);
}
