/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange, of which a test is everything around it: grant, credential, log, connection, what goes out and in. */
#pragma once

#include "keyvault/egress/egress.h"

#define STREAM 7

/* The fakes have no context to be given. What each says, and what it was asked. */
extern struct exchange_fake {
	uint64_t now_ms;
	enum reason permit, binding;
	bool early, spare, no_log;
	int get, take, watch, send_says, write_says, ipc_says; /* CREDENTIAL_E_*, POOL_E_*, TLS_E_* */
	enum reason send_why;
	bool pending;
	unsigned gets, forgotten, unrefs, rejects; /* of the credential */
	unsigned keys;                             /* referenced */
	unsigned takes, pool_forgotten, returned;  /* of connections */
	bool full;                                 /* no more of them may be made */
	bool fresh, kept;
	unsigned keeps, drops; /* connections kept; buffers of what is sent given up */
	unsigned notes, promises_forgotten, replies_over;
	uint8_t digest[32]; /* of the last answer, for the record */
	unsigned intents, uses, refusals, counts, ended, dropped, woken, pumped, resumed;
	void (*recorded)(struct exchange *x, bool durable);
	/* at the next pump */
	enum reason pump;
	bool head, over, refused;
	/* what the router was told */
	unsigned ends, brokens;
	struct proto_broken broken;
} fake;

struct exchange_world {
	struct egress eg;
	struct lane lane;
	struct credential credential;
	struct upstream upstream;
};

/* For cmocka; the second proves that whatever became of it, all is given back. */
int exchange_setup(void **state);
int exchange_teardown(void **state);
/* OPEN, with a body of two bytes. The exchange, NULL when it is over already. */
struct exchange *begin(struct exchange_world *w);
/* A new one that waits in this state, everything before having gone well. */
struct exchange *begin_in(struct exchange_world *w, enum exchange_state state);
void connection_says(struct exchange_world *w, bool writable);
/* BROKEN, once, and nothing is left. */
void expect_broken(struct exchange_world *w, enum reason why, bool sent);
