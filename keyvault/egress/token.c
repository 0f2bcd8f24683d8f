/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/token.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "keyvault/egress/egress.h"
#include "keyvault/egress/token_call.h"

#define TOKEN_TAKE_MS  20000 /* longer than a lease lasts */
#define TOKEN_PUT_MS   15000
#define TOKEN_AGAIN_MS 1000
#define TOKEN_HELD_MS  3600000
/* When another is got while this one still serves, and when it serves no more: parts of its life, bounded. */
#define TOKEN_RENEW_MS_MAX 300000
#define TOKEN_STALE_MS_MAX 30000

enum token_state {
	TOKEN_TAKE, /* asked the core */
	TOKEN_CALL, /* asked the service */
	TOKEN_PUT,  /* told the core */
	TOKEN_HELD, /* there is no core to tell */
};

struct token {
	struct credential_cache *cache;
	struct credential *credential; /* a reference */
	struct list in_cache;
	enum token_state state;
	uint64_t lease, version, life_ms, began_us, ipc_id;
	uint64_t again_ms, until_ms; /* HELD: when it is put again, and given up */
	struct token_call *call;
	struct secret secret;         /* of the lease */
	struct secret token, renewed; /* what came of it */
};

static void token_put(struct token *t);

/* ---- the end ---- */

static void token_free(struct token *t)
{
	struct credential *c = t->credential;

	list_unlink(&t->in_cache);
	secret_open(t->cache->arena);
	secret_free(t->cache->arena, &t->secret);
	secret_free(t->cache->arena, &t->token);
	secret_free(t->cache->arena, &t->renewed);
	secret_close(t->cache->arena);
	c->token = NULL;
	free(t);
}

static void token_end(struct token *t, struct credential_key *key, enum reason why)
{
	struct credential *c = t->credential;

	token_free(t);
	credential_note_token(c, key, why);
	egress_note_end(c->cache->ctx);
	credential_unref(c);
}

void token_cancel(struct token *t)
{
	struct credential *c = t->credential;

	if (t->call)
		token_call_cancel(t->call);
	if (t->state == TOKEN_TAKE || t->state == TOKEN_PUT)
		ipc_forget(ipc_edge_conn(t->cache->keyvault), t->ipc_id);
	token_free(t);
	credential_unref(c);
}

void token_cancel_of(struct credential_cache *cache, struct span id)
{
	list_for_each_safe (it, &cache->tokens) {
		struct token *t = container_of(it, struct token, in_cache);
		if (span_eq_str(id, t->credential->id))
			token_cancel(t);
	}
}

void token_cancel_all(struct credential_cache *cache)
{
	while (!list_empty(&cache->tokens))
		token_cancel(container_of(cache->tokens.next, struct token, in_cache));
}

/* The arena is open. The token may be another worker's, who may be captured: it goes into our heads as it is. */
static void token_end_with(struct token *t, const struct proto_token *m)
{
	uint64_t now_ms = ipc_now_ms(t->cache->pool_env->ipc);
	struct credential_key *key = NULL;
	enum reason why = span_is_printable(m->token, '!')
				  ? credential_key_new(t->cache, t->credential->scheme, m->token, &key)
				  : REASON_TOKEN_INVALID;

	if (why == REASON_NONE) {
		key->serial = m->serial;
		key->born_ms = now_ms;
		key->renew_ms = now_ms + m->life_ms - MIN(m->life_ms / 4, (uint64_t)TOKEN_RENEW_MS_MAX);
		key->stale_ms = now_ms + m->life_ms - MIN(m->life_ms / 8, (uint64_t)TOKEN_STALE_MS_MAX);
	}
	token_end(t, key, why);
}

/* What the core says may be any reason; those that are no failure are not believed. */
static enum reason token_reason(const struct proto_desc *desc, const void *msg)
{
	if (desc->type == PROTO_TOKEN_NONE) {
		uint64_t reason = ((const struct proto_token_none *)msg)->reason;
		return reason > REASON_NONE && reason < N_REASONS ? (enum reason)reason : REASON_INTERNAL;
	}
	if (desc->type == PROTO_REFUSED && span_eq_str(((const struct proto_refused *)msg)->reason, "sealed"))
		return REASON_VAULT_SEALED;
	return REASON_NO_CREDENTIAL;
}

/* ---- put ---- */

/* The credential is gone or was replaced by an operator. Anything else may be otherwise in a moment: a core that has
 * just started has not heard of the credential. */
static bool token_is_final(const struct proto_desc *desc, const void *msg)
{
	return desc->type != PROTO_REFUSED || span_eq_str(((const struct proto_refused *)msg)->reason, "rollback");
}

static void token_hold(struct token *t)
{
	t->state = TOKEN_HELD;
	t->again_ms = ipc_now_ms(t->cache->pool_env->ipc) + TOKEN_AGAIN_MS;
}

static void token_on_put(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct token *t = ctx;

	if (fd >= 0)
		(void)close(fd);
	if (outcome == IPC_REPLY && desc->type == PROTO_TOKEN) {
		token_end_with(t, msg);
		return;
	}
	bool final = outcome == IPC_REPLY && token_is_final(desc, msg);
	if (final || !t->renewed.p) {
		token_end(t, NULL, outcome == IPC_REPLY ? token_reason(desc, msg) : REASON_VAULT_SEALED);
		return;
	}
	token_hold(t);
	credential_note_token(t->credential, NULL, REASON_TOKEN_NOT_STORED);
}

static void token_put(struct token *t)
{
	struct proto_token_put put = {.credential = span_str(t->credential->id),
				      .lease = t->lease,
				      .version = t->version,
				      .life_ms = t->life_ms,
				      .token = span_of(t->token.p, t->token.len),
				      .secret = span_of(t->renewed.p, t->renewed.len)};

	secret_open(t->cache->arena);
	t->state = TOKEN_PUT;
	int r = ipc_call(ipc_edge_conn(t->cache->keyvault), PROTO_TOKEN_PUT, &put, -1, TOKEN_PUT_MS, token_on_put, t,
			 &t->ipc_id);
	secret_close(t->cache->arena);
	if (r == 0)
		return;
	token_hold(t);
	if (!t->renewed.p)
		token_end(t, NULL, REASON_VAULT_SEALED);
}

/* ---- call ---- */

static void token_fail(struct token *t, enum reason why)
{
	struct proto_token_fail fail = {.credential = span_str(t->credential->id), .lease = t->lease, .reason = why};

	if (ipc_send(ipc_edge_conn(t->cache->keyvault), PROTO_TOKEN_FAIL, 0, &fail) == IPC_E_FULL)
		ipc_drop(ipc_edge_conn(t->cache->keyvault), "does not read");
	token_end(t, NULL, why);
}

static bool token_copy(struct token *t, struct secret *to, struct span from)
{
	if (credential_alloc(t->cache, from.len, to))
		return false;
	memcpy(to->p, from.p, from.len);
	return true;
}

static bool token_same(struct span a, const struct secret *b)
{
	return a.len == b->len && secret_eq(a.p, b->p, a.len);
}

/* The new secret, when the service gave another refresh token than the one used. */
static bool token_renew(struct token *t, struct span refresh)
{
	const struct auth_scheme *scheme = t->credential->scheme;
	struct secret secret = SECRET_NULL;

	if (refresh.len == 0 || !scheme->renew)
		return true;
	if (credential_alloc(t->cache, TOKEN_BYTES_MAX, &secret))
		return false;
	struct text text = TEXT_OF(secret.p, secret.len);
	bool ok = scheme->renew(span_of(t->secret.p, t->secret.len), refresh, &text);
	if (ok && !token_same(text_span(&text), &t->secret))
		ok = token_copy(t, &t->renewed, text_span(&text));
	secret_free(t->cache->arena, &secret);
	return ok;
}

static void token_on_called(void *ctx, const struct token_call_end *end)
{
	struct token *t = ctx;
	struct egress *eg = t->cache->ctx;
	enum reason why = end->why;

	t->call = NULL;
	egress_record_token(eg, t->credential, end->status, why, t->began_us);
	if (why != REASON_NONE)
		log_event(&eg->daemon.log, LOG_TOKEN_FAILED, LOG_STR("credential", t->credential->id),
			  LOG_SPAN("host", t->credential->binding.token_host), LOG_U64("status", end->status),
			  LOG_STR("error", end->error), LOG_STR("reason", reason_row(why)->code));
	else if (!token_copy(t, &t->token, end->answer.token) || !token_renew(t, end->answer.refresh))
		why = REASON_OVERLOADED;
	if (why != REASON_NONE) {
		token_fail(t, why);
		return;
	}
	t->life_ms = end->answer.life_s * 1000;
	t->until_ms = ipc_now_ms(t->cache->pool_env->ipc) + TOKEN_HELD_MS;
	token_put(t);
}

/* ---- take ---- */

/* The arena is open. */
static void token_lease(struct token *t, const struct proto_token_lease *m)
{
	enum reason why = REASON_OVERLOADED;

	t->state = TOKEN_CALL;
	t->lease = m->lease;
	t->version = m->version;
	t->began_us = ipc_now_us(t->cache->pool_env->ipc);
	if (token_copy(t, &t->secret, m->secret))
		why = token_call_start(t->credential, m->secret, token_on_called, t, &t->call);
	if (why != REASON_NONE)
		token_fail(t, why);
}

static void token_on_taken(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct token *t = ctx;

	if (fd >= 0)
		(void)close(fd);
	if (outcome != IPC_REPLY)
		token_end(t, NULL, outcome == IPC_LOST ? REASON_VAULT_SEALED : REASON_TOKEN_UNAVAILABLE);
	else if (desc->type == PROTO_TOKEN)
		token_end_with(t, msg);
	else if (desc->type == PROTO_TOKEN_LEASE)
		token_lease(t, msg);
	else
		token_end(t, NULL, token_reason(desc, msg));
}

int token_start(struct credential *c)
{
	struct token *t = calloc(1, sizeof(*t));
	struct proto_token_take take = {.credential = span_str(c->id), .serial = c->key ? c->key->serial : 0};

	assert(!c->token);
	if (!t)
		return TOKEN_E_DOWN;
	*t = (struct token){.cache = c->cache, .state = TOKEN_TAKE};
	list_init(&t->in_cache);
	if (ipc_call(ipc_edge_conn(c->cache->keyvault), PROTO_TOKEN_TAKE, &take, -1, TOKEN_TAKE_MS, token_on_taken, t,
		     &t->ipc_id)) {
		free(t);
		return TOKEN_E_DOWN;
	}
	t->credential = credential_ref(c);
	c->token = t;
	list_push(&c->cache->tokens, &t->in_cache);
	egress_wake(c->cache->ctx);
	return 0;
}

/* ---- all of them ---- */

void token_resume(struct credential_cache *cache)
{
	list_for_each_safe (it, &cache->tokens) {
		struct token *t = container_of(it, struct token, in_cache);
		struct proto_token_hold hold = {
			.credential = span_str(t->credential->id), .lease = t->lease, .version = t->version};
		if (t->state == TOKEN_HELD)
			token_put(t);
		else if (t->state == TOKEN_CALL &&
			 ipc_send(ipc_edge_conn(cache->keyvault), PROTO_TOKEN_HOLD, 0, &hold) < 0)
			token_cancel(t);
	}
}

bool token_tick(struct credential_cache *cache, uint64_t now_ms)
{
	list_for_each_safe (it, &cache->tokens) {
		struct token *t = container_of(it, struct token, in_cache);
		if (t->call)
			token_call_tick(t->call, now_ms);
		else if (t->state == TOKEN_HELD && now_ms >= t->until_ms)
			token_end(t, NULL, REASON_TOKEN_NOT_STORED);
		else if (t->state == TOKEN_HELD && now_ms >= t->again_ms)
			token_put(t);
	}
	return !list_empty(&cache->tokens);
}
