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

#include "common/err.h"
#include "keyvault/egress/permit.h"

void credential_cache_init(struct credential_cache *c, struct secret_arena *arena, struct ipc_edge *keyvault,
			   const struct pool_env *pool_env, credential_trust *trust, void *ctx)
{
	*c = (struct credential_cache){
		.arena = arena, .keyvault = keyvault, .pool_env = pool_env, .trust = trust, .ctx = ctx};
	list_init(&c->all);
}

void credential_unref(struct credential *c)
{
	assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	assert(c->state == CREDENTIAL_RETIRED && list_empty(&c->waiters));
	secret_open(c->cache->arena);
	scrub_deinit(&c->scrub);
	secret_close(c->cache->arena);
	if (c->pooled)
		pool_deinit(&c->pool);
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

/* The only place where a credential ends. What it still holds goes with the last reference. */
static void credential_retire(struct credential *c, enum reason why)
{
	if (c->state == CREDENTIAL_RETIRED)
		return;
	c->state = CREDENTIAL_RETIRED;
	list_unlink(&c->in_cache);
	c->cache->n--;
	secret_open(c->cache->arena);
	if (c->secret.p)
		secret_free(c->cache->arena, &c->secret);
	secret_close(c->cache->arena);
	if (c->pooled)
		pool_close(&c->pool, why);
	credential_answer(c, why);
	credential_unref(c);
}

/* RFC 9110 field-content, without the bytes above ASCII that no key has. */
static bool credential_secret_ok(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x20 || s.p[i] >= 0x7f)
			return false;
	return s.len > 0 && s.len <= SCRUB_SECRET_BYTES_MAX;
}

/* The arena is open: the message lies in it. */
static enum reason credential_take(struct credential *c, const struct proto_unsealed *u)
{
	if (u->binding.len > sizeof(c->binding_bytes) || !credential_secret_ok(u->secret))
		return REASON_NO_CREDENTIAL;
	memcpy(c->binding_bytes, u->binding.p, u->binding.len);
	if (proto_unpack_record(&proto_binding_desc, span_of(c->binding_bytes, u->binding.len), &c->binding) ||
	    !permit_binding_sane(&c->binding) || !span_eq_str(c->binding.credential, c->id))
		return REASON_BINDING_MISMATCH;
	struct tls_ctx *ctx = c->cache->trust(c->cache->ctx, c->binding.provider, c->binding.host, c->binding.port);
	if (!ctx)
		return REASON_BINDING_MISMATCH;
	if (secret_alloc(c->cache->arena, u->secret.len, &c->secret))
		return REASON_OVERLOADED;
	memcpy(c->secret.p, u->secret.p, u->secret.len);
	if (scrub_init(&c->scrub, c->cache->arena, &u->secret, 1))
		return REASON_OVERLOADED;
	pool_init(&c->pool, c->cache->pool_env, ctx, c->binding.host, (uint16_t)c->binding.port);
	c->pooled = true;
	return REASON_NONE;
}

static enum reason credential_refusal(const struct proto_refused *r)
{
	return span_eq_str(r->reason, "sealed") ? REASON_VAULT_SEALED : REASON_NO_CREDENTIAL;
}

static void credential_on_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg,
				int fd)
{
	struct credential *c = ctx;
	enum reason why = REASON_VAULT_SEALED; /* no core, no vault: 503 and try again */

	if (fd >= 0)
		(void)close(fd);
	if (c->state == CREDENTIAL_ASKING) {
		if (outcome == IPC_REPLY && desc->type == PROTO_UNSEALED)
			why = credential_take(c, msg);
		else if (outcome == IPC_REPLY && desc->type == PROTO_REFUSED)
			why = credential_refusal(msg);
		if (why == REASON_NONE) {
			c->state = CREDENTIAL_READY;
			credential_answer(c, REASON_NONE);
		} else {
			if (why == REASON_OVERLOADED)
				log_event(c->cache->pool_env->log, LOG_ARENA_FULL, LOG_STR("credential", c->id));
			credential_retire(c, why);
		}
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

static int credential_ask(struct credential_cache *cache, struct span id, struct credential **ret_credential)
{
	struct proto_unseal unseal = {.credential = id};

	if (cache->n >= CREDENTIALS_MAX || id.len >= sizeof((*ret_credential)->id))
		return CREDENTIAL_E_FULL;
	struct credential *c = calloc(1, sizeof(*c));
	if (!c)
		return CREDENTIAL_E_DOWN;
	c->cache = cache;
	c->refs = 2; /* the cache and the call */
	memcpy(c->id, id.p, id.len);
	list_init(&c->waiters);
	list_init(&c->in_cache);
	if (ipc_call(ipc_edge_conn(cache->keyvault), PROTO_UNSEAL, &unseal, -1, CREDENTIAL_DEADLINE_MS,
		     credential_on_reply, c, NULL)) {
		free(c);
		return CREDENTIAL_E_DOWN;
	}
	list_push(&cache->all, &c->in_cache);
	cache->n++;
	*ret_credential = c;
	return 0;
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
	c->refs++;
	*ret_credential = c;
	if (c->state == CREDENTIAL_READY)
		return 0;
	list_push(&c->waiters, &w->in_credential);
	return CREDENTIAL_E_WAIT;
}

void credential_forget(struct credential_waiter *w)
{
	if (w->in_credential.next)
		list_unlink(&w->in_credential);
}

void credential_drop(struct credential_cache *cache, struct span id)
{
	struct credential *c = credential_find(cache, id);

	if (c)
		credential_retire(c, REASON_NO_CREDENTIAL);
}

void credential_drop_all(struct credential_cache *cache, enum reason why)
{
	while (!list_empty(&cache->all))
		credential_retire(container_of(cache->all.next, struct credential, in_cache), why);
}

bool credential_tick(struct credential_cache *cache, uint64_t now_ms)
{
	bool busy = false;

	list_for_each (it, &cache->all) {
		struct credential *c = container_of(it, struct credential, in_cache);
		if (!c->pooled)
			continue;
		pool_tick(&c->pool, now_ms);
		busy |= c->pool.n > 0;
	}
	return busy;
}
