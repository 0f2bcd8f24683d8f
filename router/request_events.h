/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a request and the events that it receives: the tables that request.c is driven by. */
#pragma once

#include "proto/proto.h"
#include "proto/reasons.h"

/*
 * In the order of a request's life: the state, the limit in struct request_limits that bounds the stay, what the client
 * is told (or the log) when it is over, and the states that may follow.
 */
/* clang-format off */
#define REQUEST_STATES(S) \
	S(AWAIT,     idle_ms,      NONE,             TO(READ_HEAD) | TO(REFUSE) | TO(LINGER) | TO(CLOSED)) \
	S(READ_HEAD, head_ms,      TIMEOUT_REQUEST,  TO(READ_BODY) | TO(REFUSE) | TO(CLOSED)) \
	S(READ_BODY, body_ms,      TIMEOUT_REQUEST, \
		TO(IDENTIFY) | TO(AUTHORIZE) | TO(ANSWER) | TO(REFUSE) | TO(SETTLE)) \
	S(IDENTIFY,  authorize_ms, AUTHD_GONE,       TO(READ_BODY) | TO(REFUSE) | TO(SETTLE)) \
	S(AUTHORIZE, authorize_ms, AUTHD_GONE,       TO(SCAN) | TO(OPEN) | TO(ANSWER) | TO(REFUSE) | TO(SETTLE)) \
	S(SCAN,      scan_ms,      CLASSIFIER_GONE,  TO(OPEN) | TO(REFUSE) | TO(SETTLE)) \
	S(OPEN,      reply_ms,     UPSTREAM_TIMEOUT, TO(RENEW) | TO(RELAY) | TO(REFUSE) | TO(SETTLE)) \
	S(RENEW,     authorize_ms, AUTHD_GONE,       TO(OPEN) | TO(REFUSE) | TO(SETTLE)) \
	S(RELAY,     stall_ms,     UPSTREAM_TIMEOUT, TO(REFUSE) | TO(FLUSH) | TO(SETTLE)) \
	S(ANSWER,    stall_ms,     CLIENT_GONE,      TO(REFUSE) | TO(FLUSH)) \
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
	EV_SHUTDOWN, /* the worker ends: nothing new, and later nothing more of what is under way */
	EV_OVERLOAD, /* the connection is one too many */
	EV_PERMIT,   /* authd's answers */
	EV_DENY,
	EV_RENEWED,
	EV_MODELS,
	EV_RECEIPT,
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
		const struct proto_renewed *renewed;
		const struct proto_models_rep *models;
		const struct proto_receipt_rep *receipt;
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
