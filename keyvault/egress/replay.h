/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each route of a grant may be used once. authd numbers them: in one series of one epoch of the lane's edge key no
 * number occurs twice. So what must be remembered is a set of numbers that grow, and the answer is the one of IPsec: a
 * sliding window of bits (RFC 4303 3.4.3), as a ring that moves by whole words and shifts nothing (RFC 6479). What has
 * fallen out of the window is refused, used or not: nothing is ever forgotten to somebody's advantage, however long the
 * epoch lasts and whatever the clock does.
 *
 * A window for each of two series, since an authd that starts anew counts in a new one while requests that it permitted
 * before are on their way; and two more for renewed grants, which keep series and number of the epoch before. A series
 * older than these is out of the window like an old number.
 *
 * Memory: 256 KiB, of which one window, 64 KiB, is touched until the first restart of a neighbour. Sans I/O, no clock.
 */
#pragma once

#include "common/base.h"

/*
 * Between a grant's making and its use at least so many other routes may be used in the lane. That is a minute, as long
 * as a grant lives, at 8,700 a second, and half a minute at twice that; most are used within milliseconds.
 */
#define REPLAY_WORDS         ((size_t)1 << 13)         /* of a ring */
#define REPLAY_WINDOW_ROUTES ((REPLAY_WORDS - 1) * 64) /* the word of the greatest number may be nearly empty */

struct replay {
	uint64_t *bits; /* of all windows */
	struct replay_window {
		uint64_t series; /* 0: none yet */
		uint64_t last;   /* word of the greatest number seen, counted from number 0 on */
		uint64_t *ring;
	} windows[2][2]; /* [renewed][0: the newest series, 1: the one before] */
};

enum replay_err {
	REPLAY_E_USED = 1, /* this number was used before */
	REPLAY_E_OUTRUN,   /* it is so old that this is not known any more */
};

#define REPLAY_NULL ((struct replay){0})

/* 0 or -ENOMEM. */
MUST_USE int replay_init(struct replay *r);
void replay_deinit(struct replay *r);
/* Forgets all: the grants' key is gone. */
void replay_reset(struct replay *r);
/* Marks a use. All three come from an authenticated grant; `series` > 0. 0 or REPLAY_E_*. */
MUST_USE int replay_use(struct replay *r, bool renewed, uint64_t series, uint64_t number);
