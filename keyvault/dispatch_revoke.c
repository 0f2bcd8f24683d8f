/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kill switch: what authd has permitted so far is not to be carried out, all of it or one tenant's, gateway key's
 * or provider key's. Recorded first. Then authd counts in a new series and renews nothing of an older one; then every
 * egress refuses what it was told of, and says so. The operator is answered when all have, or are gone.
 *
 * For everything there are new edge keys besides: whoever has an old one can make no more grants. authd is told before
 * the egresses, but nobody waits for it: what it permits in the moment between is refused too.
 */
#include <stdlib.h>

#include "common/err.h"
#include "keyvault/core.h"

#define REVOKE_AUDIT_MS  5000
#define REVOKE_EGRESS_MS 2000

enum revoke_what { REVOKE_ALL, REVOKE_TENANT, REVOKE_PRINCIPAL, REVOKE_CREDENTIAL };

struct revoke {
	struct ipc_conn *operator; /* NULL: has gone; the first member, see on_admin_close() */
	struct core *core;
	uint64_t id;
	struct proto_grants_void what;
	char name[65];
	size_t waiting;
	struct proto_vault_grants_revoked answer;
	struct revoke_call {
		struct revoke *all;
		struct ipc_conn *egress;
	} calls[LANES_MAX];
};

static void revoke_finish(struct revoke *v)
{
	if (v->operator) {
		ipc_conn_set_ctx(v->operator, NULL);
		if (core_send(v->operator, PROTO_VAULT_GRANTS_REVOKED, v->id, &v->answer))
			ipc_drop(v->operator, "could not be answered");
	}
	free(v);
}

/* An egress that has gone forgot its key when it noticed, and gets another when it comes back. */
static void on_voided(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct revoke_call *call = ctx;
	struct revoke *v = call->all;

	(void)fd;
	if (outcome == IPC_REPLY && desc == &proto_grants_voided_desc) {
		v->answer.lanes++;
		v->answer.ended += ((const struct proto_grants_voided *)msg)->ended;
	} else {
		v->answer.lost++;
		if (outcome != IPC_LOST)
			ipc_drop(call->egress, "did not say that it refuses what was revoked");
	}
	if (--v->waiting == 0)
		revoke_finish(v);
}

static void on_each_egress(void *arg, struct ipc_conn *conn)
{
	struct revoke *v = arg;
	struct revoke_call *call = &v->calls[ipc_conn_worker(conn)];

	if (v->core->vault.lanes.lane[ipc_conn_worker(conn)].peer != conn)
		return;
	*call = (struct revoke_call){v, conn};
	v->waiting++;
	if (ipc_call(conn, PROTO_GRANTS_VOID, &v->what, -1, REVOKE_EGRESS_MS, on_voided, call, NULL) == 0)
		return;
	v->waiting--;
	v->answer.lost++;
	ipc_drop(conn, "does not read");
}

static void revoke_now(struct revoke *v)
{
	struct core *c = v->core;

	v->what.below = core_next_series(c, v->what.what == REVOKE_ALL);
	v->waiting = 1; /* for us */
	ipc_edge_each(c->egress, on_each_egress, v);
	if (--v->waiting == 0)
		revoke_finish(v);
}

static void on_revoke_recorded(void *ctx, bool durable)
{
	struct revoke *v = ctx;

	if (durable) {
		revoke_now(v);
		return;
	}
	if (v->operator) {
		ipc_conn_set_ctx(v->operator, NULL);
		if (core_refuse(v->operator, v->id, "audit_unavailable",
				"the log did not confirm in time; nothing was revoked"))
			ipc_drop(v->operator, "could not be answered");
	}
	free(v);
}

static int revoke_record(struct revoke *v)
{
	static const char *const resources[] = {"all", "tenant", "key", "credential"};
	struct span name = v->what.name;
	char actor[CORE_ACTOR_BYTES];

	core_actor(v->operator, actor);
	struct proto_event event = {.code = EVENT_VAULT_REVOKE_GRANTS,
				    .actor = span_str(actor),
				    .resource = span_str(resources[v->what.what]),
				    .reason = span_str(v->what.cut ? "cut" : "")};
	if (v->what.what == REVOKE_TENANT)
		event.tenant = name;
	else if (v->what.what == REVOKE_PRINCIPAL)
		event.resource = name;
	else if (v->what.what == REVOKE_CREDENTIAL)
		event.credential = name;
	return audit_record_wait(v->core->audit, &event, REVOKE_AUDIT_MS, on_revoke_recorded, v);
}

int core_revoke_grants(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_revoke_grants *m = msg;
	struct core *c = ctx;

	(void)fd;
	if (ipc_conn_ctx(conn) || (m->what == REVOKE_ALL) != (m->name.len == 0))
		return IPC_E_VIOLATION;
	struct revoke *v = calloc(1, sizeof(*v));
	if (!v)
		return err_origin(-ENOMEM);
	v->operator= conn;
	v->core = c;
	v->id = id;
	memcpy(v->name, m->name.p, m->name.len);
	v->what = (struct proto_grants_void){.what = m->what, .name = span_str(v->name), .cut = m->cut};
	ipc_conn_set_ctx(conn, v);
	if (revoke_record(v) == 0)
		return 0;
	ipc_conn_set_ctx(conn, NULL);
	free(v);
	return core_refuse(conn, id, "audit_unavailable",
			   "the log is not available; nothing is revoked without its record");
}
