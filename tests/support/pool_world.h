/* SPDX-License-Identifier: Apache-2.0 */
/* A pool, of which a test is the dialer, TLS, the loop and time. */
#pragma once

#include "keyvault/egress/pool.h"

#define POOL_MAX   3
#define IDLE_MS    5000
#define CONNECT_MS 2000

struct tls {
	int handshake;
	bool idle, quiet; /* what it says when it is asked */
};

/* The fakes have no context to be given. */
extern struct pool_fake {
	uint64_t now_ms;
	int call_says, watch_says, tls_says;
	bool dialer_closes; /* its connection is lost, which nobody was told of yet */
	unsigned dials, forgotten, closed, recorded, asked_idle;
	struct pool_fake_call {
		ipc_reply *reply;
		void *ctx;
	} calls[16];
	struct pool_fake_close {
		uv_handle_t *handle;
		uv_close_cb cb;
	} closing[16];
	struct tls *tls; /* the last one */
	unsigned n_tls;
	int watched;
} fake;

struct env {
	struct pool_env env;
	struct log log;
	struct pool pool;
};

struct waiter {
	struct pool_waiter w;
	unsigned told;
	struct upstream *upstream;
	enum reason why;
};

/* For cmocka; the second proves that nothing is left. */
int pool_setup(void **state);
int pool_teardown(void **state);
struct waiter a_waiter(void);
/* It waits, as it must. */
void wait_in(struct env *e, struct waiter *w);
/* It was told that there is none, once. */
void expect_failed(const struct waiter *w, enum reason why);
/* The dialer's answer to the dial of this number, from 1. */
void dialer_says(unsigned number, enum ipc_outcome outcome, enum proto_type type, const void *msg, int fd);
void dialed(unsigned number);
void refused(unsigned number, enum reason why);
/* The loop tells of the socket. */
void happens(struct upstream *u, int status);
/* The handshake of the last connection ends so. */
void shakes(struct env *e, int says);
/* A busy one: from the beginning, and from those that are idle. */
struct upstream *connect_one(struct env *e);
struct upstream *take_idle(struct env *e);
