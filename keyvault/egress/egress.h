/* SPDX-License-Identifier: Apache-2.0 */
/* What the egress's files share: the process as one structure. */
#pragma once

#include "common/audit_client.h"
#include "common/config.h"
#include "common/daemon.h"
#include "keyvault/egress/exchange.h"
#include "keyvault/egress/refusals.h"
#include "keyvault/egress/replay.h"
#include "keyvault/egress/voids.h"

#define EGRESS_READ_BYTES      32768 /* decrypted at once for one stream */
#define EGRESS_DATA_BYTES      32768 /* in one DATA frame */
#define EGRESS_OUT_BYTES       (EGRESS_READ_BYTES + 8 * SCRUB_SECRET_BYTES_MAX)
#define EGRESS_FIELDS_BYTES    32768 /* values of a REPLY_HEAD together */
#define EGRESS_CREDIT_BYTES    65536
#define EGRESS_LANE_BYTES_HIGH (1u << 20) /* queued towards the router: streams pause above it */
#define EGRESS_LANE_BYTES_MAX  (64u << 20)
/* Two arenas: of buffers, each wiped after use (so it is held open where a close is dear): a record, work of schemes,
 * messages of the core; and of secrets: room to make forms in, a few hundred bytes with its forms for each provider. */
#define EGRESS_BUFFERS_BYTES            ((size_t)100 << 10)
#define EGRESS_ARENA_BYTES_FIXED        (EGRESS_BUFFERS_BYTES + 12288)
#define EGRESS_ARENA_BYTES_PER_PROVIDER ((size_t)16 << 10)
#define EGRESS_ARENA_BYTES_PER_TOKEN    ((size_t)96 << 10) /* a call under way, and tokens before and after it */
#define EGRESS_SPARE_MAX                256
#define EGRESS_EXCHANGES_MAX            16384
#define EGRESS_KEYLESS_MAX              512 /* exchanges at once, up to which one without a key may wait for it */
#define EGRESS_TICK_MS                  200
#define EGRESS_MODE_STRICT              1 /* the second word of auditd.mode */
#define LANE_BUCKETS                    1024

/* The router's connection and its streams, by id. */
struct lane {
	struct egress *eg;
	struct ipc_conn *conn;
	struct list streams[LANE_BUCKETS];
	size_t n;
};

struct egress_counters {
	uint64_t opened, complete, broken, cancelled, refused, scrubbed, reused, fresh, tokens, tokens_failed;
};

struct egress {
	struct daemon daemon;
	struct config config;
	struct secret_arena *arena, *buffers;
	struct audit_client *audit;
	struct ipc_edge *router, *keyvault, *dialer, *admin;
	struct pool_env pool_env;
	struct credential_cache credentials;
	struct tls_ctx *trust_system;
	struct tls_ctx **trust; /* one a provider, NULL: the system's */
	struct config_url *origins,
		*token_origins; /* one a provider; a token service's host is "" where there is none */

	struct secret record, auth; /* of `buffers`: where requests are composed, one at a time; where schemes work */
	struct secret edge_key;     /* null: no grant can be checked */
	bool sealed;                /* so said the core: none will come */
	uint64_t epoch;             /* of the key, or of the last one that was; 0: there was none */
	struct replay replay;
	struct voids voids;
	uint64_t permitted; /* uses of grants */
	struct refusals refusals;

	struct list states[N_EXCHANGE_STATES]; /* each in order of deadline */
	struct list stalled, readable;         /* wait for the lane's queue; for relay_turn() */
	size_t n_exchanges;
	struct list spare; /* of struct exchange, by in_state: memory for the next ones */
	size_t n_spare;
	uv_timer_t tick;
	bool draining;
	struct egress_counters count;

	/* What the streams of a batch were sent, the last from the first half on; wiped before the loop goes on. In the
	 * others works one stream at a time. */
	uint8_t in[2 * EGRESS_READ_BYTES], out[EGRESS_OUT_BYTES], fields[EGRESS_FIELDS_BYTES];
	size_t in_len, out_len, body_at, body_len; /* of `in` is body, end to end */
};

/* serve.c: the edges. 0 or negative. */
MUST_USE int egress_serve(struct egress *eg);
void egress_close(struct egress *eg);
struct exchange *lane_find(const struct lane *lane, uint64_t id);
void lane_add(struct lane *lane, struct exchange *x);
/* Starts the tick if it is not running. */
void egress_wake(struct egress *eg);
/* The drain is over when the last stream is. */
void egress_note_end(struct egress *eg);
void egress_metrics(void *ctx, char *to, size_t cap);

/* revoke.c: GRANTS_VOID, and the operator. */
ipc_handler egress_handle_void;
extern const struct ipc_edge_spec egress_admin_spec;

/* spare.c: exchanges that begin, in memory that is kept for the next ones. NULL: there is none left. */
struct exchange *spare_begin(struct egress *eg, struct lane *lane, uint64_t id, const struct proto_open *open);
void spare_keep(struct egress *eg, struct exchange *x);
void spare_free(struct egress *eg);

/* record.c: the second witness, and what it needs to know. */
void egress_note_grant(struct exchange *x, const struct proto_grant *g, const struct proto_grant_route *route);
/* Before the credential may leave; then, when the exchange is over, what came of it, or that nothing left. */
void egress_record_promise(struct exchange *x);
void egress_forget_promise(struct exchange *x);
void egress_record_use(struct egress *eg, const struct exchange *x, const uint8_t digest[32]);
void egress_record_token(struct egress *eg, const struct credential *c, unsigned status, enum reason why,
			 uint64_t began_us);
void egress_record_count(struct egress *eg, const struct exchange *x);
/* No exchange for a key of this tenant without its record. The tenant is authd's word (the grant), not the router's. */
bool egress_is_strict(const struct egress *eg, const char *tenant);
/* Strict mode: `done` hears once whether the record of what is about to happen is durable, unless
 * egress_forget_intent() has said that nobody listens any more. False: there is no log; `done` is not called. */
struct intent;
MUST_USE bool egress_record_intent(struct egress *eg, struct exchange *x,
				   void (*done)(struct exchange *x, bool durable));
void egress_forget_intent(struct exchange *x);
/* Counted, kept and recorded. */
void egress_record_refusal(struct egress *eg, const struct exchange *x);
