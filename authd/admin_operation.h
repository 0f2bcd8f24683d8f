/* SPDX-License-Identifier: Apache-2.0 */
/* A change that waits for the log, and what its handlers share. For authd/admin*.c and resealed.c only. */
#pragma once

#include "authd/authd.h"

#define OPERATION_LATER 1 /* the effect is under way and calls operation_end() */

struct operation {
	struct list in_authd;
	struct authd *authd;
	struct ipc_conn *conn; /* NULL: the operator has gone, or it was the core */
	uint64_t id;
	int (*effect)(struct operation *op); /* answers the operator; 0, OPERATION_LATER or negative */
	struct store_key key;
	char text[TOKEN_BYTES]; /* of a new key */
	struct store_credential credential;
	size_t n_items; /* of a list, packed in `blob` */
	uint8_t blob[STORE_BLOB_BYTES_MAX];
};

/* 0 or negative, all of them; to nobody when `conn` is NULL. */
MUST_USE int admin_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text);
MUST_USE int admin_refuse_busy(struct ipc_conn *conn, uint64_t id);
/* The one place where the store's answers become the operator's. */
MUST_USE int admin_refuse_store(struct ipc_conn *conn, uint64_t id, int e);
MUST_USE int admin_done(struct ipc_conn *conn, uint64_t id, const char *text);

/* NULL when there are too many, or no memory. */
struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op));
/* Records the event; its effect follows. Consumes `op`. 0 or negative. */
MUST_USE int operation_start(struct operation *op, const struct proto_event *what);

/* What operation_start() began is over; `r` as of `effect`. */
void operation_end(struct operation *op, int r);

/* The schema's bound is the store's: it fits. */
void admin_copy(char *to, size_t cap, struct span from);
/* [A-Za-z0-9][A-Za-z0-9._-]* : fits into a log line, a file name, a header. */
bool admin_id_valid(struct span id);

/* ---- admin_subjects.c ---- */
ipc_handler admin_audit_reveal, admin_audit_erase;
/* ---- expiry.c ---- */
ipc_handler admin_audit_expire;
/* ---- admin_credentials.c ---- */
ipc_handler admin_credential_put, admin_credential_rm, admin_credential_list;
