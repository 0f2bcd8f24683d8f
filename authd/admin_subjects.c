/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Personal fields of records, for an operator: read (AUDIT_REVEAL) and made unreadable (AUDIT_ERASE). Both are recorded
 * before they happen: who looked at whom is in the log, and an erasure is, for ever.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "authd/admin_operation.h"

#define REVEAL_ITEMS_MAX 32 /* AUDIT_REVEAL */

/* ---- reading ---- */

static struct proto_list reveal_items(const struct operation *op)
{
	return (struct proto_list){.count = op->n_items, .raw = op->credential.blob};
}

static int effect_reveal(struct operation *op)
{
	struct proto_revealed_item answers[REVEAL_ITEMS_MAX];
	char addresses[REVEAL_ITEMS_MAX][FIELDS_ADDRESS_BYTES];
	struct proto_list items = reveal_items(op);
	struct proto_reveal_item item;
	size_t n = 0;

	while (n < REVEAL_ITEMS_MAX && proto_reveal_item_next(&items, &item)) {
		addresses[n][0] = 0;
		int e = subjects_reveal(op->authd->subjects, item.subject, item.sealed, addresses[n]);
		answers[n] = (struct proto_revealed_item){.address = span_str(addresses[n]),
							  .why = span_str(subjects_err_text(e))};
		n++;
	}
	int r = authd_send(op->conn, PROTO_AUDIT_REVEALED, op->id,
			   &(struct proto_audit_revealed){.items = {.items = answers, .count = n}});
	secret_wipe(addresses, sizeof(addresses));
	return r;
}

/* Whose fields: the one subject, empty when there are several. *ret_first: the first record. */
static struct span reveal_subject(struct proto_list items, uint64_t *ret_first)
{
	struct proto_reveal_item item;
	struct span subject = SPAN_NULL;
	bool first = true;

	while (proto_reveal_item_next(&items, &item)) {
		if (first)
			*ret_first = item.index;
		if (!first && !span_eq(subject, item.subject))
			return SPAN_NULL;
		subject = item.subject;
		first = false;
	}
	return subject;
}

int admin_audit_reveal(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_audit_reveal *m = msg;
	struct authd *a = ctx;
	uint64_t first = 0;
	char index[24];

	(void)fd;
	if (m->items.count == 0)
		return admin_refuse(conn, id, "invalid", "no record was named");
	struct operation *op = operation_new(a, conn, id, effect_reveal);
	if (!op)
		return admin_refuse_busy(conn, id);
	assert(m->items.raw.len <= sizeof(op->blob));
	memcpy(op->blob, m->items.raw.p, m->items.raw.len);
	op->credential.blob = span_of(op->blob, m->items.raw.len);
	op->n_items = m->items.count;
	struct span subject = reveal_subject(reveal_items(op), &first);
	(void)snprintf(index, sizeof(index), "%" PRIu64, first);
	return operation_start(op, &(struct proto_event){.code = EVENT_AUDIT_REVEAL,
							 .resource = span_str(index),
							 .bytes = op->n_items,
							 .subject = subject});
}

/* ---- erasing ---- */

static int effect_erase(struct operation *op)
{
	struct authd *a = op->authd;
	int e = subjects_erase(a->subjects, span_str(op->key.subject), authd_now(a).unix_ms / 1000);

	cache_clear(a->authorize.cache); /* names of keys */
	if (e)
		return admin_refuse_store(op->conn, op->id, e);
	return admin_done(op->conn, op->id, "the key is destroyed; what was sealed under it can be read no more");
}

int admin_audit_erase(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_audit_erase *m = msg;
	struct authd *a = ctx;
	struct store_subject subject;

	(void)fd;
	if (a->config.auditd.legal_hold)
		return admin_refuse(conn, id, "legal_hold", "auditd.legal_hold is set; nothing is erased");
	if (span_eq_str(m->subject, STORE_SUBJECT_UNKNOWN))
		return admin_refuse(conn, id, "invalid", "that is nobody in particular; its days expire by themselves");
	int e = store_subject_find(a->store, m->subject, &subject);
	if (e)
		return admin_refuse_store(conn, id, e);
	if (subject.erased_s) { /* but perhaps not from the files: then it was said that it must be asked for again */
		e = store_credential_sync(a->store);
		return e ? admin_refuse_store(conn, id, e) : admin_done(conn, id, "it was erased already");
	}
	struct operation *op = operation_new(a, conn, id, effect_erase);
	if (!op)
		return admin_refuse_busy(conn, id);
	memcpy(op->key.subject, subject.id, sizeof(op->key.subject));
	return operation_start(op, &(struct proto_event){.code = EVENT_AUDIT_ERASE,
							 .tenant = span_str(subject.tenant),
							 .resource = span_str(subject.id),
							 .subject = span_str(subject.id)});
}
