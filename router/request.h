/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a client's connection, one request after the other, as a machine that only receives events (request.c).
 * Sans I/O: bytes move in client.c, questions to other daemons in peers.c, the provider's answer in upstream.c. There
 * is one struct request per connection; it is used again for each request on it.
 */
#pragma once

#include "common/json_scan.h"
#include "router/body.h"
#include "router/endpoint.h"
#include "router/http_body.h"
#include "router/reply.h"
#include "router/requests.h"
#include "router/sse.h"
#include "router/upstream.h"
#include "router/usage.h"

struct client;

#define REQUEST_ID_BYTES_MAX 64

/* What the head said. */
struct request_ask {
	struct endpoint_match endpoint;
	bool has_endpoint, http11, bodiless, keep_alive, expect_continue, identified;
	size_t n_fields, fields_bytes;      /* packed, at the front of `words`; the credential follows */
	size_t model_at, model_bytes;       /* the model's raw text in the body */
	char id[ENDPOINT_ID_BYTES_MAX + 1]; /* of the request that this one is about */
	const char *methods;                /* that its path takes, when it is none of them; else NULL */
};

/* What authd said. */
struct request_plan {
	bool permitted, renewed; /* renewed: its grant was, which happens once */
	uint64_t call;           /* of the AUTHORIZE, which was not denied; 0: there was none */
	uint64_t guard;
	struct http_limit limit;
	struct buf bytes; /* the packed routes, then the grant */
	size_t routes_bytes, n_routes, route;
};

/* What will be recorded. */
struct request_record {
	uint64_t begun_us;
	char id[REQUEST_ID_BYTES_MAX + 1];
	char address[PROXIES_ADDRESS_BYTES];
	char tenant[65], principal[65], model[257], provider[65], credential[65], subject[33];
	uint8_t sealed[128]; /* the address, by authd */
	size_t sealed_len;
	unsigned status; /* of the head that was made; 0: none */
	enum reason reason;
	uint64_t retry_ms;
	const char *note; /* what the classifier did, or NULL */
	struct usage usage;
	uint64_t price_in, price_out; /* common/price.h */
	uint8_t digest[32];
	bool has_digest;
	bool promised; /* to the log: audit_promise() */
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
	bool stream, stream_finished, stream_done; /* of events; the model has finished; its last event has come */
	struct sse sse;
	struct usage_tail tail;
	struct reply reply;
	struct request_record record;
};

/* Starts the machine of a new connection in AWAIT. */
void request_init(struct request *r, struct requests *all, struct client *client);
void request_deinit(struct request *r);
/* The only way in. After it the client may have been closed. */
void request_event(struct request *r, const struct event *ev);
/* EV_INPUT with its bytes. */
void request_input(struct request *r, struct span bytes);
