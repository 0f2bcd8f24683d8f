/* SPDX-License-Identifier: Apache-2.0 */
/* Core, call and credential as stand-ins, defined in place of theirs. */
#include "tests/support/way_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- stand-ins ---- */

static struct way_world *world_of(const void *any)
{
	return (struct way_world *)(uintptr_t)any;
}

uint64_t ipc_now_ms(const struct ipc *ipc)
{
	return world_of(ipc)->now_ms;
}

struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge)
{
	return (struct ipc_conn *)edge;
}

static void copy_text(char *to, size_t cap, struct span s)
{
	(void)snprintf(to, cap, "%.*s", SPAN_ARG(s));
}

int ipc_call(struct ipc_conn *conn, enum proto_type type, const void *msg, int fd, uint64_t deadline_ms,
	     ipc_reply *reply, void *ctx, uint64_t *ret_id)
{
	struct way_world *w = world_of(conn);

	assert_int_equal(fd, -1);
	assert_true(deadline_ms >= 15000 && deadline_ms <= 20000);
	if (w->call_says)
		return w->call_says;
	w->last = type;
	w->reply = reply;
	w->reply_ctx = ctx;
	*ret_id = ++w->asked;
	if (type == PROTO_TOKEN_TAKE) {
		w->take = *(const struct proto_token_take *)msg;
		return 0;
	}
	w->put = *(const struct proto_token_put *)msg;
	copy_text(w->put_token, sizeof(w->put_token), w->put.token);
	copy_text(w->put_secret, sizeof(w->put_secret), w->put.secret);
	return 0;
}

void ipc_forget(struct ipc_conn *conn, uint64_t id)
{
	assert_int_equal(id, world_of(conn)->asked);
	world_of(conn)->forgotten++;
}

int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	struct way_world *w = world_of(conn);

	assert_int_equal(id, 0);
	w->last = type;
	if (type == PROTO_TOKEN_FAIL)
		w->fail = *(const struct proto_token_fail *)msg;
	else
		w->hold = *(const struct proto_token_hold *)msg;
	return w->send_says;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	assert_non_null(why);
	world_of(conn)->dropped++;
}

enum reason token_call_start(struct credential *c, struct span secret, token_call_done *done, void *ctx,
			     struct token_call **ret_call)
{
	struct way_world *w = world_of(c->cache->ctx);

	copy_text(w->called_with, sizeof(w->called_with), secret);
	w->done = done;
	w->done_ctx = ctx;
	if (w->start_says != REASON_NONE)
		return w->start_says;
	w->calling = true;
	*ret_call = (struct token_call *)w;
	return REASON_NONE;
}

void token_call_cancel(struct token_call *call)
{
	world_of(call)->calling = false;
}

void token_call_tick(struct token_call *call, uint64_t now_ms)
{
	assert_int_equal(now_ms, world_of(call)->now_ms);
	world_of(call)->ticked++;
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

enum reason credential_key_new(struct credential_cache *c, const struct auth_scheme *scheme, struct span secret,
			       struct credential_key **ret_key)
{
	(void)c;
	if (secret.len == 0)
		return REASON_OVERLOADED;
	assert_ptr_equal(scheme, &auth_oauth_refresh);
	assert_true(span_eq_str(secret, "tok"));
	*ret_key = calloc(1, sizeof(**ret_key));
	return REASON_NONE;
}

void credential_note_token(struct credential *c, struct credential_key *key, enum reason why)
{
	struct way_world *w = world_of(c->cache->ctx);

	w->noted++;
	free(w->key);
	w->key = key;
	w->why = why;
}

void egress_record_token(struct egress *eg, const struct credential *c, unsigned status, enum reason why,
			 uint64_t began_us)
{
	assert_ptr_equal(c, &world_of(eg)->credential);
	assert_int_equal(began_us, 77);
	assert_true(why == REASON_NONE || status == 400);
	world_of(eg)->recorded++;
}

uint64_t ipc_now_us(struct ipc *ipc)
{
	(void)ipc;
	return 77;
}

void egress_wake(struct egress *eg)
{
	world_of(eg)->woken++;
}

void egress_note_end(struct egress *eg)
{
	assert_null(world_of(eg)->credential.token);
	world_of(eg)->noted_end++;
}

/* ---- the world ---- */

int way_setup(void **state)
{
	struct way_world *w = calloc(1, sizeof(*w));

	assert_int_equal(secret_arena_new(1 << 16, &w->eg.arena), 0);
	w->now_ms = 1000000;
	w->eg.daemon.log = (struct log){.daemon = "test", .level = LOG_LEVEL_ERROR + 1};
	w->eg.pool_env.ipc = (struct ipc *)w;
	w->cache = (struct credential_cache){
		.arena = w->eg.arena, .keyvault = (struct ipc_edge *)w, .pool_env = &w->eg.pool_env, .ctx = w};
	list_init(&w->cache.tokens);
	w->credential = (struct credential){.cache = &w->cache, .refs = 1, .scheme = &auth_oauth_refresh, .id = "id"};
	*state = w;
	return 0;
}

int way_teardown(void **state)
{
	struct way_world *w = *state;

	assert_true(list_empty(&w->cache.tokens));
	assert_null(w->credential.token);
	assert_int_equal(w->credential.refs, 1);
	assert_int_equal(secret_arena_used(w->eg.arena), 0);
	secret_arena_free(w->eg.arena);
	free(w->key);
	free(w);
	return 0;
}

void way_start(struct way_world *w)
{
	w->noted = 0;
	assert_int_equal(token_start(&w->credential), 0);
	assert_int_equal(w->last, PROTO_TOKEN_TAKE);
	assert_non_null(w->credential.token);
}

void way_core_says(struct way_world *w, enum proto_type type, const void *msg)
{
	ipc_reply *reply = w->reply;

	assert_non_null(reply);
	w->reply = NULL;
	secret_open(w->eg.arena);
	int fd = dup(STDERR_FILENO); /* which no answer should have */
	assert_true(fd >= 0);
	reply(w->reply_ctx, IPC_REPLY, proto_desc_of(type), msg, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	secret_close(w->eg.arena);
}

void way_core_says_token(struct way_world *w, const char *token, uint64_t life_ms)
{
	way_core_says(w, PROTO_TOKEN, &(struct proto_token){.serial = 5, .life_ms = life_ms, .token = span_str(token)});
}

void way_core_refuses(struct way_world *w, const char *reason)
{
	way_core_says(w, PROTO_REFUSED, &(struct proto_refused){.reason = span_str(reason)});
}

void way_core_is_silent(struct way_world *w, enum ipc_outcome outcome)
{
	ipc_reply *reply = w->reply;

	w->reply = NULL;
	reply(w->reply_ctx, outcome, NULL, NULL, -1);
}

void way_lease(struct way_world *w)
{
	way_start(w);
	way_core_says(w, PROTO_TOKEN_LEASE,
		      &(struct proto_token_lease){.lease = 9, .version = 3, .secret = SPAN_LIT("refresh_token=old")});
}

void way_service_says(struct way_world *w, enum reason why, const char *refresh)
{
	struct token_call_end end = {.why = why, .status = why == REASON_NONE ? 200 : 400, .error = "invalid_grant"};

	if (why == REASON_NONE)
		end.answer =
			(struct token_answer){.token = SPAN_LIT("tok"), .refresh = span_str(refresh), .life_s = 3600};
	w->calling = false;
	secret_open(w->eg.arena);
	w->done(w->done_ctx, &end);
	secret_close(w->eg.arena);
}

void way_expect_noted(struct way_world *w, enum reason why)
{
	assert_int_equal(w->noted, 1);
	assert_int_equal(w->key != NULL, why == REASON_NONE);
	assert_int_equal(w->why, why);
	w->noted = 0;
}

void way_expect_over(struct way_world *w, enum reason why)
{
	way_expect_noted(w, why);
	assert_null(w->credential.token);
	assert_int_equal(w->noted_end, 1);
	w->noted_end = 0;
}

void way_fill_arena(struct way_world *w, size_t least, struct secret *pieces, size_t n)
{
	size_t at = 0;

	for (size_t len = 32768; len >= least; len /= 2)
		while (at < n && !secret_alloc(w->eg.arena, len, &pieces[at]))
			at++;
	assert_true(at < n);
}

void way_free_all(struct way_world *w, struct secret *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pieces[i].p)
			secret_free(w->eg.arena, &pieces[i]);
}
