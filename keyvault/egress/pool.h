/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to one origin with one credential, and those who wait for one.
 *
 *   dialing -> handshake -> idle <-> busy -> closed
 *
 * A request takes an idle connection at once, or waits; whoever waits longest gets the next one that becomes free or
 * new. As many are dialled as there are waiters, up to connections_max. An idle connection on which the provider says
 * anything but a TLS ticket is discarded at once; before it is taken it is looked at once more.
 */
#pragma once

#include <uv.h>

#include "common/audit_client.h"
#include "common/ipc.h"
#include "common/log.h"
#include "keyvault/egress/tls.h"
#include "proto/reasons.h"

#define POOL_WAITERS_MAX 1024
#define POOL_LIFETIME_MS 600000
#define POOL_TRUST_MS    10 /* how long after an answer a connection needs no second look */
#define POOL_HOST_BYTES  254

/* What all pools of a process share. */
struct pool_env {
	uv_loop_t *loop;
	struct ipc *ipc;
	struct ipc_edge *dialer;
	const struct log *log;
	struct audit_client *audit;
	size_t connections_max; /* of one pool */
	uint64_t idle_ms, connect_timeout_ms;
	size_t total_max, total; /* connections of all pools: a descriptor each */
	struct list idle;        /* of struct upstream, in whatever pool: the one that has been so for longest first */
};

struct pool {
	struct pool_env *env;
	struct tls_ctx *tls_ctx;
	struct tls_session session;
	struct span pins; /* the binding's */
	char host[POOL_HOST_BYTES];
	uint16_t port;
	struct list opening, idle, busy; /* of struct upstream */
	struct list waiters;             /* of struct pool_waiter */
	size_t n_opening, n, n_waiters;
	bool closed;
};

enum upstream_state { UPSTREAM_DIALING, UPSTREAM_HANDSHAKE, UPSTREAM_IDLE, UPSTREAM_BUSY, UPSTREAM_CLOSED };

/* A connection. Whoever holds it (busy) is told when it can go on. */
struct upstream {
	struct pool *pool;
	struct list in_pool, in_idle;
	enum upstream_state state;
	struct tls *tls;
	uv_poll_t poll;
	int fd, events;
	struct ipc_conn *dialer; /* DIALING: whom it was asked of; there as long as the call is, also while it closes */
	uint64_t dial_id, since_ms, born_ms;
	bool polled, reused;
	void (*on_event)(void *ctx, bool writable);
	void *ctx;
};

struct pool_waiter {
	struct list in_pool;
	/* Later, never from within pool_take(): a connection, or NULL and why. */
	void (*ready)(struct pool_waiter *w, struct upstream *u, enum reason why);
};

enum pool_err {
	POOL_E_WAIT = 1, /* `w` is queued: ready() will be called */
	POOL_E_FULL,     /* too many wait already, or there is no descriptor left */
	POOL_E_DOWN,     /* no dialer to ask, and nothing idle */
};

/* `pins` as in tls_new(); they live as long as the pool. */
void pool_init(struct pool *p, struct pool_env *env, struct tls_ctx *ctx, struct span host, uint16_t port,
	       struct span pins);
/* Closes what is idle or opening and answers all waiters with `why`; busy connections are the holders' to close. */
void pool_close(struct pool *p, enum reason why);
/* All connections must be gone. */
void pool_deinit(struct pool *p);

/* 0 and a busy connection, or POOL_E_*. `fresh`: not one that was used before. */
MUST_USE int pool_take(struct pool *p, struct pool_waiter *w, bool fresh, struct upstream **ret_upstream);
/* Idempotent. */
void pool_forget(struct pool *p, struct pool_waiter *w);
/* There may be no more connections, and none is opening: whoever waits, waits for another's. */
bool pool_is_full(const struct pool *p);
/* The holder has no more use for it. `keep`: it may serve the next request. */
void pool_give_back(struct upstream *u, bool keep);
/* Ends what has been opening or idle for too long. */
void pool_tick(struct pool *p, uint64_t now_ms);

/* What the holder waits for: UV_READABLE (as at first) or UV_WRITABLE. Costs two system calls when it changes. 0 or
 * negative. */
MUST_USE int upstream_watch(struct upstream *u, int events);
/* Nothing, until upstream_watch(). */
void upstream_pause(struct upstream *u);
