/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane: streams of this worker's requests, side by side on one connection to this worker's egress.
 *
 * A stream begins with OPEN and ends with END, BROKEN or our CANCEL; when the egress goes away each of them breaks. Its
 * id is never used again: the low bits say where it is kept, the high ones count. The egress may send 64 KiB beyond
 * what was credited.
 */
#pragma once

#include "common/base.h"

struct daemon;
struct ipc;
struct lane;
struct proto_open;
struct requests;

#define UPSTREAM_WINDOW_BYTES 65536

/* A stream, part of its request. id 0: none. */
struct upstream {
	struct lane *lane;
	uint64_t id;
	uint64_t received, credited;
	bool head;
};

enum upstream_err {
	UPSTREAM_E_DOWN = 1, /* no egress, or it reads too slowly */
};

/* Keeps a link to egress `worker`. `all` gets the events. 0 or negative. */
MUST_USE int lane_new(struct ipc *ipc, struct requests *all, unsigned worker, void (*changed)(void *ctx), void *ctx,
		      struct lane **ret_lane);
struct lane *lane_free(struct lane *l);
bool lane_up(const struct lane *l);

/* `fd`: the body's, consumed in every case, or -1. 0 or UPSTREAM_E_DOWN; then nothing was opened. */
MUST_USE int upstream_open(struct lane *l, struct upstream *u, const struct proto_open *open, int fd);
/* Of what was received only `waiting` bytes have not left for the client. */
void upstream_credit(struct upstream *u, size_t waiting);
/* Nobody waits any more. Legal when there is no stream. */
void upstream_cancel(struct upstream *u);
