/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edges of an egress worker:
 *
 *   router i   OPEN, CREDIT, CANCEL            -> REPLY_HEAD, DATA, END, BROKEN
 *   keyvault   EDGE_KEY, SEALED, CREDENTIAL_DROP   <- UNSEAL, TOKEN_*
 *              GRANTS_VOID                 -> GRANTS_VOIDED
 *   dialer     (answers only)                      <- DIAL
 *   auditd     (common/audit_client)
 *   operator   GRANTS                      -> GRANTS_REP
 *
 * When the core goes away, what it gave goes too: a drop or a seal could be missed meanwhile. Exchanges that have sent
 * their request finish; new ones wait for the new key.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/err.h"
#include "common/grant.h"
#include "keyvault/egress/egress.h"
#include "keyvault/egress/relay.h"
#include "keyvault/egress/token.h"

#define EGRESS_FDS_RESERVED 128 /* listeners, peers, operators, and what comes from the dialer and the lane at once */

/* ---- the lane ---- */

struct exchange *lane_find(const struct lane *lane, uint64_t id)
{
	list_for_each (it, &lane->streams[id % LANE_BUCKETS]) {
		struct exchange *x = container_of(it, struct exchange, in_lane);
		if (x->id == id)
			return x;
	}
	return NULL;
}

void lane_add(struct lane *lane, struct exchange *x)
{
	list_push(&lane->streams[x->id % LANE_BUCKETS], &x->in_lane);
	lane->n++;
}

static void lane_on_open(void *ctx, struct ipc_conn *conn)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane) {
		ipc_drop(conn, "out of memory");
		return;
	}
	lane->eg = ctx;
	lane->conn = conn;
	for (size_t i = 0; i < LANE_BUCKETS; i++)
		list_init(&lane->streams[i]);
	ipc_conn_set_ctx(conn, lane);
}

/* A router that is gone cancels everything it asked for. */
static void lane_on_close(void *ctx, struct ipc_conn *conn)
{
	struct lane *lane = ipc_conn_ctx(conn);

	(void)ctx;
	if (!lane)
		return;
	for (size_t i = 0; i < LANE_BUCKETS; i++)
		while (!list_empty(&lane->streams[i]))
			exchange_cancel(container_of(lane->streams[i].next, struct exchange, in_lane));
	assert(lane->n == 0);
	free(lane);
}

static void egress_resume_stalled(struct egress *eg)
{
	struct list again = LIST_INIT(again);

	list_move_all(&eg->stalled, &again);
	while (!list_empty(&again))
		relay_resume(container_of(again.next, struct exchange, in_stalled));
}

static void lane_on_drain(void *ctx, struct ipc_conn *conn)
{
	(void)conn;
	egress_resume_stalled(ctx);
	relay_turn(ctx); /* this turn's may be over */
}

static void egress_note_ready(struct egress *eg)
{
	bool dialer = ipc_edge_conn(eg->dialer) != NULL;
	bool ready = eg->edge_key.p && dialer && !eg->draining;
	const char *keyless = eg->sealed ? "the vault is sealed" : "waits for the core and authd";

	daemon_set_ready(&eg->daemon, ready,
			 ready ? "" : (!dialer ? "no dialer" : (eg->draining ? "draining" : keyless)));
}

static void egress_forget_key(struct egress *eg)
{
	secret_open(eg->arena);
	if (eg->edge_key.p)
		secret_free(eg->arena, &eg->edge_key);
	secret_close(eg->arena);
	egress_note_ready(eg);
}

static int handle_open(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	return exchange_open(ctx, ipc_conn_ctx(conn), id, msg, fd);
}

/* CREDIT and CANCEL may cross our END: an unknown stream is no violation. */
static int handle_credit(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_credit *credit = msg;
	struct exchange *x = lane_find(ipc_conn_ctx(conn), id);

	(void)ctx;
	(void)fd;
	if (x)
		exchange_credit(x, credit->bytes);
	return 0;
}

static int handle_cancel(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct exchange *x = lane_find(ipc_conn_ctx(conn), id);

	(void)ctx;
	(void)msg;
	(void)fd;
	if (x)
		exchange_cancel(x);
	return 0;
}

/* ---- the core ---- */

/* The arena is open: the key lies in a buffer of it. */
static int handle_edge_key(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct egress *eg = ctx;
	const struct proto_edge_key *key = msg;

	(void)conn;
	(void)id;
	(void)fd;
	if (key->lane != eg->daemon.worker)
		return IPC_E_VIOLATION;
	egress_forget_key(eg);
	if (secret_alloc(eg->arena, HMAC_SCHEDULE_BYTES, &eg->edge_key))
		return err_origin(-ENOMEM);
	hmac_prepare(key->key, eg->edge_key.p);
	eg->epoch = key->epoch;
	eg->sealed = false;
	replay_reset(&eg->replay);
	voids_reset(&eg->voids);
	egress_note_ready(eg);
	exchange_key(eg);
	return 0;
}

/* Everything is wiped; what has begun to be sent is cut too when an operator wants the vault sealed. A core that died
 * and is closed when it comes back is no reason to: what runs needs nothing of it. */
static void egress_seal(struct egress *eg, bool cut)
{
	eg->sealed = true;
	egress_forget_key(eg);
	credential_drop_all(&eg->credentials, REASON_VAULT_SEALED, false);
	for (size_t i = 0; i < (cut ? (size_t)N_EXCHANGE_STATES : (size_t)EXCHANGE_SEND); i++)
		while (!list_empty(&eg->states[i]))
			exchange_break(container_of(eg->states[i].next, struct exchange, in_state),
				       REASON_VAULT_SEALED);
}

static int handle_sealed(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	const struct proto_sealed *sealed = msg;

	(void)conn;
	(void)id;
	(void)fd;
	egress_seal(ctx, sealed->cut == 1);
	egress_note_end(ctx); /* a token that is called off here may have been the last */
	return 0;
}

static int handle_credential_drop(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct egress *eg = ctx;
	const struct proto_credential_drop *drop = msg;

	(void)conn;
	(void)id;
	(void)fd;
	credential_drop(&eg->credentials, drop->credential);
	egress_note_end(eg); /* likewise */
	return 0;
}

static void keyvault_on_close(void *ctx, struct ipc_conn *conn)
{
	struct egress *eg = ctx;

	(void)conn;
	eg->sealed = false;
	egress_forget_key(eg);
	credential_drop_all(&eg->credentials, REASON_VAULT_SEALED, true);
}

static void keyvault_on_open(void *ctx, struct ipc_conn *conn)
{
	struct egress *eg = ctx;

	(void)conn;
	token_resume(&eg->credentials);
}

static void dialer_on_change(void *ctx, struct ipc_conn *conn)
{
	(void)conn;
	egress_note_ready(ctx);
}

/* ---- all of them ---- */

static bool egress_is_origin(const struct config_url *url, struct span host, uint64_t port)
{
	return span_eq_str(host, url->host) && port == url->port;
}

/* Host and token service must be those that the configuration names too. */
static struct tls_ctx *egress_trust(void *ctx, const struct proto_binding *b)
{
	struct egress *eg = ctx;

	for (size_t i = 0; i < eg->config.n_providers; i++)
		if (span_eq_str(b->provider, eg->config.providers[i].name) &&
		    egress_is_origin(&eg->origins[i], b->host, b->port) &&
		    egress_is_origin(&eg->token_origins[i], b->token_host, b->token_port))
			return eg->trust[i] ? eg->trust[i] : eg->trust_system;
	return NULL;
}

static void egress_on_tick(uv_timer_t *timer)
{
	struct egress *eg = timer->data;
	uint64_t now_ms = ipc_now_ms(eg->daemon.ipc);

	for (size_t i = 0; i < N_EXCHANGE_STATES; i++)
		while (!list_empty(&eg->states[i])) {
			struct exchange *x = container_of(eg->states[i].next, struct exchange, in_state);
			if (x->deadline_ms > now_ms)
				break;
			exchange_timeout(x);
		}
	/* A queue that grew within one turn and left at its end never had to wait, so nobody says that it is empty. */
	egress_resume_stalled(eg);
	bool busy = credential_tick(&eg->credentials, now_ms);
	if (!busy && eg->n_exchanges == 0)
		(void)uv_timer_stop(timer);
}

void egress_wake(struct egress *eg)
{
	if (!uv_is_active((uv_handle_t *)&eg->tick))
		(void)uv_timer_start(&eg->tick, egress_on_tick, EGRESS_TICK_MS, EGRESS_TICK_MS);
}

void egress_note_end(struct egress *eg)
{
	if (eg->draining && eg->n_exchanges == 0 && list_empty(&eg->credentials.tokens))
		daemon_stop(&eg->daemon);
}

static void egress_on_drain(void *ctx)
{
	struct egress *eg = ctx;

	eg->draining = true;
	egress_note_ready(eg);
	egress_note_end(eg);
}

void egress_metrics(void *ctx, char *to, size_t cap)
{
	const struct egress *eg = ctx;
	const struct egress_counters *c = &eg->count;
	size_t len = strlen(to);

	(void)snprintf(to + len, cap - len,
		       "# TYPE bulkhead_egress_exchanges_total counter\n"
		       "bulkhead_egress_exchanges_total{end=\"complete\"} %llu\n"
		       "bulkhead_egress_exchanges_total{end=\"broken\"} %llu\n"
		       "bulkhead_egress_exchanges_total{end=\"cancelled\"} %llu\n"
		       "# TYPE bulkhead_egress_refused_total counter\nbulkhead_egress_refused_total %llu\n"
		       "# TYPE bulkhead_egress_scrubbed_total counter\nbulkhead_egress_scrubbed_total %llu\n"
		       "# TYPE bulkhead_egress_connections_total counter\n"
		       "bulkhead_egress_connections_total{kind=\"fresh\"} %llu\n"
		       "bulkhead_egress_connections_total{kind=\"reused\"} %llu\n"
		       "# TYPE bulkhead_egress_tokens_total counter\n"
		       "bulkhead_egress_tokens_total{end=\"got\"} %llu\n"
		       "bulkhead_egress_tokens_total{end=\"failed\"} %llu\n"
		       "# TYPE bulkhead_egress_exchanges gauge\nbulkhead_egress_exchanges %zu\n"
		       "# TYPE bulkhead_egress_arena_bytes gauge\nbulkhead_egress_arena_bytes %zu\n",
		       (unsigned long long)c->complete, (unsigned long long)c->broken, (unsigned long long)c->cancelled,
		       (unsigned long long)c->refused, (unsigned long long)c->scrubbed, (unsigned long long)c->fresh,
		       (unsigned long long)c->reused, (unsigned long long)c->tokens,
		       (unsigned long long)c->tokens_failed, eg->n_exchanges, secret_arena_used(eg->arena));
}

static const struct ipc_row lane_rows[] = {
	{PROTO_OPEN, handle_open},
	{PROTO_CREDIT, handle_credit},
	{PROTO_CANCEL, handle_cancel},
};

static const struct ipc_row keyvault_rows[] = {
	{PROTO_EDGE_KEY, handle_edge_key},
	{PROTO_SEALED, handle_sealed},
	{PROTO_CREDENTIAL_DROP, handle_credential_drop},
	{PROTO_GRANTS_VOID, egress_handle_void},
};

static const struct ipc_edge_spec lane_spec = {
	.peer = ROLE_ROUTER,
	.rows = lane_rows,
	.n_rows = ARRAY_LEN(lane_rows),
	.on_open = lane_on_open,
	.on_close = lane_on_close,
	.on_drain = lane_on_drain,
	.tx_bytes_max = EGRESS_LANE_BYTES_MAX,
};

static const struct ipc_edge_spec keyvault_spec = {
	.peer = ROLE_KEYVAULT,
	.rows = keyvault_rows,
	.n_rows = ARRAY_LEN(keyvault_rows),
	.on_open = keyvault_on_open,
	.on_close = keyvault_on_close,
};

static const struct ipc_edge_spec dialer_spec = {
	.peer = ROLE_DIALER,
	.on_open = dialer_on_change,
	.on_close = dialer_on_change,
};

/* For each connection there must be a descriptor, and some for everything else: a message whose descriptor cannot be
 * had ends its connection, which may be the lane. */
static size_t egress_connections_max(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return EGRESS_FDS_RESERVED;
	return files.rlim_cur > 2 * EGRESS_FDS_RESERVED ? files.rlim_cur - EGRESS_FDS_RESERVED : files.rlim_cur / 2;
}

int egress_serve(struct egress *eg)
{
	for (size_t i = 0; i < N_EXCHANGE_STATES; i++)
		list_init(&eg->states[i]);
	list_init(&eg->stalled);
	list_init(&eg->readable);
	list_init(&eg->spare);
	eg->daemon.on_drain = egress_on_drain;
	eg->daemon.metrics = egress_metrics;
	eg->daemon.ctx = eg;
	eg->tick.data = eg;
	int r = uv_timer_init(&eg->daemon.loop, &eg->tick) ? err_origin(-EIO) : 0;
	if (!r)
		r = ipc_connect(eg->daemon.ipc, &keyvault_spec, 0, eg, &eg->keyvault);
	if (!r)
		r = ipc_connect(eg->daemon.ipc, &dialer_spec, 0, eg, &eg->dialer);
	if (!r)
		r = ipc_serve(eg->daemon.ipc, &lane_spec, eg, &eg->router);
	if (!r)
		r = ipc_serve(eg->daemon.ipc, &egress_admin_spec, eg, &eg->admin);
	if (r)
		return r;
	ipc_set_before_flush(eg->daemon.ipc, relay_turn, eg);
	eg->pool_env = (struct pool_env){
		.loop = &eg->daemon.loop,
		.ipc = eg->daemon.ipc,
		.dialer = eg->dialer,
		.log = &eg->daemon.log,
		.audit = eg->audit,
		.connections_max = eg->config.egress.pool_max,
		.idle_ms = eg->config.egress.pool_idle_ms,
		.connect_timeout_ms = eg->config.egress.connect_timeout_ms,
		.total_max = egress_connections_max(),
	};
	list_init(&eg->pool_env.idle);
	credential_cache_init(&eg->credentials, eg->arena, eg->keyvault, &eg->pool_env, egress_trust, eg);
	return 0;
}

/* After the loop: what is left is closed, so that the loop can end empty. */
void egress_close(struct egress *eg)
{
	egress_seal(eg, true);
	spare_free(eg);
	uv_close((uv_handle_t *)&eg->tick, NULL);
}
