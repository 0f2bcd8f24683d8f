/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kill switch, and what an operator may ask an egress. A grant that was withdrawn is refused from the moment that
 * GRANTS_VOID is handled; the answer says so to the core. What has been permitted before and of which nothing was sent
 * yet is refused as well; the rest is cut if so wished.
 */
#include "keyvault/egress/egress.h"

static bool revoke_means(const struct proto_grants_void *what, const struct exchange *x)
{
	return x->authentic && voids_mean((enum voids_what)what->what, what->name, span_str(x->tenant),
					  span_str(x->principal), span_str(x->credential_id));
}

static void revoke_end(struct exchange *x)
{
	if (x->state < EXCHANGE_SEND) {
		x->why = REASON_GRANT_REVOKED;
		egress_record_refusal(x->eg, x);
	}
	exchange_break(x, REASON_GRANT_REVOKED);
}

/* Into *to; in order of states, so that none which waits for a connection can inherit one of those that are cut. */
static void revoke_collect(struct egress *eg, const struct proto_grants_void *what, struct list *to)
{
	for (size_t i = 0; i < (what->cut ? N_EXCHANGE_STATES : EXCHANGE_SEND); i++)
		list_for_each_safe (it, &eg->states[i]) {
			struct exchange *x = container_of(it, struct exchange, in_state);
			if (!revoke_means(what, x))
				continue;
			list_unlink(it);
			list_push(to, it);
		}
}

static uint64_t revoke_exchanges(struct egress *eg, const struct proto_grants_void *what)
{
	struct list ending = LIST_INIT(ending);
	uint64_t n = 0;

	revoke_collect(eg, what, &ending);
	for (; !list_empty(&ending); n++)
		revoke_end(container_of(ending.next, struct exchange, in_state));
	return n;
}

int egress_handle_void(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_grants_void *what = msg;
	struct egress *eg = ctx;

	(void)fd;
	voids_add(&eg->voids, what, ipc_now_ms(eg->daemon.ipc));
	uint64_t n = revoke_exchanges(eg, what);
	int r = ipc_send(conn, PROTO_GRANTS_VOIDED, id, &(struct proto_grants_voided){.ended = n});
	if (r > 0)
		ipc_drop(conn, "the core does not read");
	return r < 0 ? r : 0;
}

static int handle_grants(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct refusals_view view;
	struct egress *eg = ctx;
	struct proto_grants_rep rep = {.permitted = eg->permitted};

	(void)msg;
	(void)fd;
	refusals_report(&eg->refusals, &view, &rep);
	int r = ipc_send(conn, PROTO_GRANTS_REP, id, &rep);
	if (r > 0)
		ipc_drop(conn, "does not read");
	return r < 0 ? r : 0;
}

static const struct ipc_row revoke_admin_rows[] = {{PROTO_GRANTS, handle_grants}};

const struct ipc_edge_spec egress_admin_spec = {
	.peer = ROLE_CLI, .rows = revoke_admin_rows, .n_rows = ARRAY_LEN(revoke_admin_rows)};
