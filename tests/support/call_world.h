/* SPDX-License-Identifier: Apache-2.0 */
/* A call to a token service, of which a test is pool, connection and service. */
#pragma once

#include "keyvault/egress/token_call.h"

#define SECRET "client_secret=hush"

struct call_world {
	struct secret_arena *arena;
	struct pool_env env;
	struct credential_cache cache;
	struct credential credential;
	struct upstream upstream;
	struct token_call *call;
	uint64_t now_ms;
	int pool_says, watch_says;
	struct pool_waiter *waiter;
	struct pool *pool;
	bool fresh;
	unsigned forgotten, returned, ended;
	bool kept;
	int watched;
	/* the service: takes `room` bytes before it wants to be waited for, then says `write_says` */
	size_t room;
	int write_says;
	char sent[32768];
	size_t sent_len;
	bool pending;
	char *answer;
	size_t answer_len, at, piece;
	int read_says; /* when all of the answer was read */
	struct token_call_end end;
	char token[64], refresh[64], error[TOKEN_ERROR_BYTES + 1];
};

/* For cmocka; the second proves that whatever became of the call, all is given back. */
int call_setup(void **state);
int call_teardown(void **state);
enum reason call_start_with(struct call_world *w, const char *secret);
void call_start(struct call_world *w);
void call_connect(struct call_world *w);
/* The service says this; then `says`. */
void call_answer(struct call_world *w, const char *text, int says);
void call_answer_json(struct call_world *w, unsigned status, const char *json);
/* It has ended so, once, and is forgotten for the next one. */
void call_expect_end(struct call_world *w, enum reason why, unsigned status);
