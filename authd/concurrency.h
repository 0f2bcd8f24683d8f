/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many calls of a key are under way at a time, over all routers.
 *
 * A call begins with its permit and ends with the SETTLE of the router that asked, or with that router's connection: a
 * router that is gone has no calls. Only calls of keys with a limit are kept, so a router that never says SETTLE comes
 * no further than the limits of the keys that it was shown. Counts are lost with the process: after a restart, calls
 * that run on are not counted.
 */
#pragma once

#include "common/base.h"

#define CONCURRENCY_CALLS_MAX 262144 /* of all keys together */

struct concurrency;

enum concurrency_err {
	CONCURRENCY_E_LIMIT = 1, /* the key has that many */
	CONCURRENCY_E_FULL,      /* CONCURRENCY_CALLS_MAX: refuse, it is not the caller's fault */
};

/* 0 or -ENOMEM. */
MUST_USE int concurrency_new(size_t calls_max, struct concurrency **ret_calls);
struct concurrency *concurrency_free(struct concurrency *c);

/* A call of `who` (1 to 64 bytes), which may have `limit` (>= 1) at a time. `peer`: whoever asks, only compared;
 * `number`: the peer's own for this call. 0, CONCURRENCY_E_* or -ENOMEM. */
MUST_USE int concurrency_begin(struct concurrency *c, const void *peer, uint64_t number, struct span who,
			       uint64_t limit);
/* Nothing, when it is not known: of a key without a limit, or begun before the last restart. */
void concurrency_end(struct concurrency *c, const void *peer, uint64_t number);
/* All that it had ends. */
void concurrency_forget(struct concurrency *c, const void *peer);

size_t concurrency_calls(const struct concurrency *c);
