/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/receipts/{request id}: the key that asks must be the one that was answered. A router has no say in this: it
 * shows a key, as for any call, and auditd hears from us alone whose record may be given. So a captured router gets the
 * receipts of those whose keys pass through it, and of nobody else.
 */
#include <stdio.h>
#include <stdlib.h>

#include "authd/authd.h"

#define RECEIPTS_WAITING_MAX 256
#define RECEIPTS_DEADLINE_MS 1800 /* between auditd's own and a router's */

/* A router that waits. */
struct receipt_ask {
	struct list in_asks;
	struct authd *a;
	struct ipc_conn *router; /* NULL: gone meanwhile */
	uint64_t id;
	char tenant[65], principal[65], subject[STORE_SUBJECT_BYTES];
	uint64_t limit, remaining, reset_ms;
	size_t sealed_len;
	uint8_t sealed[FIELDS_SEALED_BYTES];
};

static void receipt_deny(const struct receipt_ask *ask, enum reason why)
{
	struct proto_deny deny = {.reason = why,
				  .tenant = span_str(ask->tenant),
				  .principal = span_str(ask->principal),
				  .retry_after_ms = reason_row(why)->retry_ms,
				  .limit = ask->limit,
				  .remaining = ask->remaining,
				  .reset_ms = ask->reset_ms,
				  .subject = span_str(ask->subject),
				  .sealed = span_of(ask->sealed, ask->sealed_len)};

	if (authd_send(ask->router, PROTO_DENY, ask->id, &deny))
		ipc_drop(ask->router, "could not be told of a receipt");
}

static void receipt_give(const struct receipt_ask *ask, struct span receipt)
{
	struct proto_receipt_rep rep = {.tenant = span_str(ask->tenant),
					.principal = span_str(ask->principal),
					.limit = ask->limit,
					.remaining = ask->remaining,
					.reset_ms = ask->reset_ms,
					.receipt = receipt,
					.subject = span_str(ask->subject),
					.sealed = span_of(ask->sealed, ask->sealed_len)};

	if (authd_send(ask->router, PROTO_RECEIPT_REP, ask->id, &rep))
		ipc_drop(ask->router, "could not be given a receipt");
}

static void receipt_free(struct receipt_ask *ask)
{
	list_unlink(&ask->in_asks);
	ask->a->n_receipts--;
	free(ask);
}

static enum reason receipt_reason(const struct proto_refused *refused)
{
	return span_eq_str(refused->reason, "not_found") ? REASON_RECEIPT_NOT_FOUND
	       : span_eq_str(refused->reason, "pending") ? REASON_RECEIPT_PENDING
							 : REASON_AUDIT_GONE;
}

static void on_receipt_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
			     int fd)
{
	struct receipt_ask *ask = ctx;

	(void)fd;
	if (ask->router && outcome == IPC_REPLY && desc->type == PROTO_RECEIPT_FOUND)
		receipt_give(ask, ((const struct proto_receipt_found *)msg)->receipt);
	else if (ask->router && outcome == IPC_REPLY && desc->type == PROTO_REFUSED)
		receipt_deny(ask, receipt_reason(msg));
	else if (ask->router)
		receipt_deny(ask, outcome == IPC_TIMEOUT ? REASON_RECEIPT_PENDING : REASON_AUDIT_GONE);
	receipt_free(ask);
}

void receipts_forget(struct authd *a, const struct ipc_conn *router)
{
	list_for_each (at, &a->receipts) {
		struct receipt_ask *ask = container_of(at, struct receipt_ask, in_asks);
		if (ask->router == router)
			ask->router = NULL;
	}
}

/* The answer that is permitted, as a question to auditd. NULL: out of memory. */
static struct receipt_ask *receipt_new(struct authd *a, struct ipc_conn *router, uint64_t id, struct span address,
				       struct authorize_now now)
{
	const struct store_key *key = a->answer.key;
	struct receipt_ask *ask = calloc(1, sizeof(*ask));
	struct span subject, sealed;

	if (!ask)
		return NULL;
	*ask = (struct receipt_ask){.a = a,
				    .router = router,
				    .id = id,
				    .limit = a->answer.permit.limit,
				    .remaining = a->answer.permit.remaining,
				    .reset_ms = a->answer.permit.reset_ms};
	(void)snprintf(ask->tenant, sizeof(ask->tenant), "%s", key->tenant);
	(void)snprintf(ask->principal, sizeof(ask->principal), "%s", key->id);
	authd_about(a, address, now, &subject, &sealed);
	(void)snprintf(ask->subject, sizeof(ask->subject), "%.*s", SPAN_ARG(subject));
	ask->sealed_len = MIN(sealed.len, sizeof(ask->sealed));
	span_copy(ask->sealed, span_of(sealed.p, ask->sealed_len));
	list_push(&a->receipts, &ask->in_asks);
	a->n_receipts++;
	return ask;
}

static void receipt_ask(struct receipt_ask *ask, struct span wanted)
{
	const struct proto_receipt_find find = {
		.request_id = wanted, .tenant = span_str(ask->tenant), .principal = span_str(ask->principal)};
	uint64_t call;

	if (ipc_call(audit_client_conn(ask->a->audit), PROTO_RECEIPT_FIND, &find, -1, RECEIPTS_DEADLINE_MS,
		     on_receipt_reply, ask, &call) == 0)
		return;
	receipt_deny(ask, REASON_AUDIT_GONE);
	receipt_free(ask);
}

int receipts_handle(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_receipt *m = msg;
	struct authd *a = ctx;

	(void)fd;
	if (!authd_request_id_valid(m->request_id) || !authd_request_id_valid(m->wanted))
		return IPC_E_VIOLATION;
	const struct authorize_now now = authd_now(a);
	int r = authorize_receipt(&a->authorize, m->credential, now, &a->answer);
	if (r)
		return r;
	if (a->answer.reason != REASON_NONE)
		return authd_deny(a, conn, id, m->address, now);
	struct receipt_ask *ask =
		a->n_receipts < RECEIPTS_WAITING_MAX ? receipt_new(a, conn, id, m->address, now) : NULL;
	if (!ask) {
		authorize_deny(&a->authorize, REASON_OVERLOADED, &a->answer);
		return authd_deny(a, conn, id, m->address, now);
	}
	receipt_ask(ask, m->wanted);
	return 0;
}
