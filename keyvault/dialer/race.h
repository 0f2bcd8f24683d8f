/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy Eyeballs (RFC 8305 section 5): addresses are tried in their order, the next one when the last has failed or has
 * taken a quarter of a second; the first connection wins, if it leads where it was sent, and the others are closed.
 */
#pragma once

#include <uv.h>

#include "common/address.h"

#define RACE_ATTEMPTS_MAX 8
#define RACE_STAGGER_MS   250
#define RACE_ATTEMPT_MS   5000
#define RACE_MS           10000

struct race;

/* `fd` >= 0: connected to `address`, the receiver's to close. Else -1, the address tried last and its negative errno.
 */
typedef void race_done(void *ctx, int fd, const struct address *address, int error);

/* Copies the first RACE_ATTEMPTS_MAX of `n` > 0 addresses. `done` is called once, not from within. 0 or -ENOMEM. */
MUST_USE int race_start(uv_loop_t *loop, const struct address *addresses, size_t n, uint16_t port, race_done *done,
			void *ctx, struct race **ret_race);
/* `done` will not be called. NULL is fine. */
void race_cancel(struct race *race);
