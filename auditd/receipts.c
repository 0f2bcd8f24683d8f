/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/receipts.h"

#include <stdlib.h>

#include "auditd/auditd.h"
#include "auditd/proof.h"
#include "common/err.h"

#define RECEIPTS_BYTES_MAX   16384 /* RECEIPT_FOUND */
#define RECEIPTS_SETTLE_MS   200  /* until the egress's record of an answer that the client has is here at the latest */
#define RECEIPTS_DEADLINE_MS 1500 /* less than authd and a router wait */

/* ---- answers ---- */

static void receipts_refuse(struct receipts_ask *ask, const char *reason, const char *text)
{
	struct ipc_conn *conn = TAKE(ask->conn);

	if (ipc_send(conn, PROTO_REFUSED, ask->id,
		     &(struct proto_refused){.reason = span_str(reason), .text = span_str(text)}))
		ipc_drop(conn, "it does not read its answers");
}

static void receipts_give(struct receipts_ask *ask, struct span receipt)
{
	struct ipc_conn *conn = TAKE(ask->conn);

	if (ipc_send(conn, PROTO_RECEIPT_FOUND, ask->id, &(struct proto_receipt_found){.receipt = receipt}))
		ipc_drop(conn, "it does not read its answers");
}

/* ---- the job ---- */

static void on_receipt_work(uv_work_t *work)
{
	struct auditd *a = work->data;
	struct receipts *all = &a->receipts;
	const struct receipts_ask *ask = &all->job.ask;
	const struct finder_wanted wanted = {span_str(ask->request_id), span_str(ask->tenant), span_str(ask->actor)};
	uint64_t index;

	all->job.size = 0;
	buf_reset(&all->job.text);
	int r = proof_signed_size(all->finder.dir, &all->job.size);
	if (!r)
		r = finder_find(&all->finder, all->job.size, &wanted, &index);
	else if (r == PROOF_E_MISSING)
		r = FINDER_E_NONE;
	if (!r) {
		r = proof_make_in(all->finder.dir, index, &all->job.text);
		if (r > 0) /* pruned since, or damaged: `audit verify` tells */
			r = FINDER_E_NONE;
	}
	all->job.result = r;
}

static void receipts_conclude(struct auditd *a, struct receipts_ask *ask)
{
	struct receipts *all = &a->receipts;
	struct span text = buf_span(&all->job.text);

	if (all->job.result == 0 && text.len <= RECEIPTS_BYTES_MAX) {
		all->found++;
		receipts_give(ask, text);
	} else if (all->job.result == FINDER_E_NONE) {
		ask->looked = true;
		ask->looked_size = all->job.size;
	} else if (all->job.result != FINDER_E_LATER) { /* that one is asked again at once */
		receipts_refuse(ask, "unavailable", "the log's index cannot be read or written");
	}
}

static void on_receipt_done(uv_work_t *work, int status)
{
	struct auditd *a = work->data;
	struct receipts *all = &a->receipts;

	(void)status;
	all->job.running = false;
	if (all->closed)
		return;
	for (size_t i = 0; i < ARRAY_LEN(all->asks); i++)
		if (all->asks[i].conn && all->asks[i].serial == all->job.ask.serial)
			receipts_conclude(a, &all->asks[i]);
	writer_poke(&a->writer);
}

static void receipts_look(struct auditd *a, const struct receipts_ask *ask)
{
	struct receipts *all = &a->receipts;

	all->job.ask = *ask;
	all->job.work.data = a;
	all->job.running = uv_queue_work(&a->daemon.loop, &all->job.work, on_receipt_work, on_receipt_done) == 0;
}

/* ---- waiting ---- */

static void on_receipts_timer(uv_timer_t *timer)
{
	writer_poke(&((struct auditd *)timer->data)->writer);
}

/* When this question has to be thought of again; UINT64_MAX: it is answered, or something else will say. */
static uint64_t receipts_consider(struct auditd *a, struct receipts_ask *ask, uint64_t now)
{
	struct receipts *all = &a->receipts;
	uint64_t signed_size = a->ledger->has_checkpoint ? a->ledger->published.size : 0;

	if (all->job.running && all->job.ask.serial == ask->serial)
		return UINT64_MAX;
	if (ask->until_size == UINT64_MAX && now >= ask->settled_ms)
		ask->until_size = ledger_size(a->ledger);
	if (ask->looked && ask->looked_size >= ask->until_size) {
		all->missed++;
		receipts_refuse(ask, "not_found",
				ledger_first(a->ledger) == 0 ? "no answer to a request of that id is on record"
							     : "no answer to a request of that id is on record, or "
							       "retention removed it");
		return UINT64_MAX;
	}
	if (now >= ask->deadline_ms) {
		receipts_refuse(ask, "pending", "not there yet: what was recorded last is not signed; ask again");
		return UINT64_MAX;
	}
	if (!ask->looked || ask->looked_size < signed_size) {
		if (!all->job.running)
			receipts_look(a, ask);
		return ask->deadline_ms;
	}
	return ask->until_size == UINT64_MAX ? ask->settled_ms : ask->deadline_ms;
}

void receipts_answer(struct auditd *a)
{
	struct receipts *all = &a->receipts;
	uint64_t now, next = UINT64_MAX;

	if (all->n == 0)
		return;
	now = ipc_now_ms(a->daemon.ipc);
	all->n = 0;
	for (size_t i = 0; i < ARRAY_LEN(all->asks); i++) {
		if (!all->asks[i].conn)
			continue;
		uint64_t again = receipts_consider(a, &all->asks[i], now);
		next = MIN(next, again);
		all->n += all->asks[i].conn != NULL;
	}
	(void)uv_timer_stop(&all->timer);
	if (next != UINT64_MAX)
		(void)uv_timer_start(&all->timer, on_receipts_timer, next > now ? next - now : 0, 0);
}

void receipts_forget(struct auditd *a, const struct ipc_conn *conn)
{
	for (size_t i = 0; i < ARRAY_LEN(a->receipts.asks); i++)
		if (a->receipts.asks[i].conn == conn)
			a->receipts.asks[i].conn = NULL;
}

/* ---- questions ---- */

static void receipts_copy(char to[65], struct span s)
{
	if (s.len > 0)
		memcpy(to, s.p, s.len);
	to[s.len] = '\0';
}

static void receipts_take(struct auditd *a, struct ipc_conn *conn, uint64_t id, const struct proto_receipt_find *m)
{
	struct receipts *all = &a->receipts;
	uint64_t now = ipc_now_ms(a->daemon.ipc);
	struct receipts_ask ask = {.conn = conn,
				   .id = id,
				   .serial = ++all->serial,
				   .until_size = UINT64_MAX,
				   .settled_ms = now + RECEIPTS_SETTLE_MS,
				   .deadline_ms = now + RECEIPTS_DEADLINE_MS};

	receipts_copy(ask.request_id, m->request_id);
	receipts_copy(ask.tenant, m->tenant);
	receipts_copy(ask.actor, m->principal);
	if (a->readonly.damaged) {
		receipts_refuse(&ask, "unavailable", "the log is damaged; see `bulkhead audit verify`");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(all->asks); i++) {
		if (all->asks[i].conn)
			continue;
		all->asks[i] = ask;
		all->n++;
		writer_poke(&a->writer);
		return;
	}
	receipts_refuse(&ask, "unavailable", "too many wait already");
}

int receipts_handle_owner(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_receipt_find *m = msg;

	(void)fd;
	if (m->tenant.len == 0 || m->principal.len == 0)
		return IPC_E_VIOLATION;
	receipts_take(ctx, conn, id, m);
	return 0;
}

int receipts_handle_operator(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	(void)fd;
	receipts_take(ctx, conn, id, msg);
	return 0;
}

/* ---- the module ---- */

int receipts_init(struct auditd *a)
{
	struct receipts *all = &a->receipts;

	all->timer.data = a;
	buf_init(&all->job.text, PROOF_BYTES_MAX);
	int r = finder_init(&all->finder, a->ledger->dir);
	if (r)
		return r;
	r = uv_timer_init(&a->daemon.loop, &all->timer);
	return r ? err_origin(r) : 0;
}

void receipts_close(struct auditd *a)
{
	a->receipts.closed = true;
	uv_close((uv_handle_t *)&a->receipts.timer, NULL);
}

void receipts_deinit(struct auditd *a)
{
	finder_deinit(&a->receipts.finder);
	buf_deinit(&a->receipts.job.text);
}
