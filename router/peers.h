/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two daemons that a request asks a question each: authd (may this be done, and how) and the classifier (what is in
 * it). Answers arrive as events; at most one question of a request is open.
 */
#pragma once

#include "common/base.h"

struct call;
struct ipc;
struct peers;
struct proto_authorize;
struct proto_models;
struct proto_receipt;
struct proto_renew;
struct proto_scan;
struct proto_settle;
struct request;
struct requests;

enum peers_err {
	PEERS_E_DOWN = 1, /* not connected, or too slow to take more */
};

/* `changed` is called when a link comes up or goes down, or authd's word about the vault changes. 0 or negative. */
MUST_USE int peers_new(struct ipc *ipc, struct requests *all, unsigned worker, void (*changed)(void *ctx), void *ctx,
		       struct peers **ret_peers);
struct peers *peers_free(struct peers *p);
bool peers_authd_up(const struct peers *p);
/* As authd said last; false until it has, and while it is away. */
bool peers_vault_open(const struct peers *p);
/* The classifier is there, or authd has no use for it. */
bool peers_can_inspect(const struct peers *p);

/* 0: the answer will come as EV_PERMIT, EV_DENY or EV_PEER_LOST. PEERS_E_DOWN: it will not. */
MUST_USE int peers_authorize(struct peers *p, struct request *r, const struct proto_authorize *ask);
/* EV_RENEWED, EV_DENY, EV_PEER_LOST. */
MUST_USE int peers_renew(struct peers *p, struct request *r, const struct proto_renew *ask);
/* EV_MODELS, EV_DENY, EV_PEER_LOST. */
MUST_USE int peers_models(struct peers *p, struct request *r, const struct proto_models *ask);
/* EV_RECEIPT, EV_DENY, EV_PEER_LOST. */
MUST_USE int peers_receipt(struct peers *p, struct request *r, const struct proto_receipt *ask);
/* EV_VERDICT, EV_PEER_LOST. `fd`: the body's, consumed in every case, or -1. */
MUST_USE int peers_scan(struct peers *p, struct request *r, const struct proto_scan *ask, int fd);
/* The classifier's answer made no sense: it is dropped. */
void peers_distrust_classifier(struct peers *p);
/* The open question of a request, if any, is not waited for any more. */
void peers_forget(struct call *call);
/* Told, not asked; lost when authd is away: its limits do not depend on it. */
void peers_settle(struct peers *p, const struct proto_settle *settle);
