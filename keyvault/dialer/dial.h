/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One DIAL: policy, addresses, connection. The addresses are got once, all of them are checked, and one that was
 * checked is connected: an answer of the DNS that changes between check and use changes nothing.
 */
#pragma once

#include "common/list.h"
#include "keyvault/dialer/resolve.h"
#include "proto/reasons.h"

#define DIALS_MAX       4096
#define DIAL_CONNECT_MS 10000
#define DIAL_STAGGER_MS 250 /* RFC 8305 5: before the next address is tried as well */

struct dialer {
	uv_loop_t *loop;
	struct policy policy;
	struct resolver *resolver;
	struct list dials;
	size_t n;
	uint64_t connected, denied, failed;
};

struct dial;

/* `fd` >= 0: connected, the receiver's to close, with the address as text. Else why not. Called once, not from within
 * dial_start(); not after dial_cancel(). */
typedef void dial_done(void *ctx, uint64_t id, int fd, const char *address, enum reason why);

/* 0 or -ENOMEM. `ctx` and `id` are the caller's. */
MUST_USE int dial_start(struct dialer *d, struct span host, uint64_t port, dial_done *done, void *ctx, uint64_t id);
/* All of `ctx`, or all when it is NULL: nobody waits for them any more. */
void dial_cancel(struct dialer *d, const void *ctx);
