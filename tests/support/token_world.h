/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's access tokens with workers that a test plays: letters, a waiter's id being how often anybody has asked.
 * What the core would send is written down as text.
 */
#pragma once

#include "keyvault/tokens.h"

#define ARENA_BYTES 16384
#define UNIX_MS     1700000000000ull
#define ID          SPAN_LIT("google")

struct token_world {
	struct secret_arena *arena;
	struct tokens tokens;
	uint64_t now_ms, unix_ms;
	char said[1024];
	uint64_t lease; /* the last one given */
	enum reason lease_fails;
	uint64_t asked;
};

/* For cmocka; the second proves that no token outlives its entry. */
int token_setup(void **state);
int token_teardown(void **state);
void *token_peer(char name);
/* What was said since this was asked last: "a:lease b=TOKEN/LIFE c:REASON store:BLOB". */
void token_expect(struct token_world *w, const char *said);
int token_take_of(struct token_world *w, struct span id, bool rotating, char who, uint64_t serial);
void token_take(struct token_world *w, char who, uint64_t serial);
/* Of a secret that is replaced by use. */
void token_take_once(struct token_world *w, char who);
int token_put(struct token_world *w, char who, uint64_t lease, uint64_t life_ms, const char *token, const char *blob);
void token_give_up(struct token_world *w, char who, uint64_t lease, enum reason why);
/* The only one. */
const struct tokens_entry *token_entry(struct token_world *w);
/* Time passes, then a tick: what it returns. */
bool token_pass(struct token_world *w, uint64_t ms);
