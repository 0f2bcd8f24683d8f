/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/token_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static char peers[] = "abcdefgh";

void *token_peer(char name)
{
	return &peers[name - 'a'];
}

static void say(struct token_world *w, const char *text)
{
	assert_true(strlen(w->said) + strlen(text) + 2 < sizeof(w->said));
	if (w->said[0])
		strcat(w->said, " ");
	strcat(w->said, text);
}

static void on_token(void *ctx, struct tokens_waiter to, const struct tokens_entry *e, uint64_t life_ms)
{
	struct token_world *w = ctx;
	char text[64];

	secret_open(w->arena);
	(void)snprintf(text, sizeof(text), "%c=%.*s/%llu", *(char *)to.peer, (int)e->token.len, (char *)e->token.p,
		       (unsigned long long)life_ms);
	secret_close(w->arena);
	say(w, text);
}

static enum reason on_lease(void *ctx, struct tokens_waiter to, const struct tokens_entry *e)
{
	struct token_world *w = ctx;
	char text[64];

	(void)snprintf(text, sizeof(text), "%c:lease", *(char *)to.peer);
	say(w, text);
	assert_ptr_equal(e->holder, to.peer);
	assert_true(e->lease > w->lease);
	w->lease = e->lease;
	return w->lease_fails;
}

static void on_none(void *ctx, struct tokens_waiter to, enum reason why)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%c:%s", *(char *)to.peer, reason_row(why)->code);
	say(ctx, text);
}

static void on_store(void *ctx, const struct tokens_entry *e)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "store:%.*s", (int)e->blob_len, (const char *)e->blob);
	say(ctx, text);
}

static const struct tokens_out out = {on_token, on_lease, on_none, on_store};

int token_setup(void **state)
{
	struct token_world *w = calloc(1, sizeof(*w));

	assert_int_equal(secret_arena_new(ARENA_BYTES, &w->arena), 0);
	tokens_init(&w->tokens, w->arena, &out, w);
	w->now_ms = 5000;
	w->unix_ms = UNIX_MS;
	*state = w;
	return 0;
}

int token_teardown(void **state)
{
	struct token_world *w = *state;

	tokens_close(&w->tokens);
	assert_int_equal(w->tokens.n, 0);
	assert_int_equal(secret_arena_used(w->arena), 0); /* no token outlives its entry */
	secret_arena_free(w->arena);
	free(w);
	return 0;
}

void token_expect(struct token_world *w, const char *said)
{
	assert_string_equal(w->said, said);
	w->said[0] = 0;
}

int token_take_of(struct token_world *w, struct span id, bool rotating, char who, uint64_t serial)
{
	return tokens_take(&w->tokens, id, rotating, serial, (struct tokens_waiter){token_peer(who), ++w->asked},
			   w->unix_ms, w->now_ms);
}

void token_take(struct token_world *w, char who, uint64_t serial)
{
	assert_int_equal(token_take_of(w, ID, false, who, serial), 0);
}

void token_take_once(struct token_world *w, char who)
{
	assert_int_equal(token_take_of(w, ID, true, who, 0), 0);
}

int token_put(struct token_world *w, char who, uint64_t lease, uint64_t life_ms, const char *token, const char *blob)
{
	secret_open(w->arena);
	int r = tokens_put(&w->tokens, ID, lease, life_ms, span_str(token), span_str(blob), 7,
			   (struct tokens_waiter){token_peer(who), ++w->asked}, w->unix_ms, w->now_ms);
	secret_close(w->arena);
	return r;
}

void token_give_up(struct token_world *w, char who, uint64_t lease, enum reason why)
{
	tokens_fail(&w->tokens, ID, lease, why, token_peer(who), w->now_ms);
}

const struct tokens_entry *token_entry(struct token_world *w)
{
	assert_int_equal(w->tokens.n, 1);
	return container_of(w->tokens.all.next, struct tokens_entry, in_tokens);
}

bool token_pass(struct token_world *w, uint64_t ms)
{
	w->now_ms += ms;
	return tokens_tick(&w->tokens, w->now_ms);
}
