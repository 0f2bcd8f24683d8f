/* SPDX-License-Identifier: Apache-2.0 */
/* What retention tells an operator, and is asked by one. */
#include <stdlib.h>

#include "auditd/auditd.h"

static const char *pruner_words(const struct auditd *a)
{
	static const char *const words[] = {
		[PRUNER_IDLE] = "nothing",
		[PRUNER_LOOKING] = "looking",
		[PRUNER_TURNING] = "beginning another segment",
		[PRUNER_RECORDING] = "recording log.prune",
		[PRUNER_SIGNING] = "log.prune waits to be signed: is the vault open?",
		[PRUNER_BEGINNING] = "removing",
		[PRUNER_BEGUN] = "removing",
		[PRUNER_REMOVING] = "removing",
		[PRUNER_YIELDING] = "making room to record what is removed",
	};
	const struct pruner *p = &a->pruner;

	if (pruner_is_full(a) && p->doing == PRUNER_IDLE)
		return p->full;
	if (a->failed && !pruner_is_full(a))
		return "the log cannot be written; nothing is removed";
	if (p->hold)
		return p->retained.done ? "held" : "a removal was stopped by legal_hold";
	return words[p->doing];
}

/* Which records go next, and when; *ret_end 0: those of the segment that is being written. What the last look found to
 * be over may be gone since. */
static void pruner_next(const struct pruner *p, uint64_t first, uint64_t *ret_end, uint64_t *ret_ns)
{
	const struct prune_look *l = &p->look;
	uint64_t newest_ns = l->newest_before_ns;
	size_t i = 0;

	*ret_end = *ret_ns = 0;
	if (p->keep_ns == 0 || p->hold)
		return;
	for (; i < l->n_known && i + 1 < p->n_firsts && p->firsts[i] < first; i++)
		newest_ns = retention_newest(&l->known[i].times, 1, newest_ns);
	if (i < l->n_known && i + 1 < p->n_firsts && l->known[i].first == p->firsts[i]) {
		*ret_end = p->firsts[i + 1];
		*ret_ns = retention_newest(&l->known[i].times, 1, newest_ns) + p->keep_ns;
	} else if (l->active_ns > 0) {
		*ret_ns = l->active_ns + pruner_slice_ns(p) + p->keep_ns;
	}
}

static void pruner_tell(struct auditd *a, struct pruner_ask *ask)
{
	const struct pruner *p = &a->pruner;
	const struct retained *last = &p->retained;
	struct ipc_conn *conn = TAKE(ask->conn);
	struct proto_audit_retention_rep rep = {
		.keep = span_str(p->keep),
		.hold = p->hold,
		.doing = span_str(pruner_words(a)),
		.first = ledger_first(a->ledger),
		.size = ledger_size(a->ledger),
		.clock_ns = p->clock.believed_ns,
		.behind_ns = p->behind_ns,
	};

	if (last->end > 0) {
		rep.pruned_first = last->first;
		rep.pruned_end = last->end;
		rep.pruned_index = last->index;
		rep.pruned_ns = last->time_ns;
		rep.pruned_keep = span_str(last->keep);
	}
	pruner_next(p, rep.first, &rep.next_end, &rep.next_ns);
	if (ipc_send(conn, PROTO_AUDIT_RETENTION_REP, ask->id, &rep))
		ipc_drop(conn, "it does not read its answers");
}

void pruner_answer(struct auditd *a)
{
	struct pruner *p = &a->pruner;

	p->answer = false;
	for (size_t i = 0; i < ARRAY_LEN(p->asks); i++)
		if (p->asks[i].conn)
			pruner_tell(a, &p->asks[i]);
}

/* Removing, which may be tried again in a minute; or the vault is closed, and whoever asked first has been told. */
static bool pruner_takes_long(const struct pruner *p)
{
	return p->doing == PRUNER_REMOVING ||
	       (p->doing == PRUNER_SIGNING && !uv_is_active((const uv_handle_t *)&p->timer));
}

int pruner_handle_operator(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_audit_retention *m = msg;
	struct auditd *a = ctx;
	struct pruner *p = &a->pruner;
	struct proto_refused no = {.reason = SPAN_LIT("busy"), .text = SPAN_LIT("too many ask already; try again")};

	(void)fd;
	if (a->readonly.damaged || (m->now && p->hold)) {
		no.reason = a->readonly.damaged ? SPAN_LIT("damaged") : SPAN_LIT("legal_hold");
		no.text = a->readonly.damaged ? SPAN_LIT("the log is damaged; see `bulkhead audit verify`")
					      : SPAN_LIT("auditd.legal_hold is set; nothing is removed");
		return ipc_send(conn, PROTO_REFUSED, id, &no);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->asks); i++) {
		if (p->asks[i].conn)
			continue;
		p->asks[i] = (struct pruner_ask){.conn = conn, .id = id, .now = m->now};
		p->wanted = true;
		p->act |= m->now != 0;
		p->answer |= pruner_takes_long(p);
		writer_poke(&a->writer);
		return 0;
	}
	return ipc_send(conn, PROTO_REFUSED, id, &no);
}

void pruner_forget(struct auditd *a, const struct ipc_conn *conn)
{
	for (size_t i = 0; i < ARRAY_LEN(a->pruner.asks); i++)
		if (a->pruner.asks[i].conn == conn)
			a->pruner.asks[i].conn = NULL;
}
