/* SPDX-License-Identifier: Apache-2.0 */
/* One router process: its clients, its lane, and the clock that ends what takes too long. */
#pragma once

#include "common/audit_client.h"
#include "common/config.h"
#include "common/daemon.h"
#include "router/client.h"
#include "router/peers.h"
#include "router/request.h"

struct worker {
	struct daemon daemon;
	struct config config;
	struct requests all;
	struct door *door;
	uv_timer_t clock;
	uint64_t clock_ms, drain_ms; /* when the clock rings; when the stage of draining ends. 0: not */
	bool ending;                 /* in the second stage of draining: clients were told */
};

/* The parts of the start sequence, in order. 0 or negative. */
MUST_USE int worker_configure(struct worker *w);
MUST_USE int worker_connect(struct worker *w);
MUST_USE int worker_serve_operator(struct worker *w);
MUST_USE int worker_open_door(struct worker *w);
/* Hooks of the daemon. */
void worker_update_ready(void *ctx);
void worker_drain(void *ctx);
void worker_metrics(void *ctx, char *to, size_t cap);
/* Ends everything; the last of it goes in daemon_deinit(), which this calls. */
void worker_stop(struct worker *w);
