/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One DIAL: policy, addresses, connection. The addresses are got once, all of them are judged, and only what was judged
 * is connected: an answer of the DNS that changes between check and use changes nothing.
 */
#pragma once

#include "common/list.h"
#include "keyvault/dialer/policy.h"
#include "keyvault/dialer/race.h"
#include "keyvault/dialer/resolve.h"
#include "proto/reasons.h"

#define DIALS_MAX       4096
#define DIAL_HOST_BYTES 254 /* with NUL */

struct dialer {
	uv_loop_t *loop;
	struct policy policy;
	struct resolver *resolver;
	struct list dials;
	size_t n;
	uint64_t connected, denied, failed;
};

struct dial;

struct dial_end {
	int fd;             /* connected, the receiver's to close; or -1 */
	enum reason reason; /* why not */
	/* With `fd`, the address that it is connected to. Else the one that was refused or tried last, or "", and what
	 * an operator should know. Until the callback returns. */
	const char *address, *why;
};

/* Called once, not from within dial_start(); not after dial_cancel(). */
typedef void dial_done(void *ctx, uint64_t id, const struct dial_end *end);

/* 0 or -ENOMEM. `host` is copied; `ctx` and `id` are the caller's. */
MUST_USE int dial_start(struct dialer *d, struct span host, uint64_t port, dial_done *done, void *ctx, uint64_t id);
/* All of `ctx`, or all when it is NULL: nobody waits for them any more. */
void dial_cancel(struct dialer *d, const void *ctx);
