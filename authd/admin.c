/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may ask of authd.
 *
 *      KEY_CREATE      -> KEY_CREATED         KEY_LIST         -> KEY_LIST_REP
 *      KEY_REVOKE      -> DONE                CREDENTIAL_LIST  -> CREDENTIAL_LIST_REP
 *      CREDENTIAL_PUT  -> DONE
 *      CREDENTIAL_RM   -> DONE                AUDIT_REVEAL     -> AUDIT_REVEALED
 *      AUDIT_ERASE     -> DONE                AUDIT_EXPIRE     -> DONE
 *      any of them     -> REFUSED
 *
 * What changes something has three parts that do not mix: check what can be checked at once; record it and wait until
 * the log has it on disk; then the effect. Without the log there is no effect: REFUSED audit_unavailable. Between the
 * parts the request is a struct operation; what was checked may have changed meanwhile, so the store checks again. If
 * the operator hangs up, the effect happens all the same: the log says that it did.
 */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/admin_operation.h"
#include "common/err.h"

#define ADMIN_OPERATIONS_MAX 16
#define ADMIN_AUDIT_MS       5000
#define ADMIN_ACTOR_BYTES    32
#define ADMIN_PAGE           48 /* KEY_LIST_REP */

/* ---- answers ---- */

int admin_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text)
{
	return authd_send(conn, PROTO_REFUSED, id,
			  &(struct proto_refused){.reason = span_str(reason), .text = span_str(text)});
}

int admin_done(struct ipc_conn *conn, uint64_t id, const char *text)
{
	return authd_send(conn, PROTO_DONE, id, &(struct proto_done){.text = span_str(text)});
}

/* The one place where the store's answers become the operator's. `e` > 0, or negative: returned. */
int admin_refuse_store(struct ipc_conn *conn, uint64_t id, int e)
{
	switch (e) {
	case STORE_E_NOT_FOUND:
		return admin_refuse(conn, id, "not_found",
				    "no such id; `bulkhead key list` and `bulkhead vault list` show what there is");
	case STORE_E_EXISTS:
		return admin_refuse(conn, id, "exists", "there is one already; try again");
	case STORE_E_STALE_VERSION:
		return admin_refuse(conn, id, "stale_version", "a newer one was stored meanwhile; try again");
	case STORE_E_FULL:
		return admin_refuse(conn, id, "full", "no more than 4096 credentials can be kept");
	case STORE_E_GONE:
		return admin_refuse(conn, id, "store_unavailable",
				    "the database in the state folder does not answer; see authd's log");
	default:
		return err_fold(e);
	}
}

/* ---- operations ---- */

static struct operation *operation_free(struct operation *op)
{
	list_unlink(&op->in_authd);
	op->authd->n_operations--;
	secret_wipe(op, sizeof(*op));
	free(op);
	return NULL;
}

/* NULL when there are too many, or no memory. */
struct operation *operation_new(struct authd *a, struct ipc_conn *conn, uint64_t id,
				int (*effect)(struct operation *op))
{
	struct operation *op;

	if (a->n_operations == ADMIN_OPERATIONS_MAX)
		return NULL;
	op = calloc(1, sizeof(*op));
	if (!op)
		return NULL;
	op->authd = a;
	op->conn = conn;
	op->id = id;
	op->effect = effect;
	list_push(&a->operations, &op->in_authd);
	a->n_operations++;
	return op;
}

void operation_end(struct operation *op, int r)
{
	struct authd *a = op->authd;

	operation_free(op);
	if (r < 0) {
		log_event(&a->daemon.log, LOG_FATAL, LOG_STR("error", strerrordesc_np(-r)));
		exit(EXIT_FAILURE); /* as a handler's negative answer would */
	}
}

static void on_recorded(void *ctx, bool durable)
{
	struct operation *op = ctx;
	int r = durable ? op->effect(op)
			: admin_refuse(op->conn, op->id, "audit_unavailable",
				       "the log did not confirm in time; nothing was done");

	if (r != OPERATION_LATER)
		operation_end(op, r);
}

/* Records the event; its effect follows. Consumes `op`. */
int operation_start(struct operation *op, const struct proto_event *what)
{
	struct proto_event event = *what;
	char actor[ADMIN_ACTOR_BYTES];

	if (op->conn)
		(void)snprintf(actor, sizeof(actor), "uid:%lld", (long long)ipc_conn_peer_uid(op->conn));
	else
		(void)snprintf(actor, sizeof(actor), "keyvault");
	if (event.actor.len == 0)
		event.actor = span_str(actor);
	int r = audit_record_wait(op->authd->audit, &event, ADMIN_AUDIT_MS, on_recorded, op);
	if (r == 0)
		return 0;
	if (r == AUDIT_E_DOWN)
		r = admin_refuse(op->conn, op->id, "audit_unavailable",
				 "the log is not available; nothing is changed without its record");
	operation_free(op);
	return err_fold(r);
}

int admin_refuse_busy(struct ipc_conn *conn, uint64_t id)
{
	return admin_refuse(conn, id, "busy", "too many changes wait for the log; try again");
}

static void on_admin_close(void *ctx, struct ipc_conn *conn)
{
	struct authd *a = ctx;

	if (a->expiry.conn == conn)
		a->expiry.conn = NULL;
	list_for_each (it, &a->operations) {
		struct operation *op = container_of(it, struct operation, in_authd);

		if (op->conn == conn)
			op->conn = NULL;
	}
}

/* ---- text from the operator ---- */

void admin_copy(char *to, size_t cap, struct span from)
{
	assert(from.len < cap); /* the schema's bound is the store's */
	if (from.len)
		memcpy(to, from.p, from.len);
	to[from.len] = 0;
}

/* [A-Za-z0-9][A-Za-z0-9._-]* : fits into a log line, a file name, a header. */
bool admin_id_valid(struct span id)
{
	for (size_t i = 0; i < id.len; i++) {
		uint8_t c = id.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return id.len > 0;
}

static bool admin_printable(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < 0x20 || text.p[i] == 0x7f)
			return false;
	}
	return true;
}

/* ---- gateway keys ---- */

static int effect_key_create(struct operation *op)
{
	int e = store_key_add(op->authd->store, &op->key);

	if (e)
		return admin_refuse_store(op->conn, op->id, e);
	cache_forget(op->authd->authorize.cache, op->key.hmac);
	return authd_send(op->conn, PROTO_KEY_CREATED, op->id,
			  &(struct proto_key_created){.key = span_of(op->text, sizeof(op->text)),
						      .key_id = span_str(op->key.id),
						      .prefix = span_str(op->key.prefix),
						      .subject = span_str(op->key.subject)});
}

/* What is wrong with the request, NULL when nothing is. */
static const char *admin_key_fault(const struct proto_key_create *m, const char *models, uint64_t now_s)
{
	if (!admin_id_valid(m->tenant))
		return "a tenant is letters, digits, dot, hyphen and underscore, and begins with a letter or digit";
	if (!admin_printable(m->name))
		return "the name must not have control characters";
	if (!models_scope_valid(models))
		return "models is a comma-separated list of names, or beginnings of names followed by *";
	if (m->expires && m->expires <= now_s)
		return "the key would have expired already";
	return NULL;
}

/* A subject belongs to one tenant, and one that was erased stays so. */
static const char *admin_subject_fault(struct authd *a, const struct proto_key_create *m)
{
	struct store_subject subject;

	if (store_subject_find(a->store, m->subject, &subject) || !span_eq_str(m->tenant, subject.tenant))
		return "this tenant has no such subject; `bulkhead key list --json` names those of its keys";
	return subject.erased_s ? "this subject was erased" : NULL;
}

/* The text, and all that is kept of it. */
static void admin_make_key(struct authd *a, struct operation *op)
{
	uint8_t random[TOKEN_RANDOM_BYTES];

	randombytes_buf(random, sizeof(random));
	token_format(random, op->text);
	secret_open(a->arena);
	token_hmac(a->authorize.pepper.p, span_of(op->text, sizeof(op->text)), op->key.hmac);
	secret_close(a->arena);
	memcpy(op->key.prefix, op->text, TOKEN_PREFIX_BYTES);
	randombytes_buf(random, TOKEN_ID_RANDOM_BYTES);
	token_format_id("key_", random, op->key.id, sizeof(op->key.id));
	if (op->key.subject[0] == 0) {
		randombytes_buf(random, TOKEN_ID_RANDOM_BYTES);
		token_format_id("sub_", random, op->key.subject, sizeof(op->key.subject));
	}
	secret_wipe(random, sizeof(random));
}

static int handle_key_create(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_key_create *m = msg;
	struct authd *a = ctx;
	uint64_t now_s = authd_now(a).unix_ms / 1000;
	char models[STORE_MODELS_BYTES];
	const char *fault;

	(void)fd;
	admin_copy(models, sizeof(models), m->models);
	fault = admin_key_fault(m, models, now_s);
	if (!fault && m->subject.len)
		fault = admin_subject_fault(a, m);
	if (fault)
		return admin_refuse(conn, id, "invalid", fault);
	if (!a->authorize.pepper.p)
		return admin_refuse(
			conn, id, "sealed",
			"the vault is not open: run `bulkhead vault unseal`, or `bulkhead vault init` the first time");
	struct operation *op = operation_new(a, conn, id, effect_key_create);
	if (!op)
		return admin_refuse_busy(conn, id);
	admin_copy(op->key.tenant, sizeof(op->key.tenant), m->tenant);
	admin_copy(op->key.name, sizeof(op->key.name), m->name);
	admin_copy(op->key.models, sizeof(op->key.models), m->models);
	admin_copy(op->key.subject, sizeof(op->key.subject), m->subject);
	op->key.rpm = m->rpm;
	op->key.concurrent = m->concurrent;
	op->key.created_s = now_s;
	op->key.expires_s = m->expires;
	admin_make_key(a, op);
	return operation_start(op, &(struct proto_event){.code = EVENT_KEY_CREATE,
							 .tenant = m->tenant,
							 .resource = span_str(op->key.id),
							 .subject = span_str(op->key.subject)});
}

static int effect_key_revoke(struct operation *op)
{
	struct authd *a = op->authd;
	int e = store_key_revoke(a->store, span_str(op->key.id), authd_now(a).unix_ms / 1000);

	if (e)
		return admin_refuse_store(op->conn, op->id, e);
	cache_forget(a->authorize.cache, op->key.hmac);
	int r = authd_tell_revoked(a, op->key.id);
	return r ? r : admin_done(op->conn, op->id, "revoked; what it had in flight is cut");
}

static int handle_key_revoke(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_key_revoke *m = msg;
	struct authd *a = ctx;
	struct store_key key;

	(void)fd;
	int e = store_key_find_id(a->store, m->key_id, &key);
	if (e)
		return admin_refuse_store(conn, id, e);
	if (key.revoked_s)
		return admin_done(conn, id, "it was revoked already");
	struct operation *op = operation_new(a, conn, id, effect_key_revoke);
	if (!op)
		return admin_refuse_busy(conn, id);
	op->key = key;
	return operation_start(op, &(struct proto_event){.code = EVENT_KEY_REVOKE,
							 .tenant = span_str(op->key.tenant),
							 .resource = span_str(op->key.id),
							 .subject = span_str(op->key.subject)});
}

static void admin_key_info(const struct store_key *k, struct proto_key_info *info)
{
	*info = (struct proto_key_info){.key_id = span_str(k->id),
					.prefix = span_str(k->prefix),
					.tenant = span_str(k->tenant),
					.name = span_str(k->name),
					.models = span_str(k->models),
					.rpm = k->rpm,
					.created = k->created_s,
					.expires = k->expires_s,
					.revoked = k->revoked_s,
					.subject = span_str(k->subject),
					.concurrent = k->concurrent};
}

static int handle_key_list(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_key_list *m = msg;
	struct proto_key_info infos[ADMIN_PAGE];
	struct authd *a = ctx;
	size_t n = 0;

	(void)fd;
	/* one more than a page, to see whether there is more */
	struct store_key *keys = calloc(ADMIN_PAGE + 1, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	int r = store_key_page(a->store, m->after, keys, ADMIN_PAGE + 1, &n);
	if (r) {
		r = admin_refuse_store(conn, id, r);
	} else {
		size_t shown = MIN(n, (size_t)ADMIN_PAGE);
		for (size_t i = 0; i < shown; i++)
			admin_key_info(&keys[i], &infos[i]);
		r = authd_send(
			conn, PROTO_KEY_LIST_REP, id,
			&(struct proto_key_list_rep){.more = n > ADMIN_PAGE, .keys = {.items = infos, .count = shown}});
	}
	free(keys);
	return r;
}

static const struct ipc_row admin_rows[] = {
	{PROTO_KEY_CREATE, handle_key_create},      {PROTO_KEY_LIST, handle_key_list},
	{PROTO_KEY_REVOKE, handle_key_revoke},      {PROTO_CREDENTIAL_PUT, admin_credential_put},
	{PROTO_CREDENTIAL_RM, admin_credential_rm}, {PROTO_CREDENTIAL_LIST, admin_credential_list},
	{PROTO_AUDIT_REVEAL, admin_audit_reveal},   {PROTO_AUDIT_ERASE, admin_audit_erase},
	{PROTO_AUDIT_EXPIRE, admin_audit_expire},
};

const struct ipc_edge_spec admin_edge = {
	.peer = ROLE_CLI,
	.rows = admin_rows,
	.n_rows = ARRAY_LEN(admin_rows),
	.on_close = on_admin_close,
};
