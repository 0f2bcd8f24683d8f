/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store said about a key, for 30 seconds: so that the hot path does not ask again and that clients in use
 * outlive a short outage of the store. After that time nobody knows, and authd says so (503), never that the key is
 * wrong.
 *
 * Two sets that cannot push each other out: keys that exist (10,000) and HMACs that nobody has (1,024), so that a flood
 * of well-formed inventions evicts only its like. Within a set the oldest answer goes first.
 *
 * Revocation: cache_forget() removes the entry and moves the generation on. Whoever asks the store notes the generation
 * before, and an answer with an older one is not kept: a look-up in flight cannot bring a revoked key back.
 */
#pragma once

#include "authd/store.h"

#define CACHE_TTL_MS      30000
#define CACHE_KNOWN_MAX   10000
#define CACHE_UNKNOWN_MAX 1024

struct cache;

enum cache_err {
	CACHE_E_MISS = 1, /* ask the store */
	CACHE_E_UNKNOWN,  /* the store said a moment ago that there is no such key */
	CACHE_E_STALE,    /* not kept: something was forgotten since the question was asked */
};

/* 0 or -ENOMEM. */
MUST_USE int cache_new(size_t known_max, size_t unknown_max, struct cache **ret_cache);
struct cache *cache_free(struct cache *c);

/* *ret_key lives until the next call that is given a non-const cache. 0, MISS, UNKNOWN. */
MUST_USE int cache_find(struct cache *c, const uint8_t hmac[TOKEN_HMAC_BYTES], uint64_t now_ms,
			const struct store_key **ret_key);
/* To be noted before the store is asked. */
uint64_t cache_generation(const struct cache *c);
/* Keeps an answer of the store. 0, STALE or -ENOMEM; not keeping it does no harm. */
MUST_USE int cache_put(struct cache *c, uint64_t generation, const struct store_key *key, uint64_t now_ms);
MUST_USE int cache_put_unknown(struct cache *c, uint64_t generation, const uint8_t hmac[TOKEN_HMAC_BYTES],
			       uint64_t now_ms);
/* The key changed, or was made: whatever is known about it is void, from this moment. */
void cache_forget(struct cache *c, const uint8_t hmac[TOKEN_HMAC_BYTES]);
/* Everything is void: the pepper is gone. */
void cache_clear(struct cache *c);

size_t cache_known(const struct cache *c);
size_t cache_unknown(const struct cache *c);
