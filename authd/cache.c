/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/cache.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/list.h"

#define CACHE_BUCKETS 16384

_Static_assert(TOKEN_HMAC_BYTES == crypto_verify_32_BYTES, "compared whole");

/* `key` has one element in the set of known keys and none in the other. */
struct cache_entry {
	struct list in_bucket, in_order;
	uint64_t expires_ms;
	uint8_t hmac[TOKEN_HMAC_BYTES];
	bool known;
	struct store_key key[];
};

/* `order`: oldest answer first, which is also the first to expire. */
struct cache_set {
	struct list order;
	size_t n, max;
};

struct cache {
	struct list buckets[CACHE_BUCKETS];
	struct cache_set unknown, known;
	uint64_t generation;
};

int cache_new(size_t known_max, size_t unknown_max, struct cache **ret_cache)
{
	struct cache *c = calloc(1, sizeof(*c));

	assert(known_max > 0 && unknown_max > 0);
	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < CACHE_BUCKETS; i++)
		list_init(&c->buckets[i]);
	list_init(&c->known.order);
	list_init(&c->unknown.order);
	c->known.max = known_max;
	c->unknown.max = unknown_max;
	*ret_cache = c;
	return 0;
}

struct cache *cache_free(struct cache *c)
{
	if (c)
		cache_clear(c);
	free(c);
	return NULL;
}

static struct cache_set *cache_set(struct cache *c, bool known)
{
	return known ? &c->known : &c->unknown;
}

/* HMACs under a key that no client has are their own hash: nobody can aim them at one bucket. */
static struct list *cache_bucket(struct cache *c, const uint8_t *hmac)
{
	return &c->buckets[(hmac[0] | (size_t)hmac[1] << 8) % CACHE_BUCKETS];
}

static struct cache_entry *cache_entry(struct cache *c, const uint8_t *hmac)
{
	struct list *bucket = cache_bucket(c, hmac);

	list_for_each (it, bucket) {
		struct cache_entry *e = container_of(it, struct cache_entry, in_bucket);

		if (crypto_verify_32(e->hmac, hmac) == 0)
			return e;
	}
	return NULL;
}

static void cache_drop(struct cache *c, struct cache_entry *e)
{
	list_unlink(&e->in_bucket);
	list_unlink(&e->in_order);
	cache_set(c, e->known)->n--;
	free(e);
}

int cache_find(struct cache *c, const uint8_t hmac[TOKEN_HMAC_BYTES], uint64_t now_ms, const struct store_key **ret_key)
{
	struct cache_entry *e = cache_entry(c, hmac);

	if (e && now_ms >= e->expires_ms) {
		cache_drop(c, e);
		e = NULL;
	}
	if (!e)
		return CACHE_E_MISS;
	if (!e->known)
		return CACHE_E_UNKNOWN;
	*ret_key = e->key;
	return 0;
}

uint64_t cache_generation(const struct cache *c)
{
	return c->generation;
}

/* `key` NULL: nobody has this HMAC. */
static int cache_keep(struct cache *c, uint64_t generation, const uint8_t *hmac, const struct store_key *key,
		      uint64_t now_ms)
{
	struct cache_set *set = cache_set(c, key != NULL);
	struct cache_entry *e;

	if (generation != c->generation)
		return CACHE_E_STALE;
	e = malloc(sizeof(*e) + (key ? sizeof(*key) : 0));
	if (!e)
		return -ENOMEM;
	struct cache_entry *old = cache_entry(c, hmac);

	if (old)
		cache_drop(c, old); /* possibly of the other set */
	if (set->n == set->max)
		cache_drop(c, container_of(list_first(&set->order), struct cache_entry, in_order));
	e->expires_ms = now_ms + CACHE_TTL_MS;
	memcpy(e->hmac, hmac, TOKEN_HMAC_BYTES);
	e->known = key != NULL;
	if (key)
		*e->key = *key;
	list_push(cache_bucket(c, hmac), &e->in_bucket);
	list_push(&set->order, &e->in_order);
	set->n++;
	return 0;
}

int cache_put(struct cache *c, uint64_t generation, const struct store_key *key, uint64_t now_ms)
{
	return cache_keep(c, generation, key->hmac, key, now_ms);
}

int cache_put_unknown(struct cache *c, uint64_t generation, const uint8_t hmac[TOKEN_HMAC_BYTES], uint64_t now_ms)
{
	return cache_keep(c, generation, hmac, NULL, now_ms);
}

void cache_forget(struct cache *c, const uint8_t hmac[TOKEN_HMAC_BYTES])
{
	struct cache_entry *e = cache_entry(c, hmac);

	c->generation++;
	if (e)
		cache_drop(c, e);
}

void cache_clear(struct cache *c)
{
	c->generation++;
	list_for_each_safe (it, &c->known.order)
		cache_drop(c, container_of(it, struct cache_entry, in_order));
	list_for_each_safe (it, &c->unknown.order)
		cache_drop(c, container_of(it, struct cache_entry, in_order));
}

size_t cache_known(const struct cache *c)
{
	return c->known.n;
}

size_t cache_unknown(const struct cache *c)
{
	return c->unknown.n;
}
