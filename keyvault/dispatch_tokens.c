/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens on the edges:
 *
 *      egress    TOKEN_TAKE     -> TOKEN | TOKEN_LEASE | TOKEN_NONE | REFUSED
 *                TOKEN_PUT      -> TOKEN | TOKEN_NONE | REFUSED
 *                TOKEN_FAIL, TOKEN_HOLD
 *      authd     CREDENTIAL_LOAD                                <- CREDENTIAL_RESEAL
 *
 * A worker that has a lease may replace this one secret, of the one scheme whose secrets are replaced by use. It could
 * lose it just as well.
 */
#include "common/binding_auth.h"
#include "common/err.h"
#include "keyvault/core.h"
#include "keyvault/vault_renew.h"

#define CORE_TOKENS_TICK_MS 200

/* ---- out ---- */

/* A connection that cannot be answered is dropped by core_send(); what is fatal ends the process at the next answer. */
static void core_tell_token(void *ctx, struct tokens_waiter w, const struct tokens_entry *e, uint64_t life_ms)
{
	struct core *c = ctx;

	secret_open(c->token_arena);
	if (core_send(w.peer, PROTO_TOKEN, w.id,
		      &(struct proto_token){
			      .serial = e->serial, .life_ms = life_ms, .token = span_of(e->token.p, e->token.len)}))
		ipc_drop(w.peer, "could not be answered");
	secret_close(c->token_arena);
}

static void core_tell_none(void *ctx, struct tokens_waiter w, enum reason why)
{
	(void)ctx;
	if (core_send(w.peer, PROTO_TOKEN_NONE, w.id, &(struct proto_token_none){.reason = why}))
		ipc_drop(w.peer, "could not be answered");
}

static enum reason core_tell_lease(void *ctx, struct tokens_waiter w, const struct tokens_entry *e)
{
	struct core *c = ctx;
	struct secret secret = SECRET_NULL;
	struct proto_binding b;
	struct span binding;

	int r = vault_fetch(&c->vault, span_str(e->id), core_unix_ms() / 1000, &binding, &secret);
	if (!r && proto_unpack_record(&proto_binding_desc, binding, &b))
		r = VAULT_E_FORGED;
	if (r == VAULT_E_FORGED)
		core_reject(c, "egress", span_str(e->id), r);
	if (!r) {
		secret_open(c->arena);
		r = core_send(w.peer, PROTO_TOKEN_LEASE, w.id,
			      &(struct proto_token_lease){.lease = e->lease,
							  .version = b.version,
							  .secret = span_of(secret.p, secret.len)});
		secret_close(c->arena);
		c->unseals++;
	}
	secret_free(c->arena, &secret);
	return r == 0 ? REASON_NONE : r == VAULT_E_FULL ? REASON_OVERLOADED : REASON_NO_CREDENTIAL;
}

static void core_store_pending(void *ctx, const struct tokens_entry *e)
{
	struct core *c = ctx;
	struct seal_view view;

	if (seal_parse(span_of(e->blob, e->blob_len), &view))
		return;
	struct proto_credential_reseal m = {.credential = view.binding.credential,
					    .version = view.binding.version,
					    .blob = span_of(e->blob, e->blob_len)};
	core_each_authd(c, PROTO_CREDENTIAL_RESEAL, &m);
}

static const struct tokens_out core_tokens_out = {core_tell_token, core_tell_lease, core_tell_none, core_store_pending};

/* ---- time ---- */

static void on_tokens_tick(uv_timer_t *timer)
{
	struct core *c = timer->data;

	if (!tokens_tick(&c->tokens, ipc_now_ms(c->daemon.ipc)))
		(void)uv_timer_stop(timer);
}

static void core_tokens_wake(struct core *c)
{
	if (!uv_is_active((uv_handle_t *)&c->tokens_tick))
		(void)uv_timer_start(&c->tokens_tick, on_tokens_tick, CORE_TOKENS_TICK_MS, CORE_TOKENS_TICK_MS);
}

int core_tokens_start(struct core *c)
{
	tokens_init(&c->tokens, c->token_arena, &core_tokens_out, c);
	c->tokens_tick.data = c;
	return uv_timer_init(&c->daemon.loop, &c->tokens_tick) ? err_origin(-EIO) : 0;
}

void core_tokens_stop(struct core *c)
{
	tokens_close(&c->tokens);
	uv_close((uv_handle_t *)&c->tokens_tick, NULL);
}

/* ---- egress ---- */

/* The credential's binding, if it is one of which tokens are made. 0 or VAULT_E_*. */
static int core_token_binding(struct core *c, struct span id, struct proto_binding *ret)
{
	struct seal_view view;
	const struct store_version *now = store_current(store_find(&c->vault.store, id));

	if (!vault_is_open(&c->vault))
		return VAULT_E_SEALED;
	if (!now || seal_parse(span_of(now->blob, now->blob_len), &view) || !binding_takes_token(&view.binding))
		return VAULT_E_UNKNOWN;
	*ret = view.binding;
	return 0;
}

int core_handle_token_take(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_token_take *m = msg;
	struct core *c = ctx;
	struct proto_binding b;

	(void)fd;
	int r = core_token_binding(c, m->credential, &b);
	if (!r && tokens_take(&c->tokens, m->credential, b.auth == PROTO_AUTH_OAUTH_REFRESH, m->serial,
			      (struct tokens_waiter){conn, id}, core_unix_ms(), ipc_now_ms(c->daemon.ipc)))
		r = VAULT_E_FULL;
	core_tokens_wake(c);
	return r ? core_refuse_vault(conn, id, r) : 0;
}

/* 0, VAULT_E_* or negative. */
static int core_put(struct core *c, struct ipc_conn *conn, uint64_t id, const struct proto_token_put *m)
{
	uint64_t now_ms = ipc_now_ms(c->daemon.ipc);
	uint8_t blob[SEAL_BYTES_MAX];
	struct proto_binding b;
	size_t len = 0;

	int r = core_token_binding(c, m->credential, &b);
	if (r == VAULT_E_UNKNOWN && !c->complete && m->secret.len > 0)
		tokens_hold(&c->tokens, m->credential, true, m->lease, conn, now_ms); /* it is put again, in time */
	if (!r && (b.version != m->version || !tokens_holds(&c->tokens, m->credential, m->lease, conn, now_ms)))
		r = VAULT_E_OLD;
	if (!r && m->secret.len > 0 && !tokens_pending(&c->tokens, m->credential))
		r = vault_renew(&c->vault, m->credential, m->secret, blob, &len);
	if (r)
		return r;
	return tokens_put(&c->tokens, m->credential, m->lease, m->life_ms, m->token, span_of(blob, len), b.version + 1,
			  (struct tokens_waiter){conn, id}, core_unix_ms(), now_ms)
		       ? VAULT_E_FULL
		       : 0;
}

int core_handle_token_put(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_token_put *m = msg;
	struct core *c = ctx;

	(void)fd;
	if (!span_is_printable(m->token, '!')) /* all workers will write it into their heads: RFC 6749 A.12 */
		return IPC_E_VIOLATION;
	int r = core_put(c, conn, id, m);
	core_tokens_wake(c);
	return r > 0 ? core_refuse_vault(conn, id, r) : r;
}

int core_handle_token_fail(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_token_fail *m = msg;
	struct core *c = ctx;

	(void)id;
	(void)fd;
	if (m->reason >= N_REASONS)
		return IPC_E_VIOLATION;
	tokens_fail(&c->tokens, m->credential, m->lease, (enum reason)m->reason, conn, ipc_now_ms(c->daemon.ipc));
	return 0;
}

int core_handle_token_hold(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_token_hold *m = msg;
	struct core *c = ctx;
	struct proto_binding b;

	(void)id;
	(void)fd;
	/* authd may not have sent the credential yet: then nobody can ask for a token of it either, and the version is
	 * looked at when it is put. */
	int r = core_token_binding(c, m->credential, &b);
	if (r && (r != VAULT_E_UNKNOWN || c->complete))
		return 0;
	tokens_hold(&c->tokens, m->credential, true, m->lease, conn, ipc_now_ms(c->daemon.ipc));
	core_tokens_wake(c);
	return 0;
}

/* ---- authd ---- */

bool core_is_pending(struct core *c, const struct proto_credential_load *m)
{
	const struct tokens_entry *e = tokens_pending(&c->tokens, m->credential);
	struct seal_view view;

	if (!e || seal_parse(m->blob, &view))
		return false;
	if (view.binding.version < e->blob_version)
		core_store_pending(c, e); /* it has the one before, for it was away */
	return span_eq(span_of(e->blob, e->blob_len), m->blob);
}

static bool core_takes_no_token(void *ctx, struct span id)
{
	struct proto_binding b;

	return core_token_binding(ctx, id, &b) == VAULT_E_UNKNOWN;
}

void core_note_complete(struct core *c)
{
	c->complete = true;
	tokens_drop_if(&c->tokens, core_takes_no_token, c);
}

void core_note_stored(struct core *c, struct span id)
{
	core_record(c, EVENT_VAULT_RESEAL, "egress", id, "");
	tokens_stored(&c->tokens, id, ipc_now_ms(c->daemon.ipc));
}
