/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's reads. A request waits its turn for the ledger, and if it asks for what is not there yet, up to
 * wait_ms for the next commit. One bundle an answer: the reader asks again from where it is.
 */
#include <stdlib.h>

#include "auditd/auditd.h"
#include "common/err.h"

/* So many may wait for what is not there yet; the other places are for who need not wait. */
#define READERS_WAITING_MAX 16
#define READER_BYTES_MAX    (PROTO_FRAME_BYTES_MAX - 4096)

static void reader_refuse(struct reader *reader, const char *reason, const char *text)
{
	if (ipc_send(reader->conn, PROTO_REFUSED, reader->id,
		     &(struct proto_refused){.reason = span_str(reason), .text = span_str(text)}))
		ipc_drop(reader->conn, "it does not read its answers");
}

static void reader_answer(struct auditd *a, struct reader *reader)
{
	struct proto_audit_record records[256];
	struct proto_audit_read_rep rep = {.from = MAX(reader->from, ledger_first(a->ledger)),
					   .size = ledger_size(a->ledger)};
	uint8_t *owned = NULL;
	struct span bundle = SPAN_NULL, leaf;
	size_t bytes = 0, n = 0;

	if (rep.from < rep.size && tree_leaves(&a->ledger->tree, rep.from, &bundle, &owned)) {
		reader_refuse(reader, "damaged",
			      "the entries cannot be read from tile/entries; see `bulkhead audit verify`");
		return;
	}
	while (n < MIN(reader->max, ARRAY_LEN(records)) && tile_bundle_next(&bundle, &leaf)) {
		bytes += leaf.len + 8;
		if (bytes > READER_BYTES_MAX)
			break;
		records[n++].leaf = leaf;
	}
	rep.records = (struct proto_list){.items = records, .count = n};
	if (ipc_send(reader->conn, PROTO_AUDIT_READ_REP, reader->id, &rep))
		ipc_drop(reader->conn, "it does not read its answers");
	free(owned);
}

static void on_reader_timer(uv_timer_t *timer)
{
	writer_poke(&((struct auditd *)timer->data)->writer);
}

void readers_answer(struct auditd *a)
{
	uint64_t now = ipc_now_ms(a->daemon.ipc), next = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_LEN(a->readers); i++) {
		struct reader *reader = &a->readers[i];
		if (!reader->conn)
			continue;
		if (reader->from >= ledger_size(a->ledger) && now < reader->deadline_ms) {
			next = MIN(next, reader->deadline_ms);
			continue;
		}
		struct reader ready = *reader;
		reader->conn = NULL;
		reader_answer(a, &ready);
	}
	(void)uv_timer_stop(&a->reader_timer);
	if (next != UINT64_MAX)
		(void)uv_timer_start(&a->reader_timer, on_reader_timer, next - now, 0);
}

static int handle_audit_read(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct auditd *a = ctx;
	const struct proto_audit_read *m = msg;
	struct reader request = {
		.conn = conn,
		.id = id,
		.from = m->from,
		.max = m->max,
		.deadline_ms = ipc_now_ms(a->daemon.ipc) + m->wait_ms,
	};

	(void)fd;
	if (a->readonly.damaged) {
		reader_refuse(&request, "damaged", "the log is damaged and not read from; see `bulkhead audit verify`");
		return 0;
	}
	for (size_t i = m->wait_ms ? READERS_MAX - READERS_WAITING_MAX : 0; i < READERS_MAX; i++) {
		if (a->readers[i].conn)
			continue;
		a->readers[i] = request;
		writer_poke(&a->writer);
		return 0;
	}
	reader_refuse(&request, "busy", "too many readers wait already; try again");
	return 0;
}

static void on_reader_close(void *ctx, struct ipc_conn *conn)
{
	struct auditd *a = ctx;

	receipts_forget(a, conn);
	pruner_forget(a, conn);
	for (size_t i = 0; i < ARRAY_LEN(a->readers); i++)
		if (a->readers[i].conn == conn)
			a->readers[i].conn = NULL;
}

static const struct ipc_row reader_rows[] = {
	{PROTO_AUDIT_READ, handle_audit_read},
	{PROTO_RECEIPT_FIND, receipts_handle_operator},
	{PROTO_AUDIT_RETENTION, pruner_handle_operator},
};

static const struct ipc_edge_spec reader_spec = {
	.peer = ROLE_CLI,
	.rows = reader_rows,
	.n_rows = ARRAY_LEN(reader_rows),
	.on_close = on_reader_close,
};

int readers_serve(struct auditd *a)
{
	a->reader_timer.data = a;
	int r = uv_timer_init(&a->daemon.loop, &a->reader_timer);
	return r ? err_origin(r) : ipc_serve(a->daemon.ipc, &reader_spec, a, &a->admin);
}

void readers_close(struct auditd *a)
{
	uv_close((uv_handle_t *)&a->reader_timer, NULL);
}
