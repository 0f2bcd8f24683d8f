/* SPDX-License-Identifier: Apache-2.0 */
/* authd as a process: what it decides with, its edges, its line to the log. One instance, on main's stack. */
#pragma once

#include "authd/authorize.h"
#include "authd/subjects.h"
#include "common/audit_client.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/ipc.h"

/* What time it was when the steady clock was 0. */
struct expiry_clock {
	uint64_t began_ms; /* as it is believed */
	uint64_t leapt_ms; /* by a clock that was set ahead: the least that it said since then; 0: it was not */
	uint64_t since_ms; /* with leapt_ms: when that was seen, by the steady clock */
};

/* expiry.c: the days that are being forgotten. */
struct expiry {
	uv_timer_t timer;
	struct expiry_clock clock;
	bool running;
	uint32_t day;
	char cursor[STORE_SUBJECT_BYTES];
	size_t n;
	struct ipc_conn *conn; /* who asked for it; NULL: nobody, or has gone */
	uint64_t id;
};

struct authd {
	struct daemon daemon;
	struct config config;
	struct secret_arena *arena;
	struct store *store;
	struct models *models;
	struct credentials credentials;
	struct authorize authorize;
	struct authorize_answer answer; /* of the question at hand: too large to be made anew for each */
	struct subjects *subjects;
	struct expiry expiry;
	struct audit_client *audit;
	struct ipc_edge *routers, *admin, *keyvault;
	struct list operations; /* of operators, waiting for the log; admin.c */
	size_t n_operations;
	struct list receipts; /* of routers, waiting for auditd; receipts.c */
	size_t n_receipts;
	uint64_t settled, tokens_in, tokens_out; /* counters, since start */
};

/* ---- dispatch.c ---- */

/* Serves routers and operators, connects to the core. 0 or negative. */
MUST_USE int authd_serve(struct authd *a);
/* As ipc_send, but a peer that does not read is dropped: it learns what it missed when it connects again. 0 or
 * negative; a peer that is away is told nothing. */
MUST_USE int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg);
/* To every router: cut what this key has in flight. */
MUST_USE int authd_tell_revoked(struct authd *a, const char *key_id);
/* Readiness follows from what the vault has given; routers are told. */
void authd_update_ready(struct authd *a);
struct authorize_now authd_now(const struct authd *a);
/* For the record that the router will write of a->answer: whom it is about, and the client's address, sealed for him. A
 * view, valid until the next call. */
void authd_about(struct authd *a, struct span address, struct authorize_now now, struct span *ret_subject,
		 struct span *ret_sealed);
/* Answers a->answer.deny. 0 or negative. */
MUST_USE int authd_deny(struct authd *a, struct ipc_conn *conn, uint64_t id, struct span address,
			struct authorize_now now);
bool authd_request_id_valid(struct span id);
/* A daemon.metrics function. */
void authd_metrics(void *ctx, char *to, size_t cap);

/* ---- resealed.c: what the core may do with the store ---- */

ipc_handler resealed_put, resealed_swap, resealed_replay, resealed_retire;
enum authd_err {
	AUTHD_E_GONE = 1, /* the store does not answer */
};
/* Every sealed credential that is live, and which were removed, to the core. 0, AUTHD_E_GONE or negative. *ret_rows: of
 * the live ones. */
MUST_USE int authd_send_credentials(struct authd *a, struct ipc_conn *conn, size_t *ret_rows);

/* ---- receipts.c: what was answered to whom ---- */

ipc_handler receipts_handle;
void receipts_forget(struct authd *a, const struct ipc_conn *router);

/* ---- expiry.c: from time to time ---- */

/* The time by which something is over: never later than the wall clock. */
uint64_t expiry_believed_ms(struct expiry_clock *c, uint64_t wall_ms, uint64_t steady_ms);
void expiry_start(struct authd *a);
void expiry_stop(struct authd *a);

/* ---- admin.c: the operator's requests ---- */

extern const struct ipc_edge_spec admin_edge;
