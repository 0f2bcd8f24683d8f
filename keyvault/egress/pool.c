/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's socket is watched for reading from the handshake to its end, idle or busy, so that nothing has to be
 * changed in epoll between one request and the next.
 *
 * Balance: there are never more connections opening than there are waiters, unless a waiter was served by one that
 * became free meanwhile; the new one is then idle. One dial that fails fails one waiter, the eldest.
 */
#include "keyvault/egress/pool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/err.h"

static void upstream_on_poll(uv_poll_t *poll, int status, int events);
static void pool_balance(struct pool *p);

void pool_init(struct pool *p, struct pool_env *env, struct tls_ctx *ctx, struct span host, uint16_t port,
	       struct span pins)
{
	assert(host.len < sizeof(p->host));
	*p = (struct pool){.env = env, .tls_ctx = ctx, .port = port, .pins = pins};
	memcpy(p->host, host.p, host.len);
	list_init(&p->opening);
	list_init(&p->idle);
	list_init(&p->busy);
	list_init(&p->waiters);
}

void pool_deinit(struct pool *p)
{
	assert(p->n == 0 && p->n_waiters == 0);
	tls_session_deinit(&p->session);
}

/* ---- one connection ---- */

static void upstream_on_closed(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct upstream, poll));
}

/* The only place where a connection ends. */
static void upstream_close(struct upstream *u)
{
	struct pool *p = u->pool;

	assert(u->state != UPSTREAM_CLOSED);
	if (u->state == UPSTREAM_DIALING)
		ipc_forget(u->dialer, u->dial_id);
	if (u->state == UPSTREAM_DIALING || u->state == UPSTREAM_HANDSHAKE)
		p->n_opening--;
	p->n--;
	p->env->total--;
	list_unlink(&u->in_pool);
	list_unlink(&u->in_idle);
	u->state = UPSTREAM_CLOSED;
	u->on_event = NULL;
	u->tls = tls_free(u->tls);
	if (u->polled)
		uv_close((uv_handle_t *)&u->poll, upstream_on_closed);
	if (u->fd >= 0)
		(void)close(u->fd);
	if (!u->polled)
		free(u);
}

int upstream_watch(struct upstream *u, int events)
{
	if (events == u->events)
		return 0;
	u->events = events;
	return uv_poll_start(&u->poll, events, upstream_on_poll) ? err_origin(-EIO) : 0;
}

void upstream_pause(struct upstream *u)
{
	u->events = 0;
	(void)uv_poll_stop(&u->poll);
}

static struct pool_waiter *pool_next_waiter(struct pool *p)
{
	struct list *first = list_first(&p->waiters);

	if (!first)
		return NULL;
	list_unlink(first);
	p->n_waiters--;
	return container_of(first, struct pool_waiter, in_pool);
}

static void upstream_enter(struct upstream *u, enum upstream_state state, struct list *list)
{
	list_unlink(&u->in_pool);
	list_push(list, &u->in_pool);
	list_unlink(&u->in_idle);
	if (state == UPSTREAM_IDLE)
		list_push(&u->pool->env->idle, &u->in_idle);
	u->state = state;
	u->since_ms = ipc_now_ms(u->pool->env->ipc);
}

/* It can carry a request now: for whoever waits longest, or for later. */
static void upstream_offer(struct upstream *u)
{
	struct pool *p = u->pool;

	if (p->n_waiters == 0) {
		upstream_enter(u, UPSTREAM_IDLE, &p->idle);
		return;
	}
	struct pool_waiter *w = pool_next_waiter(p);
	upstream_enter(u, UPSTREAM_BUSY, &p->busy);
	w->ready(w, u, REASON_NONE);
}

static COLD void upstream_fail(struct upstream *u, enum reason why, const char *text)
{
	struct pool *p = u->pool;

	log_event(p->env->log, LOG_UPSTREAM_FAILED, LOG_STR("host", p->host), LOG_U64("port", p->port),
		  LOG_STR("reason", reason_row(why)->code), LOG_STR("why", text));
	upstream_close(u);
	struct pool_waiter *w = pool_next_waiter(p);
	pool_balance(p);
	if (w)
		w->ready(w, NULL, why); /* the pool may go with who has waited */
}

static void upstream_handshake(struct upstream *u)
{
	int r = tls_handshake(u->tls);

	switch (r) {
	case 0:
		u->pool->n_opening--;
		u->born_ms = ipc_now_ms(u->pool->env->ipc);
		if (upstream_watch(u, UV_READABLE)) {
			u->pool->n_opening++;
			upstream_fail(u, REASON_INTERNAL, "poll");
			return;
		}
		upstream_offer(u);
		return;
	case TLS_E_READ:
	case TLS_E_WRITE:
		if (upstream_watch(u, r == TLS_E_READ ? UV_READABLE : UV_WRITABLE))
			upstream_fail(u, REASON_INTERNAL, "poll");
		return;
	default:
		upstream_fail(u, r == TLS_E_REFUSED ? REASON_TLS_FAILED : REASON_UPSTREAM_BROKEN, tls_why(u->tls));
	}
}

static void upstream_on_poll(uv_poll_t *poll, int status, int events)
{
	struct upstream *u = container_of(poll, struct upstream, poll);
	bool writable = u->events == UV_WRITABLE;

	(void)events;
	/* A socket in error is no longer polled by libuv, but may hold bytes that came before it. */
	if (status < 0)
		(void)uv_poll_start(&u->poll, u->events, upstream_on_poll);
	switch (u->state) {
	case UPSTREAM_HANDSHAKE:
		upstream_handshake(u);
		break;
	case UPSTREAM_IDLE:
		if (status < 0 || !tls_still_idle(u->tls))
			upstream_close(u);
		break;
	case UPSTREAM_BUSY:
		u->on_event(u->ctx, writable); /* the next read or write says what an error is */
		break;
	default:
		break;
	}
}

/* A socket from the dialer. Only a TCP socket takes TCP_NODELAY; it must not be in error. Anything else is refused. */
static bool upstream_socket_ok(int fd)
{
	int one = 1, error = 0;
	socklen_t len = sizeof(error);

	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static void upstream_adopt(struct upstream *u, int fd)
{
	struct pool *p = u->pool;

	u->fd = fd;
	u->state = UPSTREAM_HANDSHAKE;
	if (fd < 0 || !upstream_socket_ok(fd) || uv_poll_init(p->env->loop, &u->poll, fd)) {
		upstream_fail(u, REASON_DIAL_CONNECT, "not a connected TCP socket");
		return;
	}
	u->polled = true;
	if (tls_new(p->tls_ctx, p->host, p->pins, fd, &p->session, &u->tls))
		upstream_fail(u, REASON_INTERNAL, "out of memory");
	else
		upstream_handshake(u);
}

/* The dialer names a reason; only those that it may give are believed. */
static enum reason upstream_dial_reason(uint64_t reason)
{
	return reason == REASON_DIAL_DENIED || reason == REASON_DIAL_RESOLVE ? (enum reason)reason
									     : REASON_DIAL_CONNECT;
}

/* An address that must not be connected is worth a record: a provider's name that leads there is somebody's attempt. */
static void upstream_not_dialed(struct upstream *u, const struct proto_dial_failed *failed)
{
	const struct pool *p = u->pool;
	enum reason why = upstream_dial_reason(failed->reason);
	char text[256];

	(void)snprintf(text, sizeof(text), "%.*s%s%.*s", SPAN_ARG(failed->address), failed->address.len > 0 ? ": " : "",
		       SPAN_ARG(failed->why));
	if (why == REASON_DIAL_DENIED)
		audit_record(p->env->audit, &(const struct proto_event){.code = EVENT_EGRESS_ADDRESS_DENY,
									.actor = SPAN_LIT("dialer"),
									.address = failed->address,
									.resource = span_str(p->host),
									.reason = span_str(reason_row(why)->code)});
	upstream_fail(u, why, text);
}

static void upstream_on_dialed(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
			       int fd)
{
	struct upstream *u = ctx;

	if (outcome == IPC_REPLY && desc->type == PROTO_DIALED) {
		upstream_adopt(u, fd);
		return;
	}
	if (fd >= 0)
		(void)close(fd);
	u->state = UPSTREAM_HANDSHAKE; /* the call is over: there is nothing to forget */
	if (outcome == IPC_REPLY && desc->type == PROTO_DIAL_FAILED)
		upstream_not_dialed(u, msg);
	else if (outcome == IPC_TIMEOUT)
		upstream_fail(u, REASON_DIAL_CONNECT, "timeout");
	else
		upstream_fail(u, REASON_EGRESS_GONE, "dialer lost");
}

/* There are only so many descriptors: a connection that is needed is worth more than one that is idle, whosever. */
static bool pool_make_room(struct pool_env *env)
{
	struct list *eldest = list_first(&env->idle);

	if (env->total < env->total_max)
		return true;
	if (eldest)
		upstream_close(container_of(eldest, struct upstream, in_idle));
	return eldest != NULL;
}

/* 0, POOL_E_DOWN or POOL_E_FULL. */
static int upstream_dial(struct pool *p)
{
	struct proto_dial dial = {.host = span_str(p->host), .port = p->port};
	struct upstream *u;

	if (!pool_make_room(p->env))
		return POOL_E_FULL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return POOL_E_DOWN;
	*u = (struct upstream){.pool = p, .fd = -1, .state = UPSTREAM_DIALING, .dialer = ipc_edge_conn(p->env->dialer)};
	list_init(&u->in_pool);
	list_init(&u->in_idle);
	if (ipc_call(u->dialer, PROTO_DIAL, &dial, -1, p->env->connect_timeout_ms, upstream_on_dialed, u,
		     &u->dial_id)) {
		free(u);
		return POOL_E_DOWN;
	}
	upstream_enter(u, UPSTREAM_DIALING, &p->opening);
	p->n_opening++;
	p->n++;
	p->env->total++;
	return 0;
}

/* ---- the pool ---- */

static void pool_balance(struct pool *p)
{
	while (!p->closed && p->n_opening < p->n_waiters && p->n < p->env->connections_max) {
		int r = upstream_dial(p);
		if (r == 0)
			continue;
		if (p->n_opening > 0 || (r == POOL_E_FULL && !list_empty(&p->busy)))
			return;
		struct pool_waiter *w = pool_next_waiter(p);
		w->ready(w, NULL, r == POOL_E_FULL ? REASON_OVERLOADED : REASON_EGRESS_GONE);
	}
}

/*
 * Is it still good for a request? A connection that lay idle is asked: the loop may be about to tell that it was
 * closed, and after a pause that news is behind the request. One that served a moment ago is not: what its peer does
 * after that moment is still on its way, and no question would find it.
 */
static bool upstream_fit(const struct upstream *u)
{
	if (ipc_now_ms(u->pool->env->ipc) - u->since_ms < POOL_TRUST_MS)
		return tls_quiet(u->tls);
	return tls_still_idle(u->tls);
}

int pool_take(struct pool *p, struct pool_waiter *w, bool fresh, struct upstream **ret_upstream)
{
	/* The one used last: the others may grow old and go. */
	while (!fresh && !list_empty(&p->idle)) {
		struct upstream *u = container_of(p->idle.prev, struct upstream, in_pool);
		if (!upstream_fit(u)) {
			upstream_close(u);
			continue;
		}
		upstream_enter(u, UPSTREAM_BUSY, &p->busy);
		*ret_upstream = u;
		return 0;
	}
	if (p->n_waiters >= POOL_WAITERS_MAX)
		return POOL_E_FULL;
	/* Idle ones that are left are not fresh: the eldest makes room, and none of them is worth waiting for. */
	bool dial = p->n_opening <= p->n_waiters;
	if (dial && p->n >= p->env->connections_max && !list_empty(&p->idle))
		upstream_close(container_of(p->idle.next, struct upstream, in_pool));
	int r = dial && p->n < p->env->connections_max ? upstream_dial(p) : 0;
	if (r && p->n_opening == 0 && list_empty(&p->busy))
		return r;
	list_init(&w->in_pool);
	list_push(&p->waiters, &w->in_pool);
	p->n_waiters++;
	return POOL_E_WAIT;
}

void pool_forget(struct pool *p, struct pool_waiter *w)
{
	if (!w->in_pool.next || list_empty(&w->in_pool))
		return;
	list_unlink(&w->in_pool);
	p->n_waiters--;
}

bool pool_is_full(const struct pool *p)
{
	bool room = p->n < p->env->connections_max && p->env->total < p->env->total_max;

	return !room && p->n_opening == 0;
}

void pool_give_back(struct upstream *u, bool keep)
{
	struct pool *p = u->pool;
	uint64_t now_ms = ipc_now_ms(p->env->ipc);

	assert(u->state == UPSTREAM_BUSY);
	u->reused = true;
	u->on_event = NULL;
	if (keep && !p->closed && p->env->idle_ms > 0 && now_ms - u->born_ms < POOL_LIFETIME_MS && tls_quiet(u->tls) &&
	    upstream_watch(u, UV_READABLE) == 0) {
		upstream_offer(u);
		return;
	}
	upstream_close(u);
	pool_balance(p);
}

void pool_tick(struct pool *p, uint64_t now_ms)
{
	list_for_each_safe (it, &p->idle) {
		struct upstream *u = container_of(it, struct upstream, in_pool);
		if (now_ms - u->since_ms >= p->env->idle_ms || now_ms - u->born_ms >= POOL_LIFETIME_MS)
			upstream_close(u);
	}
	/* Dials have their own deadline; one failing may close others, so begin anew. */
	for (bool again = true; again;) {
		again = false;
		list_for_each (it, &p->opening) {
			struct upstream *u = container_of(it, struct upstream, in_pool);
			if (u->state != UPSTREAM_HANDSHAKE || now_ms - u->since_ms < p->env->connect_timeout_ms)
				continue;
			upstream_fail(u, REASON_UPSTREAM_TIMEOUT, "handshake");
			again = true;
			break;
		}
	}
}

void pool_close(struct pool *p, enum reason why)
{
	p->closed = true;
	while (!list_empty(&p->idle))
		upstream_close(container_of(p->idle.next, struct upstream, in_pool));
	while (!list_empty(&p->opening))
		upstream_close(container_of(p->opening.next, struct upstream, in_pool));
	for (struct pool_waiter *w; (w = pool_next_waiter(p));)
		w->ready(w, NULL, why);
}
