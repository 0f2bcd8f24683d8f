/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: prepare (worker: partial tiles, root, proof) -> SIGN_CHECKPOINT -> verify -> publish (worker: one
 * durable file, beside the commits). One at a time, at most every checkpoint_ms; sooner when an entry was urgent, but
 * not twice in a row.
 *
 * The signer remembers what it signed last, and so is the judge: if that is more than we have, or if it says that our
 * tree is not a continuation, this log was rolled back or forked, and recording stops. Its key is remembered in
 * <dir>/vkey at the first meeting; another key later is another vault, and not believed. While the vault is sealed the
 * log grows unsigned.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/auditd.h"
#include "common/err.h"

#define CHECKPOINT_SIGN_MS 5000

/* ---- the three steps ---- */

static int run_publish(void *ctx)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	return ledger_publish(a->ledger, span_of(c->note, c->note_len), &c->key, c->size, &c->root);
}

static void on_published(void *ctx, int r)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	c->working = false;
	if (r) /* what came is not what was asked for: the signer or its key is not what it was */
		auditd_fail(a, "the signer's checkpoint does not verify");
	else
		ledger_published(a->ledger, c->size, &c->root);
	c->signed_size = MAX(c->signed_size, c->size);
}

static void checkpoint_refused(struct auditd *a, const struct proto_refused *m)
{
	struct ipc_conn *conn = ipc_edge_conn(a->checkpointer.edge);

	if (span_eq_str(m->reason, "fork") || span_eq_str(m->reason, "origin")) {
		auditd_fail(a, "the signer says that this log is not a continuation of what it signed");
	} else if (span_eq_str(m->reason, "size")) {
		if (conn) /* an answer was lost: it will say anew what it signed last */
			ipc_drop(conn, "out of step with the signer");
	} else if (span_eq_str(m->reason, "sealed")) {
		a->checkpointer.open = false;
	}
}

static void checkpoint_answered(struct auditd *a, const struct proto_desc *desc, const void *msg)
{
	struct checkpointer *c = &a->checkpointer;
	struct ipc_conn *conn = ipc_edge_conn(c->edge);
	const struct proto_checkpoint_signed *m = msg;

	if (desc->type == PROTO_REFUSED) {
		checkpoint_refused(a, msg);
		return;
	}
	if (desc->type != PROTO_CHECKPOINT_SIGNED || m->note.len > sizeof(c->note)) {
		if (conn)
			ipc_drop(conn, "not an answer to SIGN_CHECKPOINT");
		return;
	}
	memcpy(c->note, m->note.p, m->note.len);
	c->note_len = m->note.len;
	c->working = true;
	writer_run_beside(&a->writer, &c->publish);
}

static void on_signed(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;
	struct ipc_conn *conn = ipc_edge_conn(c->edge);

	(void)fd;
	c->working = false;
	if (outcome == IPC_REPLY) {
		checkpoint_answered(a, desc, msg);
	} else {
		c->open = false;
		if (conn)
			ipc_drop(conn, "no answer to SIGN_CHECKPOINT");
	}
	if (c->working)
		return;
	c->open = c->open && !a->daemon.draining; /* the last one is asked for once */
	writer_poke(&a->writer);                  /* for this, too, waits who waits for quiet */
}

static int run_prepare(void *ctx)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	c->size = ledger_size(a->ledger);
	return ledger_prepare(a->ledger, c->signed_size, &c->root, &c->proof);
}

static void on_prepared(void *ctx, int r)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;
	struct proto_sign_checkpoint ask = {
		.origin = span_str(c->key.name),
		.old_size = c->signed_size,
		.size = c->size,
		.root = span_of(c->root.b, sizeof(c->root.b)),
		.proof = span_of(c->proof.hashes, c->proof.n * sizeof(c->proof.hashes[0])),
	};
	uint64_t call;

	if (r)
		auditd_fail(a, a->ledger->why);
	c->working = !r && c->open &&
		     ipc_call(ipc_edge_conn(c->edge), PROTO_SIGN_CHECKPOINT, &ask, -1, CHECKPOINT_SIGN_MS, on_signed, a,
			      &call) == 0;
}

/* ---- whose signature ---- */

static int run_adopt(void *ctx)
{
	struct auditd *a = ctx;
	struct note_key known;

	int r = ledger_read_key(a->ledger, &known);
	if (r == LEDGER_E_INVALID && !a->ledger->has_checkpoint)
		return ledger_write_key(a->ledger, &a->checkpointer.key);
	if (r)
		return r;
	return strcmp(known.name, a->checkpointer.key.name) == 0 &&
			       memcmp(known.public, a->checkpointer.key.public, sizeof(known.public)) == 0
		       ? 0
		       : LEDGER_E_INVALID;
}

static void on_adopted(void *ctx, int r)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	c->working = false;
	if (r) {
		auditd_fail(a, "the vault has another key than the one that signed this log (vkey); move the log away "
			       "if it is "
			       "a new vault");
		return;
	}
	c->open = c->adopting;
	c->adopting = false;
	if (c->open)
		daemon_set_ready(&a->daemon, true, "recording, checkpoints are signed");
}

/* Not as soon as it is heard: what the signer of the connection before this one signed may just be verified. */
static void checkpoint_adopt(struct auditd *a)
{
	struct checkpointer *c = &a->checkpointer;

	c->told = false;
	c->adopting = true;
	c->key = c->told_key;
	c->signed_size = c->told_size;
	c->working = true;
	writer_run(&a->writer, &c->adopt);
}

/* ---- when ---- */

static void on_checkpoint_timer(uv_timer_t *timer)
{
	writer_poke(&((struct auditd *)timer->data)->writer);
}

void checkpoint_consider(struct auditd *a)
{
	struct checkpointer *c = &a->checkpointer;
	uint64_t now = ipc_now_ms(a->daemon.ipc), size = ledger_size(a->ledger);

	if (c->working || a->failed || a->writer.task)
		return;
	if (c->told) {
		checkpoint_adopt(a);
		return;
	}
	if (!c->open)
		return;
	if (c->signed_size > size) {
		char why[128];
		(void)snprintf(why, sizeof(why), "%" PRIu64 " entries were signed, but there are only %" PRIu64,
			       c->signed_size, size);
		auditd_fail(a, why);
		return;
	}
	if (a->ledger->has_checkpoint && a->ledger->published.size == size)
		return;
	/* Files and fsyncs: were each urgent entry to bring its own, urgent entries would wait for the disk. */
	if (now < c->next_ms && (!c->urgent || c->hurried) && !a->daemon.draining) {
		if (!uv_is_active((uv_handle_t *)&c->timer))
			(void)uv_timer_start(&c->timer, on_checkpoint_timer, c->next_ms - now, 0);
		return;
	}
	(void)uv_timer_stop(&c->timer);
	c->hurried = now < c->next_ms;
	c->next_ms = now + a->config.auditd.checkpoint_ms;
	c->urgent = false;
	c->working = true;
	writer_run(&a->writer, &c->prepare);
}

/* ---- the signer ---- */

static int handle_signed_size(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_signed_size *m = msg;
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	(void)conn;
	(void)id;
	(void)fd;
	if (a->failed)
		return 0;
	if (m->vkey.len == 0) {
		c->open = c->told = c->adopting = false;
		daemon_set_ready(&a->daemon, true, "recording; checkpoints wait for the vault");
		return 0;
	}
	if (c->open) /* it told us already; what it signed since, it signed for us */
		return 0;
	if (note_key_parse(&c->told_key, m->vkey))
		return IPC_E_VIOLATION;
	c->told_size = m->size;
	c->told = true;
	writer_poke(&a->writer);
	return 0;
}

static void on_signer_close(void *ctx, struct ipc_conn *conn)
{
	struct auditd *a = ctx;
	struct checkpointer *c = &a->checkpointer;

	(void)conn;
	c->open = c->told = c->adopting = false;
	if (!a->failed)
		daemon_set_ready(&a->daemon, true, "recording; checkpoints wait for the vault");
}

static const struct ipc_row signer_rows[] = {
	{PROTO_SIGNED_SIZE, handle_signed_size},
};

static const struct ipc_edge_spec signer_spec = {
	.peer = ROLE_KEYVAULT,
	.rows = signer_rows,
	.n_rows = ARRAY_LEN(signer_rows),
	.on_close = on_signer_close,
};

int checkpoint_connect(struct auditd *a)
{
	struct checkpointer *c = &a->checkpointer;

	c->prepare = (struct writer_task){run_prepare, on_prepared, a};
	c->publish = (struct writer_task){run_publish, on_published, a};
	c->adopt = (struct writer_task){run_adopt, on_adopted, a};
	c->timer.data = a;
	int r = uv_timer_init(&a->daemon.loop, &c->timer);
	return r ? err_origin(r) : ipc_connect(a->daemon.ipc, &signer_spec, 0, a, &c->edge);
}

void checkpoint_close(struct auditd *a)
{
	uv_close((uv_handle_t *)&a->checkpointer.timer, NULL);
}
