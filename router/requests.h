/* SPDX-License-Identifier: Apache-2.0 */
/* All requests of a worker: what they share, their lists by state, their deadlines and counters. Sans I/O. */
#pragma once

#include "common/list.h"
#include "router/body.h"
#include "router/http_head.h"
#include "router/http_write.h"
#include "router/proxies.h"
#include "router/request_events.h"

struct audit_client;
struct lane;
struct peers;
struct splices;

struct request_limits {
	uint64_t idle_ms, head_ms, body_ms, authorize_ms, scan_ms, reply_ms, stall_ms, linger_ms;
	uint64_t stream_bytes_max;
	uint64_t anonymous_bytes_max; /* of a body, before it is known whose it is */
};

/* What all requests of a worker share. */
struct requests {
	struct list in_state[N_REQUEST_STATES]; /* each in order of deadline */
	uint64_t wait_ms[N_REQUEST_STATES];
	size_t n;
	struct bodies bodies;
	uint64_t now_us, unix_s; /* kept current by the adapters: router/clock.h */
	bool clock_told;
	bool draining;
	struct request_limits limits;
	struct proxies trusted;
	struct peers *peers;
	struct lane *lane;
	struct audit_client *audit;
	char id_prefix[20];
	uint64_t id_count, calls;
	char date[HTTP_DATE_BYTES];
	uint64_t date_s;
	uint64_t by_status[600]; /* answers, for metrics; [0] is what was cut before any */
	uint64_t cut, tokens_in, tokens_out;
	struct http_head head;   /* scratch of one step */
	struct splices *splices; /* likewise */
};

/* `all` zeroed but for what its user fills in: limits, bodies.bytes_max, trusted, peers, lane, audit, now_us, unix_s. 0
 * or -ENOMEM. */
MUST_USE int requests_init(struct requests *all, const uint8_t boot[16], unsigned worker);
void requests_deinit(struct requests *all);
/* Sends EV_TIMEOUT to all whose time is over. */
void requests_expire(struct requests *all);
/* The next deadline in milliseconds, UINT64_MAX when there is none. */
uint64_t requests_next_ms(const struct requests *all);
/* What keeps this worker from serving: AUTHD_GONE, VAULT_SEALED, EGRESS_GONE, CLASSIFIER_GONE, or NONE. */
enum reason requests_unready(const struct requests *all);
/* Takes no more from now on, and ends idle connections. */
void requests_shutdown(struct requests *all);
/* Has waited long enough after that: what is under way is refused, or cut. What was said already may still leave. */
void requests_end(struct requests *all);
/* authd says that a key was revoked: cuts what it has in flight. */
void requests_revoke(struct requests *all, struct span principal);
/* Prometheus text, appended. */
void requests_metrics(const struct requests *all, char *to, size_t cap);
const char *request_state_name(enum request_state state);
