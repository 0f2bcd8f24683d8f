/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams live in a table; the low bits of an id are the place in it, the rest counts the streams of this lane. A frame
 * whose id was never given out is a violation; one whose stream is over is late, and dropped. The egress is not trusted
 * to keep order: head, then data within the window, then an end, or the lane is closed.
 */
#include "router/upstream.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/ipc.h"
#include "router/clock.h"
#include "router/request.h"

#define LANE_SLOT_BITS 20
#define LANE_SLOTS_MAX (1U << LANE_SLOT_BITS)
/* Credit is returned in portions: a message for each write of a client would cost more than it helps. */
#define LANE_CREDIT_BYTES 16384

struct lane_slot {
	struct upstream *stream; /* NULL: free */
	uint32_t next_free;
};

struct lane {
	struct ipc_edge *edge;
	struct requests *all;
	void (*changed)(void *ctx);
	void *ctx;
	struct lane_slot *slots;
	uint32_t n_slots, free_slot;
	uint64_t count;
	bool up;
};

#define NO_SLOT UINT32_MAX

static int lane_take_slot(struct lane *l, uint32_t *ret_slot)
{
	if (l->free_slot == NO_SLOT) {
		uint32_t n = l->n_slots ? l->n_slots * 2 : 64;
		struct lane_slot *slots = n <= LANE_SLOTS_MAX ? realloc(l->slots, n * sizeof(*slots)) : NULL;
		if (!slots)
			return UPSTREAM_E_DOWN;
		for (uint32_t i = l->n_slots; i < n; i++)
			slots[i] = (struct lane_slot){NULL, i + 1 < n ? i + 1 : NO_SLOT};
		l->free_slot = l->n_slots;
		l->slots = slots;
		l->n_slots = n;
	}
	*ret_slot = l->free_slot;
	return 0;
}

static void upstream_end(struct upstream *u)
{
	struct lane *l = u->lane;
	uint32_t slot = (uint32_t)(u->id & (LANE_SLOTS_MAX - 1));

	assert(l->slots[slot].stream == u);
	l->slots[slot] = (struct lane_slot){NULL, l->free_slot};
	l->free_slot = slot;
	u->id = 0;
}

/* Where in a stream a frame may come: BIT(upstream.head) is one of these. */
#define LANE_BEFORE_HEAD BIT(false)
#define LANE_AFTER_HEAD  BIT(true)

/* The stream that a frame is for, or NULL and what to answer instead: 0 when the stream is over and the frame only
 * late, IPC_E_VIOLATION when there never was one or the frame comes out of order. */
static struct upstream *lane_stream(struct lane *l, uint64_t id, uint64_t where, int *ret_answer)
{
	uint32_t slot = (uint32_t)(id & (LANE_SLOTS_MAX - 1));
	struct upstream *u = slot < l->n_slots ? l->slots[slot].stream : NULL;
	uint64_t count = id >> LANE_SLOT_BITS;

	if (u && u->id == id && (where & BIT(u->head)))
		return u;
	*ret_answer = count > 0 && count <= l->count && !(u && u->id == id) ? 0 : IPC_E_VIOLATION;
	return NULL;
}

static void lane_tell(struct lane *l, struct upstream *u, const struct event *ev)
{
	clock_tell(l->all);
	request_event(container_of(u, struct request, upstream), ev);
}

static int on_reply_head(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	int answer;
	struct upstream *u = lane_stream(ctx, id, LANE_BEFORE_HEAD, &answer);

	(void)conn;
	(void)fd;
	if (!u)
		return answer;
	u->head = true;
	lane_tell(ctx, u, &(struct event){.kind = EV_REPLY_HEAD, .reply_head = msg});
	return 0;
}

static int on_data(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_data *data = msg;
	int answer;
	struct upstream *u = lane_stream(ctx, id, LANE_AFTER_HEAD, &answer);

	(void)conn;
	(void)fd;
	if (!u)
		return answer;
	u->received += data->bytes.len;
	if (u->received - u->credited > UPSTREAM_WINDOW_BYTES)
		return IPC_E_VIOLATION;
	lane_tell(ctx, u, &(struct event){.kind = EV_DATA, .data = data->bytes});
	return 0;
}

static int on_end(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	int answer;
	struct upstream *u = lane_stream(ctx, id, LANE_AFTER_HEAD, &answer);

	(void)conn;
	(void)fd;
	if (!u)
		return answer;
	upstream_end(u);
	lane_tell(ctx, u, &(struct event){.kind = EV_END, .end = msg});
	return 0;
}

/* Of the client an egress has nothing to say but that its fields do not fit beside the credential: nobody else knows.
 */
static enum reason broken_reason(uint64_t reason)
{
	bool known = reason > REASON_NONE && reason < N_REASONS;
	bool said = known && (reason_row(reason)->status >= 500 || reason == REASON_HEAD_TOO_LARGE);

	return said ? (enum reason)reason : REASON_UPSTREAM_BROKEN;
}

static int on_broken(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_broken *broken = msg;
	int answer;
	struct upstream *u = lane_stream(ctx, id, LANE_BEFORE_HEAD | LANE_AFTER_HEAD, &answer);

	(void)conn;
	(void)fd;
	if (!u)
		return answer;
	upstream_end(u);
	lane_tell(ctx, u, &(struct event){.kind = EV_BROKEN, .broken = {broken_reason(broken->reason), broken->sent}});
	return 0;
}

static const struct ipc_row lane_rows[] = {
	{PROTO_REPLY_HEAD, on_reply_head},
	{PROTO_DATA, on_data},
	{PROTO_END, on_end},
	{PROTO_BROKEN, on_broken},
};

static void on_lane_open(void *ctx, struct ipc_conn *conn)
{
	struct lane *l = ctx;

	(void)conn;
	l->up = true;
	l->changed(l->ctx);
}

/* Every stream breaks; whether its provider saw the request nobody can say. */
static void on_lane_close(void *ctx, struct ipc_conn *conn)
{
	struct lane *l = ctx;

	(void)conn;
	l->up = false;
	for (uint32_t i = 0; i < l->n_slots; i++) {
		struct upstream *u = l->slots[i].stream;
		if (!u)
			continue;
		upstream_end(u);
		lane_tell(l, u, &(struct event){.kind = EV_BROKEN, .broken = {REASON_EGRESS_GONE, true}});
	}
	l->changed(l->ctx);
}

static const struct ipc_edge_spec lane_spec = {
	.peer = ROLE_EGRESS,
	.rows = lane_rows,
	.n_rows = ARRAY_LEN(lane_rows),
	.on_open = on_lane_open,
	.on_close = on_lane_close,
	.tx_bytes_max = 16U << 20,
};

int lane_new(struct ipc *ipc, struct requests *all, unsigned worker, void (*changed)(void *ctx), void *ctx,
	     struct lane **ret_lane)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		return err_origin(-ENOMEM);
	*l = (struct lane){.all = all, .changed = changed, .ctx = ctx, .free_slot = NO_SLOT};
	int r = ipc_connect(ipc, &lane_spec, worker, l, &l->edge);
	if (r) {
		free(l);
		return r;
	}
	*ret_lane = l;
	return 0;
}

struct lane *lane_free(struct lane *l)
{
	if (l)
		free(l->slots);
	free(l);
	return NULL;
}

bool lane_up(const struct lane *l)
{
	return l->up;
}

int upstream_open(struct lane *l, struct upstream *u, const struct proto_open *open, int fd)
{
	uint32_t slot = 0;

	assert(u->id == 0);
	int r = lane_take_slot(l, &slot);
	uint64_t id = (l->count + 1) << LANE_SLOT_BITS | slot;
	if (!r || fd >= 0)
		r = ipc_send_fd(r ? NULL : ipc_edge_conn(l->edge), PROTO_OPEN, id, open, fd);
	if (r)
		return UPSTREAM_E_DOWN;
	l->count++;
	l->free_slot = l->slots[slot].next_free;
	l->slots[slot].stream = u;
	*u = (struct upstream){.lane = l, .id = id};
	return 0;
}

void upstream_credit(struct upstream *u, size_t waiting)
{
	uint64_t taken = u->received - MIN(u->received, (uint64_t)waiting);

	if (u->id == 0 || taken < u->credited + LANE_CREDIT_BYTES)
		return;
	const struct proto_credit credit = {.bytes = MIN(taken - u->credited, (uint64_t)UPSTREAM_WINDOW_BYTES)};
	if (ipc_send(ipc_edge_conn(u->lane->edge), PROTO_CREDIT, u->id, &credit) == 0)
		u->credited += credit.bytes;
}

void upstream_cancel(struct upstream *u)
{
	static const struct proto_cancel cancel;

	if (u->id == 0)
		return;
	/* a lane that is down or full forgets the stream by itself, or will be dropped */
	int r = ipc_send(ipc_edge_conn(u->lane->edge), PROTO_CANCEL, u->id, &cancel);
	(void)r;
	upstream_end(u);
}
