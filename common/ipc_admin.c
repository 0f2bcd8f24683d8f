/* SPDX-License-Identifier: Apache-2.0 */
/* What every daemon answers at its admin socket: STATUS and METRICS. The rest of an admin socket is the daemon's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_internal.h"

#define ADMIN_PEERS_MAX 160 /* auditd has 131, with 64 workers */

struct peer_names {
	struct proto_peer_status rows[ADMIN_PEERS_MAX];
	char names[ADMIN_PEERS_MAX][EDGE_NAME_BYTES];
	size_t n;
};

static void admin_add_peer(struct peer_names *p, const char *name, const char *state)
{
	if (p->n == ADMIN_PEERS_MAX)
		return;
	(void)snprintf(p->names[p->n], EDGE_NAME_BYTES, "%s", name);
	p->rows[p->n] = (struct proto_peer_status){.name = span_str(p->names[p->n]), .state = span_str(state)};
	p->n++;
}

static void admin_add_edge(struct peer_names *p, const struct ipc_edge *e)
{
	char name[EDGE_NAME_BYTES];

	if (!e->serves) {
		bool open = e->link && e->link->state == IPC_CONN_OPEN;
		admin_add_peer(p, e->name, open ? "up" : e->link ? "waiting" : "down");
		return;
	}
	for (size_t i = 0; i < e->n_listeners && e->spec->peer != ROLE_CLI; i++) {
		const char *state = "down";
		list_for_each (it, &e->conns) {
			struct ipc_conn *c = container_of(it, struct ipc_conn, in_edge);
			if (c->worker == e->listeners[i].client_worker)
				state = c->state == IPC_CONN_OPEN ? "up" : "waiting";
		}
		edge_name(e->ipc->d->role, e->ipc->d->worker, e->spec->peer, e->listeners[i].client_worker, name);
		admin_add_peer(p, name, state);
	}
}

static int admin_status(struct ipc_conn *c, uint64_t id)
{
	struct daemon *d = c->ipc->d;
	struct peer_names *peers = calloc(1, sizeof *peers);

	if (!peers)
		return err_origin(-ENOMEM);
	list_for_each (it, &c->ipc->edges)
		admin_add_edge(peers, container_of(it, struct ipc_edge, in_ipc));
	struct proto_status_rep rep = {.role = (uint64_t)d->role,
				       .worker = d->worker,
				       .pid = (uint64_t)getpid(),
				       .uptime_ms = ipc_now_ms(c->ipc) - d->started_ms,
				       .ready = d->ready,
				       .detail = span_str(d->detail),
				       .confinement = span_str(d->confinement),
				       .peers = {.items = peers->rows, .count = peers->n}};
	int r = ipc_send(c, PROTO_STATUS_REP, id, &rep);
	free(peers);
	return r < 0 ? r : 0;
}

static int admin_metrics(struct ipc_conn *c, uint64_t id)
{
	struct daemon *d = c->ipc->d;
	enum { TEXT_BYTES = 65536 };
	char *text = calloc(1, TEXT_BYTES);

	if (!text)
		return err_origin(-ENOMEM);
	int n = snprintf(text, TEXT_BYTES,
			 "# TYPE bulkhead_ready gauge\nbulkhead_ready %d\n# TYPE bulkhead_uptime_seconds gauge\n"
			 "bulkhead_uptime_seconds %llu\n",
			 d->ready, (unsigned long long)((ipc_now_ms(c->ipc) - d->started_ms) / 1000));
	if (d->metrics)
		d->metrics(d->ctx, text + n, TEXT_BYTES - (size_t)n);
	int r = ipc_send(c, PROTO_METRICS_REP, id, &(struct proto_metrics_rep){.text = span_str(text)});
	free(text);
	return r < 0 ? r : 0;
}

int ipc_admin_message(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, bool *ret_mine)
{
	*ret_mine = desc->type == PROTO_STATUS || desc->type == PROTO_METRICS;
	if (desc->type == PROTO_STATUS)
		return admin_status(c, id);
	return desc->type == PROTO_METRICS ? admin_metrics(c, id) : 0;
}
