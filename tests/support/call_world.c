/* SPDX-License-Identifier: Apache-2.0 */
/* Pool and TLS as stand-ins, defined in place of theirs; the rest is what the egress runs. */
#include "tests/support/call_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- stand-ins ---- */

static struct call_world *world_of(const struct credential *c)
{
	return c->cache->ctx;
}

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	return ((const struct call_world *)ipc)->now_ms;
}

int credential_alloc(struct credential_cache *c, size_t len, struct secret *ret_secret)
{
	return secret_alloc(c->arena, len, ret_secret);
}

struct credential *credential_ref(struct credential *c)
{
	c->refs++;
	return c;
}

void credential_unref(struct credential *c)
{
	c->refs--;
}

int pool_take(struct pool *p, struct pool_waiter *waiter, bool fresh, struct upstream **ret_upstream)
{
	struct call_world *w = world_of(container_of(p, struct credential, token_pool));

	(void)ret_upstream;
	w->waiter = waiter;
	w->fresh = fresh;
	return w->pool_says;
}

void pool_forget(struct pool *p, struct pool_waiter *waiter)
{
	struct call_world *w = world_of(container_of(p, struct credential, token_pool));

	(void)waiter;
	w->forgotten++;
}

void pool_give_back(struct upstream *u, bool keep)
{
	struct call_world *w = container_of(u, struct call_world, upstream);

	w->returned++;
	w->kept = keep;
}

int upstream_watch(struct upstream *u, int events)
{
	struct call_world *w = container_of(u, struct call_world, upstream);

	w->watched = events;
	return w->watch_says;
}

bool tls_pending(const struct tls *t)
{
	return ((const struct call_world *)t)->pending;
}

int tls_write(struct tls *t, struct span bytes, size_t *ret_len)
{
	struct call_world *w = (struct call_world *)t;
	size_t n = MIN(bytes.len, w->room);

	if (n == 0)
		return w->write_says;
	memcpy(w->sent + w->sent_len, bytes.p, n);
	w->sent_len += n;
	w->room -= n;
	*ret_len = n;
	return 0;
}

int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct call_world *w = (struct call_world *)t;
	size_t n = MIN(MIN(w->answer_len - w->at, w->piece), cap);

	if (n == 0)
		return w->read_says;
	memcpy(to, w->answer + w->at, n);
	w->at += n;
	*ret_len = n;
	return 0;
}

/* ---- the world ---- */

int call_setup(void **state)
{
	struct call_world *w = calloc(1, sizeof(*w));

	assert_int_equal(secret_arena_new(1 << 18, &w->arena), 0);
	w->now_ms = 1000;
	w->env.ipc = (struct ipc *)w;
	w->cache = (struct credential_cache){.arena = w->arena, .pool_env = &w->env, .ctx = w};
	w->credential = (struct credential){.cache = &w->cache, .refs = 1, .scheme = &auth_oauth_client};
	w->credential.binding = (struct proto_binding){.auth = PROTO_AUTH_OAUTH_CLIENT,
						       .client_id = SPAN_LIT("me"),
						       .auth_scope = SPAN_LIT("a b"),
						       .token_host = SPAN_LIT("t.test"),
						       .token_port = 8443,
						       .token_path = SPAN_LIT("/token")};
	w->upstream.tls = (struct tls *)w;
	w->pool_says = POOL_E_WAIT;
	w->room = w->piece = SIZE_MAX;
	w->read_says = TLS_E_READ;
	*state = w;
	return 0;
}

/* Whatever became of the call: all is given back. */
int call_teardown(void **state)
{
	struct call_world *w = *state;

	assert_int_equal(w->credential.refs, 1);
	assert_int_equal(secret_arena_used(w->arena), 0);
	secret_arena_free(w->arena);
	free(w->answer);
	free(w);
	return 0;
}

static void on_done(void *ctx, const struct token_call_end *end)
{
	struct call_world *w = ctx;

	w->ended++;
	w->end = *end;
	w->call = NULL;
	(void)snprintf(w->error, sizeof(w->error), "%s", end->error);
	(void)snprintf(w->token, sizeof(w->token), "%.*s", SPAN_ARG(end->answer.token));
	(void)snprintf(w->refresh, sizeof(w->refresh), "%.*s", SPAN_ARG(end->answer.refresh));
}

enum reason call_start_with(struct call_world *w, const char *secret)
{
	secret_open(w->arena);
	enum reason why = token_call_start(&w->credential, span_str(secret), on_done, w, &w->call);
	secret_close(w->arena);
	return why;
}

void call_start(struct call_world *w)
{
	assert_int_equal(call_start_with(w, SECRET), REASON_NONE);
	assert_non_null(w->call);
}

void call_connect(struct call_world *w)
{
	w->waiter->ready(w->waiter, &w->upstream, REASON_NONE);
}

/* The service says this; then `says`. */
void call_answer(struct call_world *w, const char *text, int says)
{
	free(w->answer);
	w->answer = strdup(text);
	w->answer_len = strlen(text);
	w->at = 0;
	w->read_says = says;
	w->upstream.on_event(w->upstream.ctx, false);
}

void call_answer_json(struct call_world *w, unsigned status, const char *json)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 %u X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", status,
		       strlen(json), json);
	call_answer(w, text, TLS_E_READ);
}

void call_expect_end(struct call_world *w, enum reason why, unsigned status)
{
	assert_int_equal(w->ended, 1);
	assert_string_equal(reason_row(w->end.why)->code, reason_row(why)->code);
	assert_int_equal(w->end.status, status);
	assert_int_equal(w->forgotten, 1);
	w->ended = w->forgotten = w->returned = 0;
}
