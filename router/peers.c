/* SPDX-License-Identifier: Apache-2.0 */
#include "router/peers.h"

#include <stdlib.h>

#include "common/err.h"
#include "common/ipc.h"
#include "router/clock.h"
#include "router/request.h"

struct peers {
	struct ipc_edge *authd, *classifier;
	struct requests *all;
	void (*changed)(void *ctx);
	void *ctx;
	bool vault_open, inspects; /* as authd said last */
};

static void peers_tell(struct request *r, const struct event *ev)
{
	clock_tell(r->all);
	r->call.conn = NULL;
	request_event(r, ev);
}

/* An answer of authd: `wanted`, which becomes `ev`, or DENY. One of another type makes no sense: as good as none. */
static void peers_authd_reply(struct request *r, enum ipc_outcome outcome, const struct proto_desc *desc,
			      const void *msg, enum proto_type wanted, struct event ev)
{
	if (outcome == IPC_REPLY && desc->type == PROTO_DENY)
		ev = (struct event){.kind = EV_DENY, .deny = msg};
	else if (outcome != IPC_REPLY || desc->type != wanted)
		ev = (struct event){.kind = EV_PEER_LOST};
	if (outcome == IPC_REPLY && ev.kind == EV_PEER_LOST)
		ipc_drop(r->call.conn, "an answer to another question");
	peers_tell(r, &ev);
}

static void on_authorize_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
			       int fd)
{
	(void)fd;
	peers_authd_reply(ctx, outcome, desc, msg, PROTO_PERMIT, (struct event){.kind = EV_PERMIT, .permit = msg});
}

static void on_renew_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	(void)fd;
	peers_authd_reply(ctx, outcome, desc, msg, PROTO_RENEWED, (struct event){.kind = EV_RENEWED, .renewed = msg});
}

static void on_models_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	(void)fd;
	peers_authd_reply(ctx, outcome, desc, msg, PROTO_MODELS_REP, (struct event){.kind = EV_MODELS, .models = msg});
}

static void on_receipt_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
			     int fd)
{
	(void)fd;
	peers_authd_reply(ctx, outcome, desc, msg, PROTO_RECEIPT_REP,
			  (struct event){.kind = EV_RECEIPT, .receipt = msg});
}

static void on_classifier_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
				int fd)
{
	struct request *r = ctx;
	bool verdict = outcome == IPC_REPLY && desc->type == PROTO_VERDICT;

	(void)fd;
	if (outcome == IPC_REPLY && !verdict)
		ipc_drop(r->call.conn, "an answer to another question");
	peers_tell(r, verdict ? &(struct event){.kind = EV_VERDICT, .verdict = msg}
			      : &(struct event){.kind = EV_PEER_LOST});
}

static int on_revoked(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct peers *p = ctx;
	const struct proto_revoked *revoked = msg;

	(void)conn;
	(void)id;
	(void)fd;
	clock_tell(p->all);
	requests_revoke(p->all, revoked->principal);
	return 0;
}

static int on_vault_state(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct peers *p = ctx;
	const struct proto_vault_state *state = msg;

	(void)conn;
	(void)id;
	(void)fd;
	p->vault_open = state->open;
	p->inspects = state->inspects;
	p->changed(p->ctx);
	return 0;
}

/* Either link came up or went down. */
static void on_link(void *ctx, struct ipc_conn *conn)
{
	struct peers *p = ctx;

	(void)conn;
	p->vault_open = p->vault_open && peers_authd_up(p);
	p->changed(p->ctx);
}

static const struct ipc_row authd_rows[] = {
	{PROTO_REVOKED, on_revoked},
	{PROTO_VAULT_STATE, on_vault_state},
};

static const struct ipc_edge_spec authd_spec = {
	.peer = ROLE_AUTHD,
	.rows = authd_rows,
	.n_rows = ARRAY_LEN(authd_rows),
	.on_open = on_link,
	.on_close = on_link,
};

static const struct ipc_edge_spec classifier_spec = {
	.peer = ROLE_CLASSIFIER,
	.on_open = on_link,
	.on_close = on_link,
	.tx_bytes_max = 16U << 20,
};

int peers_new(struct ipc *ipc, struct requests *all, unsigned worker, void (*changed)(void *ctx), void *ctx,
	      struct peers **ret_peers)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (!p)
		return err_origin(-ENOMEM);
	*p = (struct peers){.all = all, .changed = changed, .ctx = ctx};
	int r = ipc_connect(ipc, &authd_spec, 0, p, &p->authd);
	if (!r)
		r = ipc_connect(ipc, &classifier_spec, worker, p, &p->classifier);
	if (r) {
		free(p);
		return r;
	}
	*ret_peers = p;
	return 0;
}

struct peers *peers_free(struct peers *p)
{
	free(p);
	return NULL;
}

bool peers_authd_up(const struct peers *p)
{
	return ipc_edge_conn(p->authd) != NULL;
}

bool peers_vault_open(const struct peers *p)
{
	return p->vault_open;
}

bool peers_can_inspect(const struct peers *p)
{
	return ipc_edge_conn(p->classifier) || !p->inspects;
}

static int peers_ask(struct ipc_edge *edge, struct request *r, enum proto_type type, const void *msg, int fd,
		     uint64_t deadline_ms, ipc_reply *reply)
{
	struct ipc_conn *conn = ipc_edge_conn(edge);

	if (ipc_call(conn, type, msg, fd, deadline_ms, reply, r, &r->call.id))
		return PEERS_E_DOWN;
	r->call.conn = conn;
	return 0;
}

int peers_authorize(struct peers *p, struct request *r, const struct proto_authorize *ask)
{
	return peers_ask(p->authd, r, PROTO_AUTHORIZE, ask, -1, r->all->limits.authorize_ms, on_authorize_reply);
}

int peers_renew(struct peers *p, struct request *r, const struct proto_renew *ask)
{
	return peers_ask(p->authd, r, PROTO_RENEW, ask, -1, r->all->limits.authorize_ms, on_renew_reply);
}

int peers_models(struct peers *p, struct request *r, const struct proto_models *ask)
{
	return peers_ask(p->authd, r, PROTO_MODELS, ask, -1, r->all->limits.authorize_ms, on_models_reply);
}

int peers_receipt(struct peers *p, struct request *r, const struct proto_receipt *ask)
{
	return peers_ask(p->authd, r, PROTO_RECEIPT, ask, -1, r->all->limits.authorize_ms, on_receipt_reply);
}

int peers_scan(struct peers *p, struct request *r, const struct proto_scan *ask, int fd)
{
	return peers_ask(p->classifier, r, PROTO_SCAN, ask, fd, r->all->limits.scan_ms, on_classifier_reply);
}

void peers_distrust_classifier(struct peers *p)
{
	struct ipc_conn *conn = ipc_edge_conn(p->classifier);

	if (conn)
		ipc_drop(conn, "a verdict about another text");
}

void peers_forget(struct call *call)
{
	if (call->conn)
		ipc_forget(call->conn, call->id);
	call->conn = NULL;
}

void peers_settle(struct peers *p, const struct proto_settle *settle)
{
	struct ipc_conn *conn = ipc_edge_conn(p->authd);

	/* lost with the peer, which then takes it that this call and all others have ended */
	if (ipc_send_later(conn, PROTO_SETTLE, 0, settle) && conn)
		ipc_drop(conn, "does not read");
}
