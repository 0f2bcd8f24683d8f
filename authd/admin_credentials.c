/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed provider keys: what an operator may do with them. */
#include <assert.h>
#include <unistd.h>

#include "authd/admin_operation.h"

#define CREDENTIAL_PAGE         256  /* CREDENTIAL_LIST_REP */
#define CREDENTIAL_CHECK_MS     3000 /* with the record's, less than an operator's command waits */
#define CREDENTIAL_REASON_BYTES 65   /* REFUSED */
#define CREDENTIAL_TEXT_BYTES   513

/* What is stored is so for the core too, and here, when other rows cannot be read. */
static int credential_add(struct authd *a, const struct store_credential *c)
{
	struct credentials_row row = {.version = c->version, .created_s = c->created_s, .live = true};

	memcpy(row.id, c->id, sizeof(row.id));
	memcpy(row.provider, c->provider, sizeof(row.provider));
	memcpy(row.tenant, c->tenant, sizeof(row.tenant));
	credentials_void(&a->credentials, span_str(c->id), c->since);
	return credentials_add(&a->credentials, &row);
}

static int credential_put(struct operation *op)
{
	struct authd *a = op->authd;
	int e = store_credential_put(a->store, &op->credential);

	if (e)
		return admin_refuse_store(op->conn, op->id, e);
	int r = credentials_load(&a->credentials, a->store) ? credential_add(a, &op->credential) : 0;
	if (r)
		return r;
	r = authd_send(ipc_edge_conn(a->keyvault), PROTO_CREDENTIAL_LOAD, 0,
		       &(struct proto_credential_load){.credential = span_str(op->credential.id),
						       .blob = op->credential.blob});
	return r ? r : admin_done(op->conn, op->id, "stored");
}

/* The core's word, as it is. */
static int credential_put_refused(struct operation *op, const struct proto_refused *why)
{
	char reason[CREDENTIAL_REASON_BYTES] = "", text[CREDENTIAL_TEXT_BYTES] = "";

	admin_copy(reason, sizeof(reason), why->reason);
	admin_copy(text, sizeof(text), why->text);
	return admin_refuse(op->conn, op->id, reason, text);
}

static void on_put_checked(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct operation *op = ctx;
	int r;

	if (fd >= 0)
		(void)close(fd);
	if (outcome == IPC_REPLY && desc->type == PROTO_CREDENTIAL_GOOD)
		r = credential_put(op);
	else if (outcome == IPC_REPLY && desc->type == PROTO_REFUSED)
		r = credential_put_refused(op, msg);
	else
		r = admin_refuse(op->conn, op->id, "vault_unavailable", "the vault did not answer; nothing was stored");
	operation_end(op, r);
}

/* What it replaces is gone then, so the core is asked first. Its answer and what it loads next come in one order with
 * the steps of a rotation. */
static int effect_credential_put(struct operation *op)
{
	const struct proto_credential_check m = {.credential = span_str(op->credential.id),
						 .blob = op->credential.blob};

	if (ipc_call(ipc_edge_conn(op->authd->keyvault), PROTO_CREDENTIAL_CHECK, &m, -1, CREDENTIAL_CHECK_MS,
		     on_put_checked, op, NULL) == 0)
		return OPERATION_LATER;
	return admin_refuse(op->conn, op->id, "vault_unavailable", "the vault is away; nothing was stored");
}

static bool credential_names_valid(const struct proto_credential_put *m)
{
	return admin_id_valid(m->provider) && (span_eq_str(m->tenant, "*") || admin_id_valid(m->tenant)) &&
	       credentials_id_valid(m->credential, m->provider, m->tenant);
}

int admin_credential_put(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_put *m = msg;
	struct authd *a = ctx;
	uint64_t version = 0;

	(void)fd;
	if (!credential_names_valid(m) || m->since > m->version)
		return admin_refuse(conn, id, "invalid",
				    "names are letters, digits, dot, hyphen and underscore; an id is provider or "
				    "provider@tenant");
	int e = store_credential_version(a->store, m->credential, &version);
	if (!e && version >= m->version)
		e = STORE_E_STALE_VERSION;
	if (e && e != STORE_E_NOT_FOUND)
		return admin_refuse_store(conn, id, e);
	struct operation *op = operation_new(a, conn, id, effect_credential_put);
	if (!op)
		return admin_refuse_busy(conn, id);
	admin_copy(op->credential.id, sizeof(op->credential.id), m->credential);
	admin_copy(op->credential.provider, sizeof(op->credential.provider), m->provider);
	admin_copy(op->credential.tenant, sizeof(op->credential.tenant), m->tenant);
	op->credential.version = m->version;
	op->credential.since = m->since;
	op->credential.created_s = authd_now(a).unix_ms / 1000;
	assert(m->blob.len <= sizeof(op->blob));
	memcpy(op->blob, m->blob.p, m->blob.len);
	op->credential.blob = span_of(op->blob, m->blob.len);
	return operation_start(op, &(struct proto_event){.code = EVENT_CREDENTIAL_PUT,
							 .tenant = m->tenant,
							 .resource = m->credential,
							 .provider = m->provider,
							 .credential = m->credential});
}

static int effect_credential_rm(struct operation *op)
{
	struct authd *a = op->authd;
	int e = store_credential_remove(a->store, span_str(op->credential.id));

	if (e)
		return admin_refuse_store(op->conn, op->id, e);
	if (credentials_load(&a->credentials, a->store)) /* other rows: this one is gone all the same */
		credentials_void(&a->credentials, span_str(op->credential.id), UINT64_MAX);
	/* the last version, which is kept: the core may have replaced the one that was there while the log was asked */
	const struct credentials_row *row = credentials_row(&a->credentials, span_str(op->credential.id));
	uint64_t version;
	assert(row);
	if (store_credential_version(a->store, span_str(row->id), &version))
		version = row->version;
	struct ipc_conn *core = ipc_edge_conn(a->keyvault);
	int r = authd_send(core, PROTO_CREDENTIAL_DROP, 0,
			   &(struct proto_credential_drop){.credential = span_str(row->id), .version = version});
	return r ? r
		 : admin_done(op->conn, op->id,
			      core ? "removed, and forgotten by the vault"
				   : "removed; the vault is away, and told when it is back");
}

int admin_credential_rm(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_rm *m = msg;
	struct authd *a = ctx;
	const struct credentials_row *row = credentials_row(&a->credentials, m->credential);

	(void)fd;
	if (!row || !row->live)
		return admin_refuse_store(conn, id, STORE_E_NOT_FOUND);
	struct operation *op = operation_new(a, conn, id, effect_credential_rm);
	if (!op)
		return admin_refuse_busy(conn, id);
	admin_copy(op->credential.id, sizeof(op->credential.id), m->credential);
	return operation_start(op, &(struct proto_event){.code = EVENT_CREDENTIAL_REMOVE,
							 .tenant = span_str(row->tenant),
							 .resource = m->credential,
							 .provider = span_str(row->provider),
							 .credential = m->credential});
}

/* Where the page begins: behind the last version of the id that was seen. */
static size_t credential_page_begin(const struct credentials *c, struct span after)
{
	size_t at = 0;

	for (size_t i = 0; after.len && i < c->n; i++)
		if (span_eq_str(after, c->rows[i].id))
			at = i + 1;
	return at;
}

/* A page does not end between two versions of one credential. */
static size_t credential_page_end(const struct credentials *c, size_t begin)
{
	size_t end = MIN(c->n, begin + CREDENTIAL_PAGE);

	while (end < c->n && end > begin + 1 && strcmp(c->rows[end].id, c->rows[end - 1].id) == 0)
		end--;
	return end;
}

int admin_credential_list(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_list *m = msg;
	struct proto_credential_info infos[CREDENTIAL_PAGE];
	const struct authd *a = ctx;
	size_t begin = credential_page_begin(&a->credentials, m->after);
	size_t end = credential_page_end(&a->credentials, begin);

	(void)fd;
	for (size_t i = begin; i < end; i++) {
		const struct credentials_row *row = &a->credentials.rows[i];

		infos[i - begin] = (struct proto_credential_info){.credential = span_str(row->id),
								  .provider = span_str(row->provider),
								  .tenant = span_str(row->tenant),
								  .version = row->version,
								  .created = row->live ? row->created_s : 0};
	}
	return authd_send(conn, PROTO_CREDENTIAL_LIST_REP, id,
			  &(struct proto_credential_list_rep){.more = end < a->credentials.n,
							      .credentials = {.items = infos, .count = end - begin}});
}
