/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each route of a grant may be used once. This table remembers which were, for as long as the grants live, in memory of
 * a fixed size.
 *
 * Sans I/O. Time is monotonic: what counts is how long a grant has still to live when it is used.
 */
#pragma once

#include "common/base.h"

#define REPLAY_ROUTES_MAX      4
#define REPLAY_LIFETIME_MS_MAX 60000

struct replay {
	uint64_t *slots;
	size_t sweep;
};

enum replay_err {
	REPLAY_E_USED = 1, /* this route of this grant was used before */
	REPLAY_E_FULL,     /* no room to remember it, so it cannot be allowed */
};

#define REPLAY_NULL ((struct replay){0})

/* 0 or -ENOMEM. */
MUST_USE int replay_init(struct replay *r);
void replay_deinit(struct replay *r);
/* Forgets all: the grants' key is gone. */
void replay_reset(struct replay *r);
/* Marks a use. `route` < REPLAY_ROUTES_MAX, `lifetime_ms` <= REPLAY_LIFETIME_MS_MAX. 0 or REPLAY_E_*. */
MUST_USE int replay_use(struct replay *r, const uint8_t grant_id[16], unsigned route, uint64_t lifetime_ms,
			uint64_t now_ms);
