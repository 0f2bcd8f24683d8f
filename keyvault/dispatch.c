/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each peer may ask of the core, row by row, and what the core tells of its own accord.
 *
 *      authd     CREDENTIAL_LOAD, CREDENTIALS_SENT, CREDENTIAL_DROP    <- PEPPER, EDGE_KEY, SEALED, CREDENTIAL_RETIRE
 *                EDGE_KEY_KNOWN, CREDENTIAL_CHECK       -> CREDENTIAL_GOOD | REFUSED
 *                CREDENTIAL_SWAPPED, CREDENTIAL_REPLAYED               <- CREDENTIAL_SWAP, CREDENTIAL_REPLAY
 *      egress    UNSEAL                          -> UNSEALED | REFUSED <- EDGE_KEY, SEALED, CREDENTIAL_DROP
 *                TOKEN_*: dispatch_tokens.c
 *                CREDENTIAL_REJECTED
 *      auditd    SIGN_CHECKPOINT       -> CHECKPOINT_SIGNED | REFUSED  <- SIGNED_SIZE
 *      operator  VAULT_*                    -> DONE | its answer | REFUSED
 *
 * What stands behind "<-" is told unasked: by tell.c, by rotation.c, by retire.c.
 *
 * A handler's own buffers hold no key: secrets go from message buffers in the arena to the arena and back. The arena is
 * open during a handler of an edge whose buffers lie in it, and within the vault's functions; nowhere else.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/binding_auth.h"
#include "common/err.h"
#include "keyvault/core.h"

#define CORE_AUDIT_DEADLINE_MS 5000
#define CORE_ADMIN_CONNS_MAX   4 /* each takes 16 KiB of the arena */
#define CORE_EGRESS_CONNS_MAX  2 /* each takes 32 KiB: one that has not been heard of yet, and its predecessor */

/* ---- authd ---- */

static void on_authd_open(void *ctx, struct ipc_conn *conn)
{
	core_meet_authd(ctx, conn);
}

static int handle_edge_key_known(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_edge_key_known *m = msg;

	(void)conn;
	(void)id;
	(void)fd;
	core_edge_key_known(ctx, (unsigned)m->lane, m->epoch);
	return 0;
}

static int handle_credential_load(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_load *m = msg;
	struct core *c = ctx;
	bool changed = false, ours = core_is_pending(c, m);

	(void)conn;
	(void)id;
	(void)fd;
	int r = vault_load(&c->vault, m->credential, m->blob, &changed);
	if (r < 0)
		return r;
	if (r)
		core_reject(c, "authd", m->credential, r);
	c->rotation.missed |= r == VAULT_E_FULL || r == VAULT_E_PLACES || r == VAULT_E_STORAGE;
	if (!r && ours)
		core_note_stored(c, m->credential);
	if (r || ours || !changed)
		return 0;
	tokens_drop(&c->tokens, m->credential);
	return core_drop_credential(c, m->credential, 1, NULL);
}

static int handle_credential_check(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_check *m = msg;
	struct core *c = ctx;

	(void)fd;
	int r = vault_check_new(&c->vault, m->credential, m->blob);
	return r ? core_refuse_vault(conn, id, r)
		 : core_send(conn, PROTO_CREDENTIAL_GOOD, id, &(struct proto_credential_good){});
}

static int handle_credentials_sent(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	(void)conn;
	(void)id;
	(void)msg;
	(void)fd;
	core_note_complete(ctx);
	return 0;
}

static int handle_credential_drop(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_drop *m = msg;
	struct core *c = ctx;

	bool changed = false;

	(void)conn;
	(void)id;
	(void)fd;
	int r = vault_drop(&c->vault, m->credential, (uint32_t)m->version, &changed);
	if (r)
		core_reject(c, "authd", m->credential, r);
	tokens_drop(&c->tokens, m->credential);
	return changed ? core_drop_credential(c, m->credential, (uint32_t)m->version, NULL) : 0;
}

/* ---- egress ---- */

static void on_egress_open(void *ctx, struct ipc_conn *conn)
{
	core_meet_egress(ctx, conn);
}

static void on_egress_close(void *ctx, struct ipc_conn *conn)
{
	struct core *c = ctx;

	lanes_detach(&c->vault.lanes, ipc_conn_worker(conn), conn);
	tokens_peer_gone(&c->tokens, conn, ipc_now_ms(c->daemon.ipc));
}

/* Such a secret leaves with a lease only (dispatch_tokens.c). */
static bool core_makes_tokens(struct span binding)
{
	struct proto_binding b;

	return proto_unpack_record(&proto_binding_desc, binding, &b) == 0 && binding_takes_token(&b);
}

static int handle_unseal(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_unseal *m = msg;
	struct core *c = ctx;
	struct secret secret = SECRET_NULL;
	struct span binding;

	(void)fd;
	int r = vault_fetch(&c->vault, m->credential, core_unix_ms() / 1000, &binding, &secret);
	if (r == VAULT_E_FORGED)
		core_reject(c, "egress", m->credential, r);
	if (r == VAULT_E_UNKNOWN && !c->complete)
		return core_refuse(conn, id, "loading", "authd has not said yet what there is");
	if (r)
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	struct proto_unsealed unsealed = {.binding = binding, .secret = span_of(secret.p, secret.len)};
	if (core_makes_tokens(binding))
		unsealed.secret = SPAN_NULL;
	secret_open(c->arena);
	r = core_send(conn, PROTO_UNSEALED, id, &unsealed);
	secret_close(c->arena);
	secret_free(c->arena, &secret);
	c->unseals++;
	return r;
}

static int handle_credential_rejected(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credential_rejected *m = msg;

	(void)id;
	(void)fd;
	return core_rejected(ctx, conn, m->credential, (uint32_t)m->version);
}

/* ---- auditd ---- */

static void on_auditd_open(void *ctx, struct ipc_conn *conn)
{
	core_meet_auditd(ctx, conn);
}

static int handle_sign_checkpoint(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	static const char *const reasons[] = {
		[SIGNER_E_CLOSED] = "sealed", [SIGNER_E_ORIGIN] = "origin",   [SIGNER_E_SIZE] = "size",
		[SIGNER_E_FORK] = "fork",     [SIGNER_E_STORAGE] = "storage", [SIGNER_E_FULL] = "arena_full",
	};
	const struct proto_sign_checkpoint *m = msg;
	struct core *c = ctx;
	char note[SIGNER_NOTE_BYTES_MAX];
	size_t len;

	(void)fd;
	int e = signer_sign(&c->vault.signer, m, (uint64_t)time(NULL), note, &len);
	if (e < 0)
		return e;
	if (e) {
		if (e != SIGNER_E_CLOSED) {
			log_event(&c->daemon.log, LOG_VAULT_REFUSED, LOG_SPAN("origin", m->origin),
				  LOG_U64("size", m->size), LOG_STR("why", signer_err_text(e)));
			core_record(c, EVENT_VAULT_REJECT, "auditd", SPAN_NULL, reasons[e]);
		}
		return core_refuse(conn, id, reasons[e], signer_err_text(e));
	}
	c->signatures++;
	return core_send(conn, PROTO_CHECKPOINT_SIGNED, id,
			 &(struct proto_checkpoint_signed){.note = span_of(note, len)});
}

/* ---- operator ---- */

static int handle_vault_init(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_init *m = msg;
	struct core *c = ctx;
	char actor[CORE_ACTOR_BYTES];

	(void)fd;
	core_actor(conn, actor);
	int r = vault_init(&c->vault, m->passphrase);
	if (r)
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	core_record(c, EVENT_VAULT_INIT, actor, SPAN_NULL, "");
	r = core_opened(c, actor);
	return r ? r : core_done(conn, id, "a root key was made; the vault is open");
}

static int handle_vault_unseal(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_unseal *m = msg;
	struct core *c = ctx;
	char actor[CORE_ACTOR_BYTES];

	core_actor(conn, actor);
	int r = vault_unseal(&c->vault, m->passphrase, fd, ipc_now_ms(c->daemon.ipc));
	if (r == VAULT_E_OPEN)
		return core_done(conn, id, "the vault was open already");
	if (r)
		return r < 0 ? r : core_refuse_proof(c, conn, id, r);
	core_record(c, EVENT_VAULT_UNSEAL, actor, SPAN_NULL, "");
	r = core_opened(c, actor);
	return r ? r : core_done(conn, id, "the vault is open");
}

static int handle_vault_seal(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct core *c = ctx;
	char actor[CORE_ACTOR_BYTES];

	(void)msg;
	(void)fd;
	core_actor(conn, actor);
	if (!vault_is_open(&c->vault))
		return core_done(conn, id, "the vault was sealed already");
	vault_seal(&c->vault);
	core_record(c, EVENT_VAULT_SEAL, actor, SPAN_NULL, "");
	int r = core_closed(c, actor);
	return r ? r : core_done(conn, id, "every key is wiped; the vault is sealed");
}

int core_answer_new(struct ipc_conn *conn, uint64_t id, enum proto_type type, struct core_answer **ret_answer)
{
	if (ipc_conn_ctx(conn))
		return IPC_E_VIOLATION;
	struct core_answer *a = calloc(1, sizeof(*a));
	if (!a)
		return err_origin(-ENOMEM);
	*a = (struct core_answer){.conn = conn, .id = id, .type = type};
	*ret_answer = a;
	return 0;
}

struct core_answer *core_answer_free(struct core_answer *a)
{
	if (a) {
		secret_free(a->arena, &a->shares);
		secret_wipe(a, sizeof(*a));
	}
	free(a);
	return NULL;
}

static int core_answer_send(struct core_answer *a)
{
	struct span bytes = span_of(a->bytes, a->len);

	if (a->type == PROTO_VAULT_BACKED_UP)
		return core_backup_send(a);
	if (a->type == PROTO_VAULT_SOURCED)
		return core_send(a->conn, a->type, a->id, &(struct proto_vault_sourced){.blob = bytes});
	if (a->type == PROTO_VAULT_FERNET)
		return core_send(a->conn, a->type, a->id, &(struct proto_vault_fernet){.token = bytes});
	return core_send(a->conn, a->type, a->id, &(struct proto_vault_added){.blob = bytes});
}

static void on_answer_recorded(void *ctx, bool durable)
{
	struct core_answer *a = ctx;

	if (a->conn) {
		ipc_conn_set_ctx(a->conn, NULL);
		int r = durable ? core_answer_send(a)
				: core_refuse(a->conn, a->id, "audit_unavailable", "the log did not confirm in time");
		if (r)
			ipc_drop(a->conn, "could not be answered");
	}
	(void)core_answer_free(a);
}

static void on_admin_close(void *ctx, struct ipc_conn *conn)
{
	struct ipc_conn **waits = ipc_conn_ctx(conn); /* the first member of whatever waits for the log */

	(void)ctx;
	if (waits)
		*waits = NULL;
}

int core_answer_when_recorded(struct core *c, struct core_answer *a, enum event_code code, struct proto_binding *about)
{
	char actor[CORE_ACTOR_BYTES];

	core_actor(a->conn, actor);
	return core_answer_when(c, a,
				&(struct proto_event){.code = code,
						      .actor = span_str(actor),
						      .tenant = about->tenant,
						      .resource = about->host,
						      .provider = about->provider,
						      .credential = about->credential});
}

int core_answer_when(struct core *c, struct core_answer *a, const struct proto_event *event)
{
	struct ipc_conn *conn = a->conn;
	uint64_t id = a->id;

	ipc_conn_set_ctx(conn, a);
	if (audit_record_wait(c->audit, event, CORE_AUDIT_DEADLINE_MS, on_answer_recorded, a) == 0)
		return 0;
	ipc_conn_set_ctx(conn, NULL);
	(void)core_answer_free(a);
	return core_refuse(conn, id, "audit_unavailable",
			   "the log is not available; no key is sealed, copied or released without its record");
}

int core_answer_sealed(struct core *c, struct core_answer *a, int r)
{
	struct ipc_conn *conn = a->conn;
	uint64_t id = a->id;
	struct seal_view view;

	if (r) {
		(void)core_answer_free(a);
		return r < 0 ? r : core_refuse_vault(conn, id, r);
	}
	r = seal_parse(span_of(a->bytes, a->len), &view);
	assert(r == 0);
	return core_answer_when_recorded(c, a, EVENT_VAULT_SEAL_CREDENTIAL, &view.binding);
}

static int handle_vault_add(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_vault_add *m = msg;
	struct core *c = ctx;
	struct core_answer *a;

	(void)fd;
	int r = core_answer_new(conn, id, PROTO_VAULT_ADDED, &a);
	return r ? r : core_answer_sealed(c, a, vault_add(&c->vault, m->binding, m->secret, a->bytes, &a->len));
}

static int handle_vault_status(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct core *c = ctx;
	static const char *const unseal[] = {[CONFIG_UNSEAL_PASSPHRASE] = "passphrase",
					     [CONFIG_UNSEAL_KEY_FILE] = "key_file",
					     [CONFIG_UNSEAL_CREDENTIAL] = "credential"};
	char vkey[NOTE_VKEY_MAX], cosigner[NOTE_VKEY_MAX];

	(void)msg;
	(void)fd;
	signer_vkey(&c->vault.signer, vkey);
	signer_cosigner_vkey(&c->vault.signer, cosigner);
	struct proto_vault_status_rep rep = {.state = span_str(vault_state(&c->vault)),
					     .unseal = span_str(unseal[c->config.keyvault.unseal]),
					     .credentials = store_count(&c->vault.store),
					     .arena_bytes =
						     secret_arena_used(c->arena) + secret_arena_used(c->token_arena),
					     .arena = span_str(secret_arena_protection(c->arena)),
					     .vkey = span_str(vkey),
					     .witness_vkey = span_str(cosigner)};
	return core_send(conn, PROTO_VAULT_STATUS_REP, id, &rep);
}

/* ---- the tables ---- */

static int core_start_timers(struct core *c)
{
	int r = core_tokens_start(c);

	if (!r)
		r = core_rotation_init(c);
	return r ? r : core_retire_init(c);
}

static const struct ipc_row core_authd_rows[] = {
	{PROTO_CREDENTIAL_LOAD, handle_credential_load},   {PROTO_CREDENTIALS_SENT, handle_credentials_sent},
	{PROTO_CREDENTIAL_CHECK, handle_credential_check}, {PROTO_CREDENTIAL_DROP, handle_credential_drop},
	{PROTO_EDGE_KEY_KNOWN, handle_edge_key_known},
};
static const struct ipc_row core_egress_rows[] = {
	{PROTO_UNSEAL, handle_unseal},
	{PROTO_TOKEN_TAKE, core_handle_token_take},
	{PROTO_TOKEN_PUT, core_handle_token_put},
	{PROTO_TOKEN_FAIL, core_handle_token_fail},
	{PROTO_TOKEN_HOLD, core_handle_token_hold},
	{PROTO_CREDENTIAL_REJECTED, handle_credential_rejected},
};
static const struct ipc_row core_auditd_rows[] = {{PROTO_SIGN_CHECKPOINT, handle_sign_checkpoint}};
static const struct ipc_row core_admin_rows[] = {
	{PROTO_VAULT_INIT, handle_vault_init},
	{PROTO_VAULT_UNSEAL, handle_vault_unseal},
	{PROTO_VAULT_SEAL, handle_vault_seal},
	{PROTO_VAULT_ADD, handle_vault_add},
	{PROTO_VAULT_STATUS, handle_vault_status},
	{PROTO_VAULT_IMPORT_FERNET, core_import_fernet},
	{PROTO_VAULT_EXPORT_FERNET, core_export_fernet},
	{PROTO_VAULT_ROTATE_FERNET, core_rotate_fernet},
	{PROTO_VAULT_BACKUP, core_backup},
	{PROTO_VAULT_RESTORE, core_restore},
	{PROTO_VAULT_SOURCE, core_source},
	{PROTO_VAULT_REVOKE_GRANTS, core_revoke_grants},
	{PROTO_VAULT_ROTATE, core_handle_rotate},
	{PROTO_VAULT_ROTATION, core_handle_rotation},
};
static const struct ipc_edge_spec core_authd_spec = {.peer = ROLE_AUTHD,
						     .rows = core_authd_rows,
						     .n_rows = ARRAY_LEN(core_authd_rows),
						     .on_open = on_authd_open,
						     .conns_max = 2};
static const struct ipc_edge_spec core_egress_spec = {.peer = ROLE_EGRESS,
						      .rows = core_egress_rows,
						      .n_rows = ARRAY_LEN(core_egress_rows),
						      .on_open = on_egress_open,
						      .on_close = on_egress_close,
						      .conns_max = CORE_EGRESS_CONNS_MAX};
static const struct ipc_edge_spec core_auditd_spec = {.peer = ROLE_AUDITD,
						      .rows = core_auditd_rows,
						      .n_rows = ARRAY_LEN(core_auditd_rows),
						      .on_open = on_auditd_open,
						      .conns_max = 2};
static const struct ipc_edge_spec core_admin_spec = {.peer = ROLE_CLI,
						     .rows = core_admin_rows,
						     .n_rows = ARRAY_LEN(core_admin_rows),
						     .on_close = on_admin_close,
						     .conns_max = CORE_ADMIN_CONNS_MAX};

int core_serve(struct core *c)
{
	int r = core_start_timers(c);
	if (!r)
		r = ipc_serve(c->daemon.ipc, &core_authd_spec, c, &c->authd);
	if (!r)
		r = ipc_serve(c->daemon.ipc, &core_egress_spec, c, &c->egress);
	if (!r)
		r = ipc_serve(c->daemon.ipc, &core_auditd_spec, c, &c->auditd);
	if (!r)
		r = ipc_serve(c->daemon.ipc, &core_admin_spec, c, &c->admin);
	return r;
}

void core_close(struct core *c)
{
	uv_close((uv_handle_t *)&c->rotation.timer, NULL);
	uv_close((uv_handle_t *)&c->retirements.timer, NULL);
}

void core_metrics(void *ctx, char *to, size_t cap)
{
	const struct core *c = ctx;

	(void)snprintf(to, cap,
		       "# TYPE bulkhead_vault_open gauge\nbulkhead_vault_open %d\n"
		       "# TYPE bulkhead_vault_credentials gauge\nbulkhead_vault_credentials %zu\n"
		       "# TYPE bulkhead_vault_arena_bytes gauge\nbulkhead_vault_arena_bytes{state=\"used\"} %zu\n"
		       "bulkhead_vault_arena_bytes{state=\"size\"} %zu\n"
		       "# TYPE bulkhead_vault_unseals_total counter\nbulkhead_vault_unseals_total %llu\n"
		       "# TYPE bulkhead_vault_rejects_total counter\nbulkhead_vault_rejects_total %llu\n"
		       "# TYPE bulkhead_vault_signatures_total counter\nbulkhead_vault_signatures_total %llu\n",
		       vault_is_open(&c->vault), store_count(&c->vault.store),
		       secret_arena_used(c->arena) + secret_arena_used(c->token_arena),
		       secret_arena_size(c->arena) + secret_arena_size(c->token_arena), (unsigned long long)c->unseals,
		       (unsigned long long)c->rejects, (unsigned long long)c->signatures);
}
