/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a client's connection, one request after the other, as a machine that only receives events (request.c).
 * Sans I/O: bytes move in client.c, questions to other daemons in peers.c, the provider's answer in upstream.c. There
 * is one struct request per connection; it is used again for each request on it.
 */
#pragma once

#include "common/json_scan.h"
#include "common/list.h"
#include "router/body.h"
#include "router/endpoint.h"
#include "router/http_body.h"
#include "router/http_write.h"
#include "router/proxies.h"
#include "router/reply.h"
#include "router/sse.h"
#include "router/upstream.h"
#include "router/usage.h"

struct audit_client;
struct client;
struct peers;

#define REQUEST_ID_BYTES_MAX 64

/*
 * In the order of a request's life: the state, the limit in struct request_limits that bounds the stay, what the client
 * is told (or the log) when it is over, and the states that may follow.
 */
/* clang-format off */
#define REQUEST_STATES(S) \
	S(AWAIT,     idle_ms,      NONE,             TO(READ_HEAD) | TO(CLOSED)) \
	S(READ_HEAD, head_ms,      TIMEOUT_REQUEST,  TO(READ_BODY) | TO(REFUSE) | TO(CLOSED)) \
	S(READ_BODY, body_ms,      TIMEOUT_REQUEST,  TO(AUTHORIZE) | TO(ANSWER) | TO(REFUSE) | TO(SETTLE)) \
	S(AUTHORIZE, authorize_ms, AUTHD_GONE,       TO(SCAN) | TO(OPEN) | TO(ANSWER) | TO(REFUSE) | TO(SETTLE)) \
	S(SCAN,      scan_ms,      CLASSIFIER_GONE,  TO(OPEN) | TO(REFUSE) | TO(SETTLE)) \
	S(OPEN,      reply_ms,     UPSTREAM_TIMEOUT, TO(RELAY) | TO(REFUSE) | TO(SETTLE)) \
	S(RELAY,     stall_ms,     UPSTREAM_TIMEOUT, TO(REFUSE) | TO(FLUSH) | TO(SETTLE)) \
	S(ANSWER,    stall_ms,     CLIENT_GONE,      TO(FLUSH)) \
	S(REFUSE,    stall_ms,     CLIENT_GONE,      TO(FLUSH)) \
	S(FLUSH,     stall_ms,     CLIENT_GONE,      TO(SETTLE)) \
	S(SETTLE,    stall_ms,     NONE,             TO(AWAIT) | TO(LINGER) | TO(CLOSED)) \
	S(LINGER,    linger_ms,    NONE,             TO(CLOSED)) \
	S(CLOSED,    linger_ms,    NONE,             0)
/* clang-format on */

enum request_state {
#define S(NAME, limit, late, next) REQUEST_##NAME,
	REQUEST_STATES(S)
#undef S
		N_REQUEST_STATES,
};

enum event_kind {
	EV_ENTER,    /* the state was just entered */
	EV_INPUT,    /* the client sent bytes: request_input() */
	EV_SENT,     /* the client took bytes */
	EV_GONE,     /* the client is no longer there */
	EV_TIMEOUT,  /* the state's limit is over */
	EV_SHUTDOWN, /* the worker drains: no new request */
	EV_PERMIT,   /* authd's answers */
	EV_DENY,
	EV_MODELS,
	EV_VERDICT,    /* the classifier's */
	EV_PEER_LOST,  /* whoever was asked cannot answer */
	EV_REPLY_HEAD, /* the egress's */
	EV_DATA,
	EV_END,
	EV_BROKEN,
	EV_REVOKED, /* the key in use was revoked */
};

/* Whatever it points to is valid during the step only. */
struct event {
	enum event_kind kind;
	union {
		const struct proto_permit *permit;
		const struct proto_deny *deny;
		const struct proto_models_rep *models;
		const struct proto_verdict *verdict;
		const struct proto_reply_head *reply_head;
		const struct proto_end *end;
		struct span data;
		struct {
			enum reason reason;
			bool sent; /* the provider may have seen the request */
		} broken;
	};
};

struct request_limits {
	uint64_t idle_ms, head_ms, body_ms, authorize_ms, scan_ms, reply_ms, stall_ms, linger_ms;
	uint64_t stream_bytes_max;
};

/* What all requests of a worker share. */
struct requests {
	struct list in_state[N_REQUEST_STATES]; /* each in order of deadline */
	uint64_t wait_ms[N_REQUEST_STATES];
	size_t n;
	uint64_t now_us, unix_s; /* kept current by the adapters */
	bool draining;
	struct request_limits limits;
	struct proxies trusted;
	struct peers *peers;
	struct lane *lane;
	struct audit_client *audit;
	char id_prefix[20];
	uint64_t id_count;
	char date[HTTP_DATE_BYTES];
	uint64_t date_s;
	uint64_t by_status[600]; /* answers, for metrics; [0] is what was cut before any */
	uint64_t cut, tokens_in, tokens_out;
	struct http_head head;   /* scratch of one step */
	struct splices *splices; /* likewise */
};

/* What the head said. */
struct request_ask {
	struct endpoint_match endpoint;
	bool has_endpoint, http11, bodiless, keep_alive, expect_continue;
	size_t n_fields, fields_bytes; /* packed, at the front of `words`; the credential follows */
	size_t model_at, model_bytes;  /* the model's raw text in the body */
};

/* What authd said. */
struct request_plan {
	bool permitted;
	uint64_t guard;
	struct http_limit limit;
	struct buf bytes; /* the grant, then the packed routes */
	size_t grant_bytes, n_routes, route;
};

/* What will be recorded. */
struct request_record {
	uint64_t begun_us;
	char id[REQUEST_ID_BYTES_MAX + 1];
	char address[PROXIES_ADDRESS_BYTES];
	char tenant[65], principal[65], model[257], provider[65], credential[65];
	unsigned status; /* of the head that was made; 0: none */
	enum reason reason;
	uint64_t retry_ms;
	const char *note; /* what the classifier did, or NULL */
	struct usage usage;
	uint8_t digest[32];
	bool has_digest;
};

struct request {
	struct requests *all;
	struct client *client;
	struct list in_state;
	enum request_state state;
	uint64_t deadline_ms;
	bool stepping, gone; /* a step is running; the client is not there any more */

	struct buf in;     /* sent by the client and not yet taken, beyond `fresh` */
	struct span fresh; /* bytes of the current EV_INPUT */
	struct http_scan scan;
	struct http_body framing;
	struct body body;
	struct buf words;
	struct request_ask ask;
	struct request_plan plan;
	struct call {
		struct ipc_conn *conn; /* NULL: no question is open */
		uint64_t id;
	} call;
	struct upstream upstream;
	bool stream, stream_done; /* the answer is an event stream; its last event has come */
	struct sse sse;
	struct usage_tail tail;
	struct reply reply;
	struct request_record record;
};

/* `all` zeroed but for what its user fills in: limits, trusted, peers, lane, audit, now_us, unix_s. 0 or -ENOMEM. */
MUST_USE int requests_init(struct requests *all, const uint8_t boot[16], unsigned worker);
void requests_deinit(struct requests *all);
/* Sends EV_TIMEOUT to all whose time is over. */
void requests_expire(struct requests *all);
/* The next deadline in milliseconds, UINT64_MAX when there is none. */
uint64_t requests_next_ms(const struct requests *all);
/* Refuses what comes from now on, and ends idle connections. */
void requests_shutdown(struct requests *all);
/* authd says that a key was revoked: cuts what it has in flight. */
void requests_revoke(struct requests *all, struct span principal);
/* Prometheus text, appended. */
void requests_metrics(const struct requests *all, char *to, size_t cap);
const char *request_state_name(enum request_state state);
/* The state graph for people, as Graphviz text. */
void request_graph(void (*line)(const char *from, const char *to));

/* Starts the machine of a new connection in AWAIT. */
void request_init(struct request *r, struct requests *all, struct client *client);
void request_deinit(struct request *r);
/* The only way in. After it the client may have been closed. */
void request_event(struct request *r, const struct event *ev);
/* EV_INPUT with its bytes. */
void request_input(struct request *r, struct span bytes);
