/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each peer may say to authd, row by row, and what authd says of its own accord.
 *
 *      router     AUTHORIZE  -> PERMIT | DENY                          <- VAULT_STATE, REVOKED
 *                 RENEW      -> RENEWED | DENY
 *                 MODELS     -> MODELS_REP | DENY
 *                 SETTLE
 *                 RECEIPT    -> RECEIPT_REP | DENY; see receipts.c
 *      keyvault   PEPPER, SEALED                      <- CREDENTIAL_LOAD, CREDENTIALS_SENT, CREDENTIAL_DROP
 *                 EDGE_KEY                    -> EDGE_KEY_KNOWN
 *                 CREDENTIAL_RESEAL           -> CREDENTIAL_LOAD | CREDENTIAL_DROP
 *                 see resealed.c
 *      operator   see admin.c
 *
 * The core is told every stored credential when it connects, and which were removed, so neither a restart of it nor one
 * of authd's needs an operator. What the core gave stays in force while it is away: it says SEALED when it is back and
 * closed. A router is told whether the vault is open as soon as that changes. When it connects it is told so too, and
 * which keys were revoked within the last day: it may have been away when they were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "authd/authd.h"
#include "common/err.h"

#define DISPATCH_REVOKED_S       86400 /* longer than an exchange lasts */
#define DISPATCH_REVOKED_MAX     256
#define DISPATCH_BLOBS_BYTES_MAX ((size_t)64 << 20) /* every sealed credential at once */

int authd_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	int r = ipc_send(conn, type, id, msg);

	if (r == IPC_E_FULL)
		ipc_drop(conn, "does not read");
	return r < 0 ? r : 0;
}

struct authorize_now authd_now(const struct authd *a)
{
	return (struct authorize_now){.monotonic_ms = ipc_now_ms(a->daemon.ipc),
				      .unix_ms = ipc_unix_ns(a->daemon.ipc) / 1000000};
}

static int dispatch_tell_vault(struct authd *a, struct ipc_conn *conn)
{
	return authd_send(conn, PROTO_VAULT_STATE, 0,
			  &(struct proto_vault_state){.open = a->authorize.pepper.p != NULL,
						      .inspects = a->authorize.guard != 0});
}

static void on_each_router(void *arg, struct ipc_conn *conn)
{
	if (dispatch_tell_vault(arg, conn))
		ipc_drop(conn, "could not be told of the vault");
}

void authd_update_ready(struct authd *a)
{
	bool open = a->authorize.pepper.p != NULL;

	daemon_set_ready(&a->daemon, open, open ? "" : "the vault is sealed or away");
	ipc_edge_each(a->routers, on_each_router, a);
}

/* ---- routers ---- */

/* As R-07 wants it; a router that lets another one through is broken. No branch asks whether a byte is a letter or a
 * digit: of an id's bytes no processor guesses that. */
bool authd_request_id_valid(struct span id)
{
	unsigned valid = 1;

	for (size_t i = 0; i < id.len; i++) {
		uint8_t c = id.p[i], letter = (uint8_t)((c | 0x20) - 'a'), digit = (uint8_t)(c - '0');

		valid &= (unsigned)(letter < 26) | (unsigned)(digit < 10) | (unsigned)(c == '-');
	}
	return valid;
}

void authd_about(struct authd *a, struct span address, struct authorize_now now, struct span *ret_subject,
		 struct span *ret_sealed)
{
	const struct subjects_now when = {now.monotonic_ms, subjects_day(now.unix_ms / 1000)};

	*ret_subject = span_str(a->answer.key ? a->answer.key->subject : STORE_SUBJECT_UNKNOWN);
	*ret_sealed = subjects_seal(a->subjects, *ret_subject, address, when);
}

int authd_deny(struct authd *a, struct ipc_conn *conn, uint64_t id, struct span address, struct authorize_now now)
{
	struct proto_deny *deny = &a->answer.deny;

	authd_about(a, address, now, &deny->subject, &deny->sealed);
	return authd_send(conn, PROTO_DENY, id, deny);
}

static int handle_authorize(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_authorize *m = msg;
	struct authd *a = ctx;

	(void)fd;
	if (!authd_request_id_valid(m->request_id))
		return IPC_E_VIOLATION;
	const struct authorize_now now = authd_now(a);
	const struct authorize_from from = {conn, ipc_conn_worker(conn)};
	int r = authorize(&a->authorize, m, from, now, &a->answer);
	if (r)
		return r;
	if (a->answer.reason != REASON_NONE)
		return authd_deny(a, conn, id, m->address, now);
	authd_about(a, m->address, now, &a->answer.permit.subject, &a->answer.permit.sealed);
	return authd_send(conn, PROTO_PERMIT, id, &a->answer.permit);
}

static int handle_renew(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_renew *m = msg;
	struct authd *a = ctx;

	(void)fd;
	int r = authorize_renew(&a->authorize, m->grant, ipc_conn_worker(conn), authd_now(a), &a->answer);
	if (r)
		return r;
	if (a->answer.reason != REASON_NONE)
		return authd_send(conn, PROTO_DENY, id, &a->answer.deny);
	return authd_send(conn, PROTO_RENEWED, id, &(struct proto_renewed){.grant = a->answer.permit.grant});
}

/* A key's models do not count against its limit. */
static int handle_models(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	enum { MODELS_MAX = 256 }; /* MODELS_REP */
	const struct proto_models *m = msg;
	struct proto_model models[MODELS_MAX];
	struct authd *a = ctx;

	(void)fd;
	if (!authd_request_id_valid(m->request_id))
		return IPC_E_VIOLATION;
	const struct authorize_now now = authd_now(a);
	int r = authorize_key(&a->authorize, m->credential, now, &a->answer);
	if (r)
		return r;
	if (a->answer.reason != REASON_NONE)
		return authd_deny(a, conn, id, m->address, now);
	const struct store_key *key = a->answer.key;
	size_t n = models_list(a->models, &a->credentials, span_str(key->tenant), key->models, models, MODELS_MAX);
	struct proto_models_rep rep = {.tenant = span_str(key->tenant),
				       .principal = span_str(key->id),
				       .models = {.items = models, .count = n}};
	authd_about(a, m->address, now, &rep.subject, &rep.sealed);
	return authd_send(conn, PROTO_MODELS_REP, id, &rep);
}

/* Budgets will be charged here; now usage is only counted. */
static int handle_settle(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_settle *m = msg;
	struct authd *a = ctx;

	(void)id;
	(void)fd;
	concurrency_end(a->authorize.calls, conn, m->call);
	a->settled++;
	a->tokens_in += m->tokens_in;
	a->tokens_out += m->tokens_out;
	return 0;
}

struct dispatch_revoked {
	struct proto_revoked msg;
	int r;
};

static void dispatch_tell_one(void *arg, struct ipc_conn *conn)
{
	struct dispatch_revoked *revoked = arg;
	int r = authd_send(conn, PROTO_REVOKED, 0, &revoked->msg);

	if (!revoked->r)
		revoked->r = r;
}

int authd_tell_revoked(struct authd *a, const char *key_id)
{
	struct dispatch_revoked revoked = {.msg = {.principal = span_str(key_id)}};

	ipc_edge_each(a->routers, dispatch_tell_one, &revoked);
	return revoked.r;
}

static void on_router_open(void *ctx, struct ipc_conn *conn)
{
	struct authd *a = ctx;
	uint64_t now_s = authd_now(a).unix_ms / 1000;
	size_t n = 0;
	int r;

	struct store_key *keys = calloc(DISPATCH_REVOKED_MAX, sizeof(*keys));
	r = dispatch_tell_vault(a, conn);
	if (!r && keys)
		r = store_key_revoked_since(a->store, now_s - MIN(now_s, (uint64_t)DISPATCH_REVOKED_S), keys,
					    DISPATCH_REVOKED_MAX, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = authd_send(conn, PROTO_REVOKED, 0, &(struct proto_revoked){.principal = span_str(keys[i].id)});
	free(keys);
	if (r < 0)
		ipc_drop(conn, "could not be told what was revoked");
}

static void on_router_close(void *ctx, struct ipc_conn *conn)
{
	struct authd *a = ctx;

	receipts_forget(a, conn);
	concurrency_forget(a->authorize.calls, conn);
}

/* ---- the core ---- */

static void on_keyvault_open(void *ctx, struct ipc_conn *conn)
{
	size_t rows;

	if (authd_send_credentials(ctx, conn, &rows) ||
	    authd_send(conn, PROTO_CREDENTIALS_SENT, 0, &(struct proto_credentials_sent){}))
		ipc_drop(conn, "the store does not answer"); /* and is asked again at the next connection */
}

static int handle_pepper(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_pepper *m = msg;
	struct authd *a = ctx;

	(void)conn;
	(void)id;
	(void)fd;
	int r = err_fold(authorize_set_pepper(&a->authorize, m->key));
	if (!r)
		r = err_fold(subjects_open(a->subjects, m->fields));
	authd_update_ready(a);
	return r;
}

static int handle_edge_key(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_edge_key *m = msg;
	struct authd *a = ctx;

	(void)id;
	(void)fd;
	int r = grants_set_lane(&a->authorize.grants, m, ipc_now_ms(a->daemon.ipc));
	if (r)
		return err_fold(r);
	return authd_send(conn, PROTO_EDGE_KEY_KNOWN, 0,
			  &(struct proto_edge_key_known){.lane = m->lane, .epoch = m->epoch});
}

static int handle_sealed(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct authd *a = ctx;

	(void)conn;
	(void)id;
	(void)msg;
	(void)fd;
	authorize_seal(&a->authorize);
	subjects_close(a->subjects);
	authd_update_ready(a);
	return 0;
}

/* ---- the tables ---- */

int authd_serve(struct authd *a)
{
	static const struct ipc_row router_rows[] = {
		{PROTO_AUTHORIZE, handle_authorize}, {PROTO_RENEW, handle_renew},      {PROTO_MODELS, handle_models},
		{PROTO_SETTLE, handle_settle},       {PROTO_RECEIPT, receipts_handle},
	};
	static const struct ipc_row keyvault_rows[] = {
		{PROTO_PEPPER, handle_pepper},
		{PROTO_EDGE_KEY, handle_edge_key},
		{PROTO_SEALED, handle_sealed},
		{PROTO_CREDENTIAL_RESEAL, resealed_put},
		{PROTO_CREDENTIAL_SWAP, resealed_swap},
		{PROTO_CREDENTIAL_REPLAY, resealed_replay},
		{PROTO_CREDENTIAL_RETIRE, resealed_retire},
	};
	static const struct ipc_edge_spec router = {.peer = ROLE_ROUTER,
						    .rows = router_rows,
						    .n_rows = ARRAY_LEN(router_rows),
						    .on_open = on_router_open,
						    .on_close = on_router_close};
	static const struct ipc_edge_spec keyvault = {.peer = ROLE_KEYVAULT,
						      .rows = keyvault_rows,
						      .n_rows = ARRAY_LEN(keyvault_rows),
						      .on_open = on_keyvault_open,
						      .tx_bytes_max = DISPATCH_BLOBS_BYTES_MAX};

	int r = ipc_serve(a->daemon.ipc, &router, a, &a->routers);
	if (!r)
		r = ipc_serve(a->daemon.ipc, &admin_edge, a, &a->admin);
	if (!r)
		r = ipc_connect(a->daemon.ipc, &keyvault, 0, a, &a->keyvault);
	return r;
}

/* ---- metrics ---- */

void authd_metrics(void *ctx, char *to, size_t cap)
{
	const struct authd *a = ctx;
	const struct authorize *z = &a->authorize;
	uint64_t live = 0;
	size_t at;

	if (store_key_count(a->store, authd_now(a).unix_ms / 1000, &live))
		live = 0;
	at = (size_t)snprintf(
		to, cap,
		"# TYPE bulkhead_keys gauge\nbulkhead_keys %llu\n"
		"# TYPE bulkhead_key_cache_entries gauge\nbulkhead_key_cache_entries{kind=\"known\"} %zu\n"
		"bulkhead_key_cache_entries{kind=\"unknown\"} %zu\n"
		"# TYPE bulkhead_key_cache_total counter\nbulkhead_key_cache_total{result=\"hit\"} %llu\n"
		"bulkhead_key_cache_total{result=\"miss\"} %llu\n"
		"# TYPE bulkhead_rate_windows gauge\nbulkhead_rate_windows %zu\n"
		"# TYPE bulkhead_calls_under_way gauge\nbulkhead_calls_under_way %zu\n"
		"# TYPE bulkhead_settled_total counter\nbulkhead_settled_total %llu\n"
		"# TYPE bulkhead_tokens_total counter\nbulkhead_tokens_total{direction=\"in\"} %llu\n"
		"bulkhead_tokens_total{direction=\"out\"} %llu\n"
		"# TYPE bulkhead_permits_total counter\nbulkhead_permits_total %llu\n"
		"# TYPE bulkhead_renewals_total counter\nbulkhead_renewals_total %llu\n"
		"# TYPE bulkhead_denials_total counter\n",
		(unsigned long long)live, cache_known(z->cache), cache_unknown(z->cache),
		(unsigned long long)z->cache_hits, (unsigned long long)z->cache_misses, ratelimit_windows(z->limits),
		concurrency_calls(z->calls), (unsigned long long)a->settled, (unsigned long long)a->tokens_in,
		(unsigned long long)a->tokens_out, (unsigned long long)z->permits, (unsigned long long)z->renewals);
	for (size_t i = 0; i < N_REASONS && at < cap; i++) {
		if (z->denials[i])
			at += (size_t)snprintf(to + at, cap - at, "bulkhead_denials_total{reason=\"%s\"} %llu\n",
					       reason_row(i)->code, (unsigned long long)z->denials[i]);
	}
}
