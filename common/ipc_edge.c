/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges: where connections come from, and what a peer must say before it is heard.
 *
 * A server edge owns the listeners that the launcher bound, one for each instance of the client role; a connection's
 * identity is the listener that it came in on. A client edge asks the launcher for a connected socket (LINK) whenever
 * it has none, with a growing pause; only after a connection that lasted is the pause short again, since a server may
 * take us each time and not what we say. Both sides send HELLO first; a peer is open, and `on_open` runs, when its
 * HELLO names the role and worker that belong on this socket and the schema that we were built with.
 *
 * One slow timer serves every deadline of this module: calls, HELLO, retries. It runs only while there is one, so that
 * an idle daemon sleeps.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_internal.h"
#include "common/version.h"

#define IPC_ACCEPTS_PER_TURN 16

void ipc_fatal(struct ipc *ipc, int r)
{
	log_event(&ipc->d->log, LOG_FATAL, LOG_STR("error", strerrordesc_np(-r)));
	exit(EXIT_FAILURE);
}

void ipc_set_arena(struct ipc *ipc, struct secret_arena *arena, struct secret_arena *buffers)
{
	ipc->arena = arena;
	ipc->buffers = buffers;
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	return edge->link && edge->link->state == IPC_CONN_OPEN ? edge->link : NULL;
}

void ipc_edge_each(struct ipc_edge *edge, void (*each)(void *arg, struct ipc_conn *conn), void *arg)
{
	list_for_each_safe (it, &edge->conns) {
		struct ipc_conn *c = container_of(it, struct ipc_conn, in_edge);
		if (c->state == IPC_CONN_OPEN)
			each(arg, c);
	}
}

/* ---- HELLO ---- */

static int edge_say_hello(struct ipc_conn *c)
{
	struct daemon *d = c->ipc->d;
	const uint8_t *sequence = d->tally ? d->tally->sequence : d->boot;
	struct proto_hello hello = {.role = (uint64_t)d->role,
				    .worker = d->worker,
				    .boot = span_of(sequence, sizeof d->boot),
				    .build = span_str(BULKHEAD_VERSION),
				    .schema = proto_schema_hash()};

	return ipc_send(c, PROTO_HELLO, 0, &hello);
}

static int edge_hear_hello(struct ipc_conn *c, const struct proto_desc *desc, const struct proto_hello *hello)
{
	char name[EDGE_NAME_BYTES];

	if (desc->type != PROTO_HELLO || hello->role != (uint64_t)c->peer || hello->worker != c->worker ||
	    hello->schema != proto_schema_hash())
		return IPC_E_VIOLATION;
	memcpy(c->boot, hello->boot.p, sizeof c->boot);
	c->state = IPC_CONN_OPEN;
	c->opened = true;
	c->edge->opened_ms = ipc_now_ms(c->ipc);
	instance_name(c->peer, c->worker, name);
	if (c->peer != ROLE_CLI)
		log_event(&c->ipc->d->log, LOG_PEER_UP, LOG_STR("peer", name), LOG_SPAN("build", hello->build));
	if (c->edge->spec->on_open)
		c->edge->spec->on_open(c->edge->ctx, c);
	return 0;
}

/* ---- serving ---- */

/* Each client has places of its own: whoever takes all that he can, were it without a word, takes nobody else's. */
static size_t edge_conns_max(const struct ipc_edge *e)
{
	return e->spec->conns_max ? e->spec->conns_max : e->spec->peer == ROLE_CLI ? IPC_CLIS_MAX : IPC_CONNS_MAX;
}

static void edge_accept_one(struct ipc_listener *l, int fd)
{
	struct ipc_edge *e = l->edge;
	struct ucred cred;
	socklen_t len = sizeof cred;
	struct ipc_conn *c;

	if (l->n_conns >= edge_conns_max(e)) {
		(void)close(fd);
		return;
	}
	int r = ipc_conn_new(e->ipc, e, e->spec->peer, l->client_worker, fd, &c);
	if (r)
		return; /* logged at its origin; the client tries again */
	c->peer_uid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ? UINT64_MAX : cred.uid;
	c->hello_deadline_ms = ipc_now_ms(e->ipc) + IPC_HELLO_MS;
	ipc_arm(e->ipc);
	list_push(&e->conns, &c->in_edge);
	c->listener = l;
	l->n_conns++;
	r = edge_say_hello(c);
	if (r < 0)
		ipc_fatal(e->ipc, r);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct ipc_listener *l = poll->data;

	(void)events;
	for (int i = 0; status == 0 && i < IPC_ACCEPTS_PER_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		edge_accept_one(l, fd);
	}
}

/* Adopts the inherited listeners of this edge. */
static int edge_adopt_listeners(struct ipc_edge *e)
{
	struct daemon *d = e->ipc->d;

	e->listeners = calloc(d->n_fds + 1, sizeof *e->listeners);
	if (!e->listeners)
		return err_origin(-ENOMEM);
	for (size_t i = 0; i < d->n_fds; i++) {
		unsigned server_worker, client_worker;
		enum role server, client;

		if (d->fds[i].fd < 0 || !edge_parse(d->fds[i].name, &server, &server_worker, &client, &client_worker) ||
		    server != d->role || server_worker != d->worker || client != e->spec->peer)
			continue;
		struct ipc_listener *l = &e->listeners[e->n_listeners];
		*l = (struct ipc_listener){.edge = e, .client_worker = client_worker, .fd = d->fds[i].fd};
		l->poll.data = l;
		d->fds[i].fd = -1;
		int r = uv_poll_init(&d->loop, &l->poll, l->fd);
		if (!r)
			r = uv_poll_start(&l->poll, UV_READABLE, on_listener);
		if (r)
			return err_origin(r);
		e->n_listeners++;
	}
	return 0;
}

/* ---- connecting ---- */

static void edge_ask(struct ipc_edge *e)
{
	struct ipc *ipc = e->ipc;

	if (!ipc->control || e->asked || e->link || ipc->closing)
		return;
	int r = ipc_send(ipc->control, PROTO_LINK, 0, &(struct proto_link){.edge = span_str(e->name)});
	if (r < 0)
		ipc_fatal(ipc, r);
	e->asked = r == 0;
	if (!e->asked)
		ipc_arm(ipc);
}

static void edge_retry_later(struct ipc_edge *e)
{
	e->retry_ms = e->retry_ms ? MIN(e->retry_ms * 2, (uint64_t)IPC_RETRY_MS_MAX) : IPC_TICK_MS;
	e->retry_at_ms = ipc_now_ms(e->ipc) + e->retry_ms;
	ipc_arm(e->ipc);
}

static struct ipc_edge *edge_named(struct ipc *ipc, struct span name)
{
	list_for_each (it, &ipc->edges) {
		struct ipc_edge *e = container_of(it, struct ipc_edge, in_ipc);
		if (!e->serves && span_eq_str(name, e->name))
			return e;
	}
	return NULL;
}

static int edge_linked(struct ipc_edge *e, int fd)
{
	if (!e || !e->asked) {
		(void)close(fd);
		return IPC_E_VIOLATION;
	}
	e->asked = false;
	int r = ipc_conn_new(e->ipc, e, e->spec->peer, e->peer_worker, fd, &e->link);
	return r ? r : edge_say_hello(e->link);
}

/* What the launcher says on the control channel. */
static int edge_control_message(struct ipc *ipc, const struct proto_desc *desc, const union proto_any *msg, int fd)
{
	if (desc->type == PROTO_LINKED)
		return edge_linked(edge_named(ipc, msg->linked.edge), fd);
	if (desc->type != PROTO_LINK_FAILED)
		return IPC_E_VIOLATION;
	struct ipc_edge *e = edge_named(ipc, msg->link_failed.edge);
	if (!e || !e->asked)
		return IPC_E_VIOLATION;
	e->asked = false;
	edge_retry_later(e);
	return 0;
}

/* ---- both ---- */

int ipc_edge_message(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, const void *msg, int fd)
{
	if (!c->edge)
		return edge_control_message(c->ipc, desc, msg, fd);
	if (c->state == IPC_CONN_HELLO) {
		if (fd >= 0)
			(void)close(fd); /* HELLO has none: it is something else */
		return edge_hear_hello(c, desc, msg);
	}
	if (c->peer == ROLE_CLI) {
		bool mine;
		int r = ipc_admin_message(c, id, desc, &mine);
		if (r || mine)
			return r;
	}
	for (size_t i = 0; i < c->edge->spec->n_rows; i++)
		if ((uint32_t)c->edge->spec->rows[i].type == desc->type)
			return c->edge->spec->rows[i].handle(c->edge->ctx, c, id, msg, fd);
	return ipc_call_answer(c, id, desc, msg, fd) ? 0 : IPC_E_VIOLATION;
}

void ipc_edge_closed(struct ipc_conn *c)
{
	struct ipc_edge *e = c->edge;

	list_unlink(&c->in_edge);
	if (!e) {
		c->ipc->control = NULL;
		if (!c->ipc->closing)
			daemon_stop(c->ipc->d); /* the launcher is gone: nobody would connect us again */
		return;
	}
	if (e->serves) {
		c->listener->n_conns--;
	} else if (e->link == c) {
		e->link = NULL;
		if (c->opened && ipc_now_ms(e->ipc) - e->opened_ms >= IPC_RETRY_MS_MAX)
			e->retry_ms = 0;
		edge_retry_later(e);
	}
	if (c->opened && e->spec->on_close)
		e->spec->on_close(e->ctx, c);
}

/* What is due on an edge. True while there is something to wait for. */
static bool edge_tick(struct ipc_edge *e, uint64_t now_ms)
{
	bool waiting = false;

	if (!e->serves) {
		if (!e->link && now_ms >= e->retry_at_ms)
			edge_ask(e);
		if (e->link)
			ipc_call_expire(e->link, now_ms);
		return e->link ? e->link->live_calls > 0 : !e->asked;
	}
	list_for_each_safe (it, &e->conns) {
		struct ipc_conn *c = container_of(it, struct ipc_conn, in_edge);
		ipc_call_expire(c, now_ms);
		if (c->state == IPC_CONN_HELLO && now_ms >= c->hello_deadline_ms)
			ipc_drop(c, "no HELLO in time");
		waiting |= c->live_calls > 0 || c->state == IPC_CONN_HELLO;
	}
	return waiting;
}

static void on_tick(uv_timer_t *timer)
{
	struct ipc *ipc = timer->data;
	bool waiting = false;

	list_for_each (it, &ipc->edges)
		waiting |= edge_tick(container_of(it, struct ipc_edge, in_ipc), ipc_now_ms(ipc));
	if (!waiting)
		(void)uv_timer_stop(timer);
}

void ipc_arm(struct ipc *ipc)
{
	if (!ipc->closing && !uv_is_active((const uv_handle_t *)&ipc->tick))
		(void)uv_timer_start(&ipc->tick, on_tick, IPC_TICK_MS, IPC_TICK_MS);
}

/* Timers run before the prepare handle does: what becomes dirty here is written in the same turn. */
static void on_hurry(uv_timer_t *timer)
{
	struct ipc *ipc = timer->data;

	while (!list_empty(&ipc->later)) {
		struct list *first = list_first(&ipc->later);
		list_unlink(first);
		list_push(&ipc->dirty, first);
	}
}

void ipc_arm_later(struct ipc *ipc)
{
	if (!ipc->closing && !uv_is_active((const uv_handle_t *)&ipc->hurry))
		(void)uv_timer_start(&ipc->hurry, on_hurry, IPC_LATER_MS, 0);
}

static void on_flush(uv_prepare_t *prepare)
{
	struct ipc *ipc = prepare->data;

	if (ipc->before_flush)
		ipc->before_flush(ipc->before_flush_ctx);
	while (!list_empty(&ipc->dirty))
		ipc_conn_flush(container_of(list_first(&ipc->dirty), struct ipc_conn, in_dirty));
	ipc->now_us = ipc->unix_ns = 0;
}

void ipc_set_before_flush(struct ipc *ipc, void (*before)(void *ctx), void *ctx)
{
	ipc->before_flush = before;
	ipc->before_flush_ctx = ctx;
}

static struct ipc_edge *edge_new(struct ipc *ipc, const struct ipc_edge_spec *spec, void *ctx)
{
	struct ipc_edge *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	*e = (struct ipc_edge){.ipc = ipc, .spec = spec, .ctx = ctx};
	list_init(&e->conns);
	list_init(&e->in_ipc);
	list_push(&ipc->edges, &e->in_ipc);
	return e;
}

int ipc_serve(struct ipc *ipc, const struct ipc_edge_spec *spec, void *ctx, struct ipc_edge **ret_edge)
{
	struct ipc_edge *e = edge_new(ipc, spec, ctx);

	assert(edge_row(ipc->d->role, spec->peer));
	if (!e)
		return err_origin(-ENOMEM);
	e->serves = true;
	int r = edge_adopt_listeners(e);
	if (!r && ret_edge)
		*ret_edge = e;
	return r;
}

int ipc_serve_admin(struct ipc *ipc)
{
	static const struct ipc_edge_spec spec = {.peer = ROLE_CLI};

	list_for_each (it, &ipc->edges) {
		const struct ipc_edge *e = container_of(it, struct ipc_edge, in_ipc);
		if (e->serves && e->spec->peer == ROLE_CLI)
			return 0;
	}
	return ipc_serve(ipc, &spec, NULL, NULL);
}

int ipc_connect(struct ipc *ipc, const struct ipc_edge_spec *spec, unsigned peer_worker, void *ctx,
		struct ipc_edge **ret_edge)
{
	struct ipc_edge *e = edge_new(ipc, spec, ctx);

	assert(edge_row(spec->peer, ipc->d->role));
	if (!e)
		return err_origin(-ENOMEM);
	e->peer_worker = peer_worker;
	edge_name(spec->peer, peer_worker, ipc->d->role, ipc->d->worker, e->name);
	edge_ask(e);
	*ret_edge = e;
	return 0;
}

/* ---- the whole ---- */

int ipc_new(struct daemon *d, struct ipc **ret_ipc)
{
	struct ipc *ipc = calloc(1, sizeof *ipc);

	if (!ipc)
		return err_origin(-ENOMEM);
	ipc->d = d;
	list_init(&ipc->edges);
	list_init(&ipc->dirty);
	list_init(&ipc->later);
	ipc->flush.data = ipc->tick.data = ipc->hurry.data = ipc;
	int r = uv_prepare_init(&d->loop, &ipc->flush);
	if (!r)
		r = uv_prepare_start(&ipc->flush, on_flush);
	if (!r)
		r = uv_timer_init(&d->loop, &ipc->tick);
	if (!r)
		r = uv_timer_init(&d->loop, &ipc->hurry);
	if (!r && d->control_fd >= 0) {
		r = ipc_conn_new(ipc, NULL, ROLE_LAUNCHER, 0, d->control_fd, &ipc->control);
		if (!r)
			ipc->control->state = IPC_CONN_OPEN;
	}
	if (r)
		return err_origin(r);
	*ret_ipc = ipc;
	return 0;
}

void ipc_close(struct ipc *ipc)
{
	on_hurry(&ipc->hurry);
	on_flush(&ipc->flush);
	ipc->closing = true;
	uv_close((uv_handle_t *)&ipc->flush, NULL);
	uv_close((uv_handle_t *)&ipc->tick, NULL);
	uv_close((uv_handle_t *)&ipc->hurry, NULL);
	if (ipc->control)
		ipc_drop(ipc->control, NULL);
	list_for_each (it, &ipc->edges) {
		struct ipc_edge *e = container_of(it, struct ipc_edge, in_ipc);
		for (size_t i = 0; i < e->n_listeners; i++)
			uv_close((uv_handle_t *)&e->listeners[i].poll, NULL);
		if (e->link)
			ipc_drop(e->link, NULL);
		list_for_each_safe (conn, &e->conns)
			ipc_drop(container_of(conn, struct ipc_conn, in_edge), NULL);
	}
}

struct ipc *ipc_free(struct ipc *ipc)
{
	if (!ipc)
		return NULL;
	list_for_each_safe (it, &ipc->edges) {
		struct ipc_edge *e = container_of(it, struct ipc_edge, in_ipc);
		for (size_t i = 0; i < e->n_listeners; i++)
			(void)close(e->listeners[i].fd);
		free(e->listeners);
		free(e);
	}
	free(ipc);
	return NULL;
}

uv_loop_t *ipc_loop(const struct ipc *ipc)
{
	return &ipc->d->loop;
}

struct daemon *ipc_daemon(const struct ipc *ipc)
{
	return ipc->d;
}

void *ipc_conn_ctx(const struct ipc_conn *c)
{
	return c->user;
}

void ipc_conn_set_ctx(struct ipc_conn *c, void *ctx)
{
	c->user = ctx;
}

unsigned ipc_conn_worker(const struct ipc_conn *c)
{
	return c->worker;
}

const uint8_t *ipc_conn_boot(const struct ipc_conn *c)
{
	return c->boot;
}

uint64_t ipc_conn_peer_uid(const struct ipc_conn *c)
{
	return c->peer_uid;
}
