/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world around a router's requests, simulated: everything that the request machine calls is defined here instead of
 * in client.c, peers.c and upstream.c, with an authd, a classifier and an egress that answer late, refuse, break off,
 * start anew or say nothing. All chance comes from one seed, and the clock is the test's.
 */
#pragma once

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "router/client.h"
#include "router/request.h"
#include "router/test_request.h"

#define SIM_TOGETHER        24 /* connections alive at a time */
#define SIM_OUT_BYTES       (1U << 20)
#define SIM_PIECE_BYTES     512 /* that a client sends at a time, at most */
#define SIM_ANONYMOUS_BYTES 40  /* about half of the bodies: some are begun, some are asked about at once */

enum question { ASKS_NOTHING, ASKS_PERMIT, ASKS_RENEW, ASKS_MODELS, ASKS_RECEIPT, ASKS_SCAN };
enum stream_phase { STREAM_NONE, STREAM_HEAD, STREAM_DATA };

/* What one exchange with the provider will do. */
struct sim_stream {
	enum stream_phase phase;
	bool events, done; /* an event stream; its last event was sent */
	bool blank;        /* a plain one that began with white space */
	size_t left;       /* pieces to come */
	uint64_t sent, credit;
	uint64_t epoch; /* of the grant that it was opened with */
};

struct client {
	struct request request;
	struct sim_stream stream;
	enum question asks;
	bool alive, wants, dirty;
	unsigned renewals; /* of the request at hand */
	uint64_t call;     /* authd takes it to be under way */
	char in[8192];
	size_t in_at, in_len;
	uint8_t *out;
	size_t out_len;
};

struct sim {
	uint64_t seed;
	struct requests all;
	struct client clients[SIM_TOGETHER];
	size_t begun, closed, records, promises, settles, completes, cuts, refusals, renewals;
	uint8_t routes[512], events[64], json[64];
	size_t routes_len, events_len, json_len;
	uint64_t stream_id, epoch; /* epoch: of the egress */
	uint64_t calls;            /* the last that authd was asked about */
};

extern struct sim sim;

/* Below `n`. */
uint64_t chance(uint64_t n);
void world_init(uint64_t seed);
/* Something happens: to the machine comes this event; what was asked is answered; the provider goes on; the egress of
 * all starts anew. */
void world_tell(struct client *c, enum event_kind kind);
void world_answer(struct client *c);
void world_stream(struct client *c);
void world_restart_egress(void);
