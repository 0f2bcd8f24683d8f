/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list is searched from the front and a hit moves to the front: a deployment has a handful of credentials and one
 * or two of them get nearly all requests.
 *
 * UNSEALED arrives in a buffer of the arena, and the arena is open while its handler runs; from there the secret is
 * copied once, into a piece of its own. A credential whose binding or secret the egress cannot use safely (control
 * characters, an origin that is not a configured provider) is not used at all.
 */
#include "keyvault/egress/credential.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/binding_auth.h"
#include "keyvault/egress/permit.h"
#include "keyvault/egress/token.h"

#define CREDENTIAL_SECOND_MS \
	60000 /* a token that was got after a refusal is kept so long, whatever the provider says */
#define CREDENTIAL_AGAIN_MS   5000 /* after a token could not be renewed early */
#define CREDENTIAL_LOADING_MS 50   /* before a core that has just started is asked again */

void credential_cache_init(struct credential_cache *c, struct secret_arena *arena, struct ipc_edge *keyvault,
			   struct pool_env *pool_env, credential_trust *trust, void *ctx)
{
	*c = (struct credential_cache){
		.arena = arena, .keyvault = keyvault, .pool_env = pool_env, .trust = trust, .ctx = ctx};
	list_init(&c->all);
	list_init(&c->tokens);
}

/* ---- keys ---- */

static bool credential_evict(struct credential_cache *cache);

int credential_alloc(struct credential_cache *c, size_t len, struct secret *ret_secret)
{
	int r;

	do
		r = secret_alloc(c->arena, len, ret_secret);
	while (r && credential_evict(c));
	return r;
}

static enum reason credential_key_make(struct secret_arena *arena, const struct auth_scheme *scheme, struct span secret,
				       struct credential_key **ret_key)
{
	struct span parts[AUTH_PARTS_MAX];
	struct credential_key *key = calloc(1, sizeof(*key));

	if (!key)
		return REASON_OVERLOADED;
	key->arena = arena;
	key->refs = 1;
	if (secret_alloc(arena, secret.len, &key->secret)) {
		free(key);
		return REASON_OVERLOADED;
	}
	memcpy(key->secret.p, secret.p, secret.len);
	if (scrub_init(&key->scrub, arena, parts, scheme->live(secret, parts))) {
		(void)credential_key_unref(key);
		return REASON_OVERLOADED;
	}
	*ret_key = key;
	return REASON_NONE;
}

enum reason credential_key_new(struct credential_cache *c, const struct auth_scheme *scheme, struct span secret,
			       struct credential_key **ret_key)
{
	enum reason why;

	do
		why = credential_key_make(c->arena, scheme, secret, ret_key);
	while (why != REASON_NONE && credential_evict(c));
	return why;
}

static void credential_key_wipe(struct credential_key *key)
{
	secret_open(key->arena);
	if (key->secret.p)
		secret_free(key->arena, &key->secret);
	secret_close(key->arena);
}

struct credential_key *credential_key_ref(struct credential *c)
{
	assert(c->state == CREDENTIAL_READY && c->key);
	c->key->refs++;
	return c->key;
}

struct credential_key *credential_key_unref(struct credential_key *key)
{
	if (!key || --key->refs > 0)
		return NULL;
	credential_key_wipe(key);
	secret_open(key->arena);
	scrub_deinit(&key->scrub);
	secret_close(key->arena);
	free(key);
	return NULL;
}

/* ---- one credential ---- */

struct credential *credential_ref(struct credential *c)
{
	c->refs++;
	return c;
}

void credential_unref(struct credential *c)
{
	assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	assert(c->state == CREDENTIAL_RETIRED && list_empty(&c->waiters) && !c->key && !c->token);
	if (c->pooled)
		pool_deinit(&c->pool);
	if (c->token_pooled) {
		pool_close(&c->token_pool, REASON_NO_CREDENTIAL);
		pool_deinit(&c->token_pool);
	}
	free(c);
}

static void credential_answer(struct credential *c, enum reason why)
{
	for (struct list *first; (first = list_first(&c->waiters));) {
		struct credential_waiter *w = container_of(first, struct credential_waiter, in_credential);
		list_unlink(&w->in_credential);
		w->ready(w, why);
	}
}

/* The only place where a credential ends. What it still holds goes with the last reference. A token that is on the way
 * while the core is away stays on it: its service may have taken the old refresh token already. */
static void credential_retire(struct credential *c, enum reason why, bool core_lost)
{
	if (c->state == CREDENTIAL_RETIRED)
		return;
	c->state = CREDENTIAL_RETIRED;
	list_unlink(&c->in_cache);
	c->cache->n--;
	if (c->key)
		credential_key_wipe(c->key);
	c->key = credential_key_unref(c->key);
	if (c->pooled)
		pool_close(&c->pool, why);
	if (c->token && !core_lost)
		token_cancel(c->token);
	credential_answer(c, why);
	credential_unref(c);
}

/* The one that nobody has used for longest, so that the core is asked for it the next time. False: all are in use. */
static bool credential_evict(struct credential_cache *cache)
{
	for (struct list *it = cache->all.prev; it != &cache->all; it = it->prev) {
		struct credential *c = container_of(it, struct credential, in_cache);
		if (c->state != CREDENTIAL_READY || c->refs > 1)
			continue;
		credential_retire(c, REASON_NO_CREDENTIAL, false);
		return true;
	}
	return false;
}

/* RFC 9110 field-content, without the bytes above ASCII that no key has. */
static bool credential_secret_ok(struct span s)
{
	return span_is_printable(s, ' ') && s.len > 0 && s.len <= SCRUB_SECRET_BYTES_MAX;
}

static enum reason credential_take_secret(struct credential *c, struct span secret)
{
	if (binding_takes_token(&c->binding))
		return secret.len == 0 ? REASON_NONE : REASON_BINDING_MISMATCH;
	if (!credential_secret_ok(secret) || !c->scheme->sane(secret))
		return REASON_NO_CREDENTIAL;
	return credential_key_new(c->cache, c->scheme, secret, &c->key);
}

/* The arena is open: the message lies in it. */
static enum reason credential_take(struct credential *c, const struct proto_unsealed *u)
{
	const struct proto_binding *b = &c->binding;

	if (u->binding.len > sizeof(c->binding_bytes))
		return REASON_NO_CREDENTIAL;
	memcpy(c->binding_bytes, u->binding.p, u->binding.len);
	if (proto_unpack_record(&proto_binding_desc, span_of(c->binding_bytes, u->binding.len), &c->binding) ||
	    !permit_binding_sane(b) || !span_eq_str(b->credential, c->id))
		return REASON_BINDING_MISMATCH;
	struct tls_ctx *ctx = c->cache->trust(c->cache->ctx, b);
	if (!ctx)
		return REASON_BINDING_MISMATCH;
	c->scheme = auth_scheme_of(b->auth);
	enum reason why = credential_take_secret(c, u->secret);
	if (why != REASON_NONE)
		return why;
	pool_init(&c->pool, c->cache->pool_env, ctx, b->host, (uint16_t)b->port, b->pins);
	c->pooled = true;
	if (binding_takes_token(b)) {
		pool_init(&c->token_pool, c->cache->pool_env, ctx, b->token_host, (uint16_t)b->token_port,
			  b->token_pins);
		c->token_pooled = true;
	}
	return REASON_NONE;
}

static enum reason credential_refusal(const struct proto_refused *r)
{
	return span_eq_str(r->reason, "sealed") || span_eq_str(r->reason, "loading") ? REASON_VAULT_SEALED
										     : REASON_NO_CREDENTIAL;
}

/* Bound. A secret can be sent at once; a token must be got first. */
static void credential_begin(struct credential *c)
{
	c->state = CREDENTIAL_READY;
	if (c->key)
		credential_answer(c, REASON_NONE);
	else if (token_start(c))
		credential_answer(c, REASON_VAULT_SEALED);
}

/* A core that has just started may not have heard from authd what there is. */
static bool credential_is_early(struct credential *c, const struct proto_desc *desc, const void *msg)
{
	uint64_t now_ms = ipc_now_ms(c->cache->pool_env->ipc);

	if (desc->type != PROTO_REFUSED || !span_eq_str(((const struct proto_refused *)msg)->reason, "loading") ||
	    now_ms >= c->until_ms)
		return false;
	c->again_ms = now_ms + CREDENTIAL_LOADING_MS;
	return true;
}

static void credential_on_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
				int fd)
{
	struct credential *c = ctx;
	enum reason why = REASON_VAULT_SEALED; /* no core, no vault: 503 and try again */

	if (fd >= 0)
		(void)close(fd);
	if (c->state == CREDENTIAL_ASKING && !(outcome == IPC_REPLY && credential_is_early(c, desc, msg))) {
		if (outcome == IPC_REPLY && desc->type == PROTO_UNSEALED)
			why = credential_take(c, msg);
		else if (outcome == IPC_REPLY && desc->type == PROTO_REFUSED)
			why = credential_refusal(msg);
		if (why == REASON_OVERLOADED)
			log_event(c->cache->pool_env->log, LOG_ARENA_FULL, LOG_STR("credential", c->id));
		if (why == REASON_NONE)
			credential_begin(c);
		else
			credential_retire(c, why, false);
	}
	credential_unref(c); /* the call's */
}

static struct credential *credential_find(struct credential_cache *cache, struct span id)
{
	list_for_each (it, &cache->all) {
		struct credential *c = container_of(it, struct credential, in_cache);
		if (!span_eq_str(id, c->id))
			continue;
		list_unlink(it);
		list_push(cache->all.next, it); /* before the first */
		return c;
	}
	return NULL;
}

/* 0 or CREDENTIAL_E_DOWN. */
static int credential_call(struct credential *c)
{
	struct proto_unseal unseal = {.credential = span_str(c->id)};

	if (ipc_call(ipc_edge_conn(c->cache->keyvault), PROTO_UNSEAL, &unseal, -1, CREDENTIAL_DEADLINE_MS,
		     credential_on_reply, c, NULL))
		return CREDENTIAL_E_DOWN;
	c->refs++; /* the call's */
	return 0;
}

static int credential_ask(struct credential_cache *cache, struct span id, struct credential **ret_credential)
{
	if ((cache->n >= CREDENTIALS_MAX && !credential_evict(cache)) || id.len >= sizeof((*ret_credential)->id))
		return CREDENTIAL_E_FULL;
	struct credential *c = calloc(1, sizeof(*c));
	if (!c)
		return CREDENTIAL_E_DOWN;
	c->cache = cache;
	c->refs = 1; /* the cache's */
	c->until_ms = ipc_now_ms(cache->pool_env->ipc) + CREDENTIAL_DEADLINE_MS;
	memcpy(c->id, id.p, id.len);
	list_init(&c->waiters);
	list_init(&c->in_cache);
	if (credential_call(c)) {
		free(c);
		return CREDENTIAL_E_DOWN;
	}
	list_push(cache->all.next, &c->in_cache);
	cache->n++;
	*ret_credential = c;
	return 0;
}

/* One that can be sent now. A token that is to be renewed soon is renewed meanwhile. */
static bool credential_has_key(struct credential *c)
{
	uint64_t now_ms = ipc_now_ms(c->cache->pool_env->ipc);

	if (!c->key || c->key->serial == 0)
		return c->key != NULL;
	if (now_ms >= c->key->renew_ms && !c->token && token_start(c))
		c->key->renew_ms = now_ms + CREDENTIAL_AGAIN_MS;
	return now_ms < c->key->stale_ms;
}

void credential_refuse(struct credential *c, const struct credential_key *key)
{
	uint64_t now_ms = ipc_now_ms(c->cache->pool_env->ipc);

	if (c->state != CREDENTIAL_READY || c->key != key || key->serial == 0 ||
	    (key->second && now_ms - key->born_ms < CREDENTIAL_SECOND_MS))
		return;
	c->key->stale_ms = 0;
	c->refused = true;
}

void credential_note_token(struct credential *c, struct credential_key *key, enum reason why)
{
	if (c->state != CREDENTIAL_READY) {
		(void)credential_key_unref(key);
		return;
	}
	if (key) {
		key->second = c->refused;
		c->refused = false;
		(void)credential_key_unref(c->key);
		c->key = key;
	} else if (c->key) {
		c->key->renew_ms = ipc_now_ms(c->cache->pool_env->ipc) + CREDENTIAL_AGAIN_MS;
	}
	credential_answer(c, key ? REASON_NONE : why);
}

int credential_get(struct credential_cache *cache, struct span id, struct credential_waiter *w,
		   struct credential **ret_credential)
{
	struct credential *c = credential_find(cache, id);

	list_init(&w->in_credential);
	if (!c) {
		int r = credential_ask(cache, id, &c);
		if (r)
			return r;
	}
	if (c->state == CREDENTIAL_READY && !credential_has_key(c) && !c->token && token_start(c))
		return CREDENTIAL_E_DOWN;
	*ret_credential = credential_ref(c);
	if (c->state == CREDENTIAL_READY && credential_has_key(c))
		return 0;
	list_push(&c->waiters, &w->in_credential);
	return CREDENTIAL_E_WAIT;
}

void credential_forget(struct credential_waiter *w)
{
	if (w->in_credential.next)
		list_unlink(&w->in_credential);
}

/* One that is being asked for comes after this in the core's answers, and so is what is in use now. */
void credential_drop(struct credential_cache *cache, struct span id)
{
	struct credential *c = credential_find(cache, id);

	if (c && c->state != CREDENTIAL_ASKING) {
		c->replaced = true;
		credential_retire(c, REASON_NO_CREDENTIAL, false);
	}
	token_cancel_of(cache, id);
}

void credential_reject(struct credential *c)
{
	const struct proto_credential_rejected m = {.credential = span_str(c->id), .version = c->binding.version};

	if (c->state != CREDENTIAL_READY)
		return; /* somebody was quicker */
	if (ipc_send(ipc_edge_conn(c->cache->keyvault), PROTO_CREDENTIAL_REJECTED, 0, &m))
		return; /* the next 401 says it */
	c->replaced = true;
	credential_retire(c, REASON_NO_CREDENTIAL, false);
}

void credential_drop_all(struct credential_cache *cache, enum reason why, bool core_lost)
{
	while (!list_empty(&cache->all))
		credential_retire(container_of(cache->all.next, struct credential, in_cache), why, core_lost);
	if (!core_lost)
		token_cancel_all(cache);
}

static void credential_ask_again(struct credential *c)
{
	c->again_ms = 0;
	if (credential_call(c))
		credential_retire(c, REASON_VAULT_SEALED, false);
}

bool credential_tick(struct credential_cache *cache, uint64_t now_ms)
{
	bool busy = token_tick(cache, now_ms);

	list_for_each_safe (it, &cache->all) {
		struct credential *c = container_of(it, struct credential, in_cache);
		if (c->again_ms && now_ms >= c->again_ms) {
			credential_ask_again(c); /* it may be gone */
			busy = true;
			continue;
		}
		busy |= c->again_ms > 0;
		if (!c->pooled)
			continue;
		pool_tick(&c->pool, now_ms);
		if (c->token_pooled)
			pool_tick(&c->token_pool, now_ms);
		busy |= c->pool.n > 0 || (c->token_pooled && c->token_pool.n > 0);
	}
	return busy;
}
