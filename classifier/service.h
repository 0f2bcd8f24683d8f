/* SPDX-License-Identifier: Apache-2.0 */
/* The classifier as a process: the patterns, one edge, counters. One instance, on main's stack. */
#pragma once

#include "classifier/classify.h"
#include "common/daemon.h"
#include "common/ipc.h"

struct service {
	struct daemon daemon;
	struct classifier *classifier;
	struct ipc_edge *router, *admin;
	uv_prepare_t before_sleep;
	bool watched;                          /* the watchdog runs */
	uint64_t scans, late, bytes, findings; /* since start */
};

/* ---- dispatch.c ---- */

/* Serves the router of this lane and the administrator. 0 or negative. */
MUST_USE int service_serve(struct service *s);
/* A daemon.metrics function. */
void service_metrics(void *ctx, char *to, size_t cap);

/* ---- watchdog.c: work that does not end kills the process; its launcher starts it again ---- */

MUST_USE int service_watchdog_init(struct service *s);
void service_watchdog_deinit(struct service *s);
/* Before work on a text: at the latest WATCHDOG_S later the loop must be about to sleep. */
void service_watch(struct service *s);
