/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending: the ring's items go out in order; `sent` of them are under way. At most AUDIT_WINDOW are unacknowledged at a
 * time, so that auditd's memory is bounded however large the rings are. RECORDED pops what is durable. When the
 * connection is lost, nothing is under way any more; RESUME of the next one pops what had been recorded and the rest is
 * sent again.
 *
 * Must-ack: an item with `done` is answered by RECORDED or by its deadline, whichever comes first. The item stays in
 * the ring after its deadline: that the effect was refused does not unsay that it was asked for.
 */
#include "common/audit_client.h"

#include <assert.h>
#include <stdlib.h>

#include "common/audit_ring.h"
#include "common/daemon.h"
#include "common/err.h"

struct audit_client {
	struct ipc *ipc;
	struct ipc_edge *edge;
	struct audit_ring ring;
	uint64_t inherited; /* how far the sequence had come without us */
	bool met;           /* auditd has heard of us, so it may have more of the sequence than that */
	size_t sent;
	bool resumed; /* RESUME was heard on this connection */
	size_t waiting;
	uv_timer_t timer; /* runs while somebody waits */
	bool freed, timer_closed, open;
};

/* ---- must-ack ---- */

static void audit_client_answer(struct audit_client *c, struct audit_item *item, bool durable)
{
	audit_done *done = item->done;

	item->done = NULL;
	c->waiting--;
	done(item->ctx, durable);
}

static void on_audit_timer(uv_timer_t *timer);

/* The earliest deadline of those who wait; looks at all of them, so not for each. */
static void audit_client_arm(struct audit_client *c)
{
	uint64_t earliest = UINT64_MAX, now = ipc_now_ms(c->ipc);

	(void)uv_timer_stop(&c->timer);
	if (c->waiting == 0 || c->freed)
		return;
	for (size_t i = 0; i < c->ring.n; i++) {
		const struct audit_item *item = audit_ring_at(&c->ring, i);
		if (item->done)
			earliest = MIN(earliest, item->deadline_ms);
	}
	(void)uv_timer_start(&c->timer, on_audit_timer, earliest > now ? earliest - now : 0, 0);
}

/* A callback may record more, but only audit_client_recorded() pops: places in the ring do not move here. */
static void on_audit_timer(uv_timer_t *timer)
{
	struct audit_client *c = timer->data;
	uint64_t now = ipc_now_ms(c->ipc);

	for (size_t i = 0; i < c->ring.n && c->waiting > 0; i++) {
		struct audit_item *item = audit_ring_at(&c->ring, i);
		if (item->done && item->deadline_ms <= now)
			audit_client_answer(c, item, false);
	}
	audit_client_arm(c);
}

/* ---- the edge ---- */

static int audit_client_send(struct audit_client *c)
{
	struct ipc_conn *conn = ipc_edge_conn(c->edge);

	audit_ring_settle(&c->ring);
	while (conn && c->resumed && c->sent < c->ring.n && c->sent < AUDIT_WINDOW) {
		const struct audit_item *item = audit_ring_at(&c->ring, c->sent);
		enum proto_type type = item->is_gap ? PROTO_GAP : PROTO_EVENT;
		int r = ipc_send_packed(conn, type, audit_ring_message(&c->ring, item), !item->is_gap && !item->done);
		if (r == IPC_E_FULL || r == IPC_E_DOWN)
			return 0; /* on_drain, RECORDED or the next RESUME will go on */
		if (r)
			return r;
		c->sent++;
	}
	return 0;
}

/* Everything up to last_seq is durable. */
static void audit_client_recorded(struct audit_client *c, uint64_t last_seq)
{
	bool answered = false;

	while (c->ring.n > 0 && audit_ring_at(&c->ring, 0)->last_seq <= last_seq) {
		struct audit_item item = *audit_ring_at(&c->ring, 0);
		audit_ring_pop(&c->ring);
		c->sent -= c->sent > 0;
		if (!item.done)
			continue;
		audit_client_answer(c, &item, true);
		answered = true;
	}
	if (answered && c->waiting == 0)
		(void)uv_timer_stop(&c->timer); /* else it may ring too early, and looks again */
}

static int handle_audit_resume(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct audit_client *c = ctx;
	const struct proto_resume *m = msg;

	(void)conn;
	(void)id;
	(void)fd;
	if (c->resumed || m->last_seq > m->accepted_seq)
		return IPC_E_VIOLATION;
	if (m->accepted_seq > (c->met ? c->ring.seq : c->inherited)) {
		if (!c->met)
			tally_leave(c->ring.tally, ipc_daemon(c->ipc)->boot);
		return IPC_E_VIOLATION;
	}
	c->met = true;
	c->sent = 0;
	c->resumed = true;
	audit_client_recorded(c, m->last_seq);
	return audit_client_send(c);
}

static int handle_audit_recorded(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct audit_client *c = ctx;
	const struct proto_recorded *m = msg;

	(void)conn;
	(void)id;
	(void)fd;
	if (!c->resumed || c->sent == 0 || m->last_seq > audit_ring_at(&c->ring, c->sent - 1)->last_seq)
		return IPC_E_VIOLATION; /* it cannot have what was not sent */
	audit_client_recorded(c, m->last_seq);
	return audit_client_send(c);
}

/* Memory goes when neither the loop nor the edge knows it any more. */
static void audit_client_release(struct audit_client *c)
{
	if (!c->freed || !c->timer_closed || c->open)
		return;
	audit_ring_deinit(&c->ring);
	free(c);
}

static void on_audit_open(void *ctx, struct ipc_conn *conn)
{
	struct audit_client *c = ctx;

	(void)conn;
	c->open = true;
}

static void on_audit_close(void *ctx, struct ipc_conn *conn)
{
	struct audit_client *c = ctx;

	(void)conn;
	c->open = c->resumed = false;
	c->sent = 0;
	audit_client_release(c);
}

static void on_audit_drain(void *ctx, struct ipc_conn *conn)
{
	(void)conn;
	(void)!audit_client_send(ctx);
}

static const struct ipc_row audit_client_rows[] = {
	{PROTO_RESUME, handle_audit_resume},
	{PROTO_RECORDED, handle_audit_recorded},
};

static const struct ipc_edge_spec audit_client_spec = {
	.peer = ROLE_AUDITD,
	.rows = audit_client_rows,
	.n_rows = ARRAY_LEN(audit_client_rows),
	.on_open = on_audit_open,
	.on_close = on_audit_close,
	.on_drain = on_audit_drain,
};

/* ---- the daemon's own life ---- */

static void audit_client_life(struct audit_client *c, enum event_code code, struct span digest)
{
	const struct daemon *d = ipc_daemon(c->ipc);

	audit_record(c, &(const struct proto_event){.code = code,
						    .actor = span_str(role_name(d->role)),
						    .resource = span_str(d->instance),
						    .digest = digest});
}

/* The loop has been stopped; it runs on until auditd has everything, or takes too long. */
static void audit_client_farewell(void *ctx)
{
	struct audit_client *c = ctx;
	uint64_t until = ipc_now_ms(c->ipc) + AUDIT_FAREWELL_MS;

	audit_client_life(c, EVENT_DAEMON_STOP, SPAN_NULL);
	while (c->resumed && c->ring.n > 0 && ipc_now_ms(c->ipc) < until) {
		/* Each time: when nobody waits for an answer any more, the timer is stopped. */
		(void)uv_timer_start(&c->timer, on_audit_timer, until - ipc_now_ms(c->ipc), 0);
		(void)uv_run(ipc_loop(c->ipc), UV_RUN_ONCE);
	}
}

/* ---- what producers call ---- */

struct ipc_conn *audit_client_conn(struct audit_client *c)
{
	return ipc_edge_conn(c->edge);
}

static void on_audit_timer_closed(uv_handle_t *handle)
{
	struct audit_client *c = handle->data;

	c->timer_closed = true;
	audit_client_release(c);
}

int audit_client_new(struct ipc *ipc, size_t events_max, const uint8_t config_digest[32],
		     struct audit_client **ret_client)
{
	struct audit_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->ipc = ipc;
	int r = audit_ring_init(&c->ring, events_max, ipc_daemon(ipc)->tally);
	if (!r)
		r = ipc_connect(ipc, &audit_client_spec, 0, c, &c->edge);
	if (r) {
		audit_ring_deinit(&c->ring);
		free(c);
		return r;
	}
	c->inherited = c->ring.seq;
	c->timer.data = c;
	(void)uv_timer_init(ipc_loop(ipc), &c->timer);
	ipc_daemon(ipc)->on_farewell = audit_client_farewell;
	ipc_daemon(ipc)->farewell_ctx = c;
	audit_client_life(c, EVENT_DAEMON_START, span_of(config_digest, 32));
	*ret_client = c;
	return 0;
}

struct audit_client *audit_client_free(struct audit_client *c)
{
	if (!c)
		return NULL;
	c->freed = true;
	for (size_t i = 0; i < c->ring.n; i++)
		if (audit_ring_at(&c->ring, i)->done)
			audit_client_answer(c, audit_ring_at(&c->ring, i), false);
	uv_close((uv_handle_t *)&c->timer, on_audit_timer_closed);
	return NULL;
}

static struct audit_item *audit_client_push(struct audit_client *c, const struct proto_event *event)
{
	return audit_ring_push(&c->ring, event, ipc_unix_ns(c->ipc));
}

/* What only a defect of ours can cause is met again, and ended, by whoever sends next from a handler. */
void audit_record(struct audit_client *c, const struct proto_event *event)
{
	(void)audit_client_push(c, event);
	(void)!audit_client_send(c);
}

void audit_promise(struct audit_client *c)
{
	audit_ring_promise(&c->ring);
}

void audit_record_promised(struct audit_client *c, const struct proto_event *event)
{
	audit_ring_redeem(&c->ring);
	audit_record(c, event);
}

void audit_forget_promise(struct audit_client *c)
{
	audit_ring_forget(&c->ring);
}

int audit_record_wait(struct audit_client *c, const struct proto_event *event, uint64_t deadline_ms, audit_done *done,
		      void *ctx)
{
	assert(done);
	if (!ipc_edge_conn(c->edge) || !c->resumed)
		return AUDIT_E_DOWN;
	uv_update_time(c->timer.loop); /* the caller may come from Argon2, seconds after the loop last looked */
	struct audit_item *item = audit_client_push(c, event);
	if (!item)
		return AUDIT_E_DOWN;
	item->done = done;
	item->ctx = ctx;
	item->deadline_ms = ipc_now_ms(c->ipc) + deadline_ms;
	if (c->waiting++ == 0 || deadline_ms < uv_timer_get_due_in(&c->timer))
		(void)uv_timer_start(&c->timer, on_audit_timer, deadline_ms, 0);
	int r = audit_client_send(c);
	if (r && item->done) { /* broken, and not to be told of it twice */
		item->done = NULL;
		c->waiting--;
	}
	return r;
}
