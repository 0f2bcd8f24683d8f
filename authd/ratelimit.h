/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact sliding-window limits, in memory.
 *
 * A request at time t is admitted when fewer than `limit` requests were admitted in (t - 60 s, t]. Refused requests
 * leave no trace, so a client that keeps knocking is let in at the same moment as one that waits. Times are
 * milliseconds of a clock that does not go back.
 *
 * A window keeps one run (time, count) for each millisecond in which something was admitted, so it needs at most 60,000
 * runs whatever its limit is, and no more than was admitted. Windows idle for a whole window are dropped. What is
 * admitted is lost with the process: after a restart, each key starts with an empty window.
 */
#pragma once

#include "common/base.h"

#define RATELIMIT_WINDOW_MS 60000
/* Of all windows together, in bytes of runs; beyond it new admissions are refused as RATELIMIT_E_FULL. */
#define RATELIMIT_BYTES_MAX (64U << 20)

struct ratelimit;

enum ratelimit_err {
	RATELIMIT_E_FULL = 1, /* too many active keys for RATELIMIT_BYTES_MAX: refuse, it is not the caller's fault */
};

/* `remaining` and `reset_ms` describe the window as it is after the call. */
struct ratelimit_verdict {
	bool admitted;
	uint64_t remaining;
	uint64_t reset_ms;       /* until the oldest admission leaves the window; 0: the window is empty */
	uint64_t retry_after_ms; /* refused: until one would be admitted; 0: admitted */
};

/* 0 or -ENOMEM. */
MUST_USE int ratelimit_new(size_t bytes_max, struct ratelimit **ret_limits);
struct ratelimit *ratelimit_free(struct ratelimit *r);

/* What ratelimit_take() would say about one more request of `who`, without taking. `limit` >= 1. */
void ratelimit_look(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms,
		    struct ratelimit_verdict *ret_verdict);
/* Takes one if the limit allows. 0 (the verdict says whether), RATELIMIT_E_FULL or -ENOMEM. `who`: 1 to 64 bytes. */
MUST_USE int ratelimit_take(struct ratelimit *r, struct span who, uint64_t limit, uint64_t now_ms,
			    struct ratelimit_verdict *ret_verdict);

size_t ratelimit_windows(const struct ratelimit *r);
size_t ratelimit_bytes(const struct ratelimit *r);
