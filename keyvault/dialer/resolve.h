/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, by DNS alone, with c-ares on the loop. /etc/resolv.conf is read when the resolver is made and
 * never again; /etc/hosts is not asked: an operator says `connect_to`.
 */
#pragma once

#include <uv.h>

#include "keyvault/dialer/policy.h"

#define RESOLVE_ADDRESSES_MAX 8

struct resolver;
struct resolve; /* one question */

enum resolve_err {
	RESOLVE_E_FAILED = 1, /* no such name, no answer, or none in time */
};

/* `addresses`: `n` of them, at least one, when `answer` is 0, IPv6 and IPv4 in turn, at most RESOLVE_ADDRESSES_MAX;
 * else RESOLVE_E_*. May be called from within resolve_ask(). */
typedef void resolve_done(void *ctx, int answer, const struct policy_address *addresses, size_t n);

/* `servers`: NULL for the system's, else comma-separated, with :port if need be; for tests. 0 or negative. */
MUST_USE int resolver_new(uv_loop_t *loop, uint64_t timeout_ms, const char *servers, struct resolver **ret_resolver);
/* Nothing may be asked any more; questions that are open are forgotten. Memory goes when the loop has closed the
 * handles. */
void resolver_close(struct resolver *r);

/* 0 or -ENOMEM. *ret_question serves resolve_forget() until `done` is called. */
MUST_USE int resolve_ask(struct resolver *r, const char *host, resolve_done *done, void *ctx,
			 struct resolve **ret_question);
/* `done` will not be called. NULL is fine. */
void resolve_forget(struct resolve *q);
