/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What producers say. Each has its own sequence; what was accepted once is not recorded twice (it is sent again after
 * every reconnect), and what is missing in between becomes an entry of its own, log.gap. Who the producer is comes from
 * the socket; its boot id from HELLO: an old process that is still heard after its successor said HELLO is dropped.
 *
 * No name has more records on their way to the disk than two processes may have, one and its successor. Whoever says
 * more, captured as he may be, is held back himself, and not those who find no room behind him.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auditd/auditd.h"
#include "common/audit_client.h"
#include "common/err.h"
#include "proto/splice.h"

/* Of what auditd says itself. */
static uint64_t producers_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

#define PRODUCERS_PENDING_MAX (2 * AUDIT_WINDOW)

/* ---- who they are ---- */

static struct producer *producers_find(struct auditd *a, uint8_t role, uint8_t worker)
{
	for (size_t i = 0; i < a->n_producers; i++)
		if (a->producers[i].role == role && a->producers[i].worker == worker)
			return &a->producers[i];
	return NULL;
}

/*
 * Another process under the same name. The log's last word of a producer must stay the last that is known of it: when
 * the newcomer leaves without a word (whoever it was) and the one before comes back, its sequence goes on where it was.
 */
static void producers_change(struct producer *p, const uint8_t boot[16])
{
	bool back = p->accepted_seq == 0 && memcmp(p->before.boot, boot, sizeof(p->before.boot)) == 0;

	if (p->accepted_seq > 0) {
		memcpy(p->before.boot, p->boot, sizeof(p->before.boot));
		p->before.accepted_seq = p->accepted_seq;
		p->before.recorded_seq = p->recorded_seq;
	}
	memcpy(p->boot, boot, sizeof(p->boot));
	p->accepted_seq = back ? p->before.accepted_seq : 0;
	p->recorded_seq = back ? p->before.recorded_seq : 0;
}

/* NULL when there are more than there can be. */
static struct producer *producers_meet(struct auditd *a, uint8_t role, uint8_t worker, const uint8_t boot[16])
{
	struct producer *p = producers_find(a, role, worker);

	if (!p) {
		if (a->n_producers == ARRAY_LEN(a->producers))
			return NULL;
		p = &a->producers[a->n_producers++];
		*p = (struct producer){.role = role, .worker = worker};
		memcpy(p->boot, boot, sizeof(p->boot));
	}
	if (memcmp(p->boot, boot, sizeof(p->boot)) != 0)
		producers_change(p, boot);
	return p;
}

static void on_producer_open(void *ctx, struct ipc_conn *conn)
{
	struct producer_edge *edge = ctx;
	struct auditd *a = edge->a;

	if (a->failed)
		return; /* without RESUME it sends nothing, and waits */
	struct producer *p =
		producers_meet(a, (uint8_t)edge->role, (uint8_t)ipc_conn_worker(conn), ipc_conn_boot(conn));
	if (!p) {
		ipc_drop(conn, "too many producers");
		return;
	}
	p->conn = conn;
	ipc_conn_set_ctx(conn, p);
	if (ipc_send(conn, PROTO_RESUME, 0,
		     &(struct proto_resume){.last_seq = p->recorded_seq, .accepted_seq = p->accepted_seq}))
		ipc_drop(conn, "RESUME could not be sent");
}

static void on_producer_close(void *ctx, struct ipc_conn *conn)
{
	struct producer *p = ipc_conn_ctx(conn);

	receipts_forget(((struct producer_edge *)ctx)->a, conn);
	if (p && p->conn == conn)
		p->conn = NULL;
}

/* ---- what they say ---- */

/* Whose it is, and when it came: with all else of the loop's turn, yet nothing may seem to be recorded before it
 * happened. */
static struct proto_leaf_head producers_head(struct auditd *a, const struct producer *p, uint64_t last_seq,
					     uint64_t time_ns)
{
	return (struct proto_leaf_head){
		.version = LEAF_VERSION,
		.role = p->role,
		.worker = p->worker,
		.boot = span_of(p->boot, sizeof(p->boot)),
		.recorded_ns = ipc_unix_ns_after(a->daemon.ipc, time_ns),
		.last_seq = last_seq,
	};
}

static void producers_sign(struct auditd *a, const struct producer *p, struct proto_leaf *leaf)
{
	const struct proto_leaf_head head = producers_head(a, p, leaf->last_seq, leaf->time_ns);

#define COPY(kind, field, min, max, class, meaning) leaf->field = head.field;
	MSG_leaf_head(COPY, COPY);
#undef COPY
}

static int producers_accepted(struct producer *p, int r, uint64_t last_seq)
{
	if (r)
		return r;
	p->accepted_seq = last_seq;
	p->pending++;
	return 0;
}

/* Accepts [seq, last_seq] of the producer. 0, WRITER_E_FULL or negative. */
static int producers_accept(struct auditd *a, struct producer *p, struct proto_leaf *leaf, bool urgent)
{
	producers_sign(a, p, leaf);
	return producers_accepted(p, writer_add(&a->writer, leaf, urgent), leaf->last_seq);
}

/* Likewise of an event, whose fields the leaf takes as they came. */
static int producers_accept_event(struct auditd *a, struct producer *p, const struct proto_event *m, struct span fields,
				  bool urgent)
{
	const struct proto_leaf_head head = producers_head(a, p, m->seq, m->time_ns);
	return producers_accepted(p, writer_add_event(&a->writer, &head, fields, urgent), m->seq);
}

static int producers_accept_gap(struct auditd *a, struct producer *p, uint64_t last_seq, enum gap_cause cause)
{
	static const char *const causes[N_GAP_CAUSES] = {
#define C(NAME, text) [GAP_##NAME] = (text),
		GAP_CAUSES(C)
#undef C
	};
	struct proto_leaf leaf = {
		.seq = p->accepted_seq + 1,
		.last_seq = last_seq,
		.time_ns = producers_now_ns(),
		.code = EVENT_LOG_GAP,
		.actor = SPAN_LIT("auditd"),
		.reason = span_str(causes[cause]),
	};

	int r = producers_accept(a, p, &leaf, false);
	a->gaps += r == 0;
	return r;
}

/* Too much at once: the peer starts again from what is durable, when it has reconnected. */
static int producers_hold_back(struct auditd *a, struct ipc_conn *conn, int r)
{
	if (r != WRITER_E_FULL)
		return r;
	a->overruns++;
	ipc_drop(conn, "overrun");
	return 0;
}

/* The producer that speaks, NULL when it is one that may not. */
static struct producer *producers_speaker(const struct auditd *a, const struct ipc_conn *conn)
{
	struct producer *p = ipc_conn_ctx(conn);

	return p && p->conn == conn && !a->failed ? p : NULL;
}

static int producers_has_room(const struct producer *p)
{
	return p->pending < PRODUCERS_PENDING_MAX ? 0 : WRITER_E_FULL;
}

static int handle_event(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct auditd *a = ((struct producer_edge *)ctx)->a;
	struct producer *p = producers_speaker(a, conn);
	const struct proto_event *m = msg;
	const struct event_row *row = event_row(m->code);

	(void)id;
	(void)fd;
	if (!p || !row || !event_fits(row, p->role, m))
		return IPC_E_VIOLATION;
	if (m->seq <= p->accepted_seq)
		return 0;
	int r = producers_has_room(p);
	if (!r && m->seq > p->accepted_seq + 1)
		r = producers_accept_gap(a, p, m->seq - 1, GAP_JUMP);
	if (!r)
		r = producers_accept_event(a, p, m, proto_fields(ipc_conn_frame(conn)),
					   row->class == EVENT_CLASS_MUST_ACK);
	return producers_hold_back(a, conn, r);
}

static int handle_gap(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct auditd *a = ((struct producer_edge *)ctx)->a;
	struct producer *p = producers_speaker(a, conn);
	const struct proto_gap *m = msg;

	(void)id;
	(void)fd;
	if (!p || m->first_seq > m->last_seq || m->cause >= N_GAP_CAUSES)
		return IPC_E_VIOLATION;
	if (m->last_seq <= p->accepted_seq)
		return 0;
	int r = producers_has_room(p);
	if (!r)
		r = producers_accept_gap(a, p, m->last_seq, (enum gap_cause)m->cause);
	return producers_hold_back(a, conn, r);
}

static int handle_receipt_find(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	return receipts_handle_owner(((struct producer_edge *)ctx)->a, conn, id, msg, fd);
}

static const struct ipc_row producer_rows[] = {
	{PROTO_EVENT, handle_event},
	{PROTO_GAP, handle_gap},
	{PROTO_RECEIPT_FIND, handle_receipt_find}, /* authd's to say: messages.def */
};

#define PRODUCER_SPEC(ROLE)                                                                \
	{                                                                                  \
		.peer = (ROLE), .rows = producer_rows, .n_rows = ARRAY_LEN(producer_rows), \
		.on_open = on_producer_open, .on_close = on_producer_close,                \
	}

static const struct ipc_edge_spec producer_specs[] = {
	PRODUCER_SPEC(ROLE_ROUTER),
	PRODUCER_SPEC(ROLE_AUTHD),
	PRODUCER_SPEC(ROLE_KEYVAULT),
	PRODUCER_SPEC(ROLE_EGRESS),
};

/* ---- what they are told ---- */

void producers_recorded(struct auditd *a, const struct ledger_batch *batch)
{
	for (size_t i = batch->told; i < batch->durable; i++) {
		const struct source *s = &batch->items[i].source;
		struct producer *p = producers_find(a, s->role, s->worker);
		if (p)
			p->pending--;
		if (!p || memcmp(p->boot, s->boot, sizeof(p->boot)) != 0)
			continue; /* restarted meanwhile: nobody is there to be told */
		p->recorded_seq = s->last_seq;
		p->recorded_index = batch->first_index + i;
		p->touched = true;
	}
	for (size_t i = 0; i < a->n_producers; i++) {
		struct producer *p = &a->producers[i];
		bool tell = p->touched && p->conn;
		p->touched = false;
		if (tell && ipc_send(p->conn, PROTO_RECORDED, 0,
				     &(struct proto_recorded){.last_seq = p->recorded_seq, .index = p->recorded_index}))
			ipc_drop(p->conn, "it does not read what is recorded");
	}
}

void producers_drop_all(struct auditd *a, const char *why)
{
	for (size_t i = 0; i < a->n_producers; i++)
		if (a->producers[i].conn)
			ipc_drop(a->producers[i].conn, why);
}

int producers_record_own(struct auditd *a, const struct proto_leaf *what, uint64_t *ret_seq)
{
	struct producer *p = producers_meet(a, ROLE_AUDITD, 0, a->daemon.boot);
	struct proto_leaf leaf = *what;

	if (!p)
		return err_origin(-ENOSPC);
	*ret_seq = leaf.seq = leaf.last_seq = p->accepted_seq + 1;
	leaf.time_ns = producers_now_ns();
	leaf.actor = SPAN_LIT("auditd");
	return err_fold(producers_accept(a, p, &leaf, true));
}

static int producers_add_own(struct auditd *a, struct ledger_batch *batch, struct proto_leaf leaf)
{
	struct producer self = {.role = ROLE_AUDITD};

	memcpy(self.boot, a->daemon.boot, sizeof(self.boot));
	leaf.seq = leaf.last_seq = batch->n + 1;
	leaf.time_ns = producers_now_ns();
	producers_sign(a, &self, &leaf);
	leaf.actor = SPAN_LIT("auditd");
	return err_fold(ledger_batch_add(batch, &leaf));
}

/* What a start has to say; how many there are of the four. */
static size_t producers_first_words(const struct auditd *a, char rebuilt[48], struct proto_leaf to[4])
{
	const struct ledger *l = a->ledger;
	size_t n = 0;

	if (l->cut_bytes > 0)
		to[n++] = (struct proto_leaf){.code = EVENT_LOG_RECOVER, .bytes = l->cut_bytes};
	if (l->made_again_end > 0) {
		(void)snprintf(rebuilt, 48, "%" PRIu64 "-%" PRIu64, l->made_again, l->made_again_end - 1);
		log_event(&a->daemon.log, LOG_AUDIT_REBUILT, LOG_STR("records", rebuilt));
		to[n++] = (struct proto_leaf){.code = EVENT_LOG_REBUILD, .resource = span_str(rebuilt)};
	}
	to[n++] = (struct proto_leaf){.code = EVENT_LOG_START};
	to[n++] = (struct proto_leaf){
		.code = EVENT_DAEMON_START, .resource = SPAN_LIT("auditd"), .digest = span_of(a->config.digest, 32)};
	return n;
}

int producers_record_start(struct auditd *a)
{
	struct proto_leaf first[4];
	struct ledger_batch batch;
	char rebuilt[48];
	size_t n = producers_first_words(a, rebuilt, first);
	int r = ledger_batch_init(&batch, n, (n + 1) * entry_bytes(LEAF_BYTES_MAX));

	for (size_t i = 0; i < n && !r; i++)
		r = producers_add_own(a, &batch, first[i]);
	if (!r)
		r = ledger_append(a->ledger, &batch);
	ledger_batch_deinit(&batch);
	return r;
}

int producers_serve(struct auditd *a)
{
	int r = 0;

	for (size_t i = 0; i < a->ledger->sources.n; i++) {
		const struct source *s = &a->ledger->sources.all[i];
		struct producer *p = producers_meet(a, s->role, s->worker, s->boot);
		p->accepted_seq = p->recorded_seq = s->last_seq;
	}
	for (size_t i = 0; i < ARRAY_LEN(producer_specs) && !r; i++) {
		a->edges[i] = (struct producer_edge){.a = a, .role = producer_specs[i].peer};
		r = ipc_serve(a->daemon.ipc, &producer_specs[i], &a->edges[i], &a->edges[i].edge);
	}
	return r;
}
