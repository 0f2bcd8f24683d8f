/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/concurrency.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/list.h"

#define CONCURRENCY_BUCKETS   4096
#define CONCURRENCY_WHO_BYTES 64

/* There while it has calls. */
struct concurrency_key {
	struct list in_bucket;
	uint8_t who[CONCURRENCY_WHO_BYTES];
	size_t who_len;
	uint64_t calls;
};

struct concurrency_call {
	struct list in_bucket, in_all;
	struct concurrency_key *key;
	const void *peer;
	uint64_t number;
};

struct concurrency {
	struct list keys[CONCURRENCY_BUCKETS], calls[CONCURRENCY_BUCKETS], all;
	size_t n_calls, calls_max;
};

int concurrency_new(size_t calls_max, struct concurrency **ret_calls)
{
	struct concurrency *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < CONCURRENCY_BUCKETS; i++) {
		list_init(&c->keys[i]);
		list_init(&c->calls[i]);
	}
	list_init(&c->all);
	c->calls_max = calls_max;
	*ret_calls = c;
	return 0;
}

static void concurrency_call_free(struct concurrency *c, struct concurrency_call *call)
{
	if (--call->key->calls == 0) {
		list_unlink(&call->key->in_bucket);
		free(call->key);
	}
	list_unlink(&call->in_bucket);
	list_unlink(&call->in_all);
	c->n_calls--;
	free(call);
}

struct concurrency *concurrency_free(struct concurrency *c)
{
	if (!c)
		return NULL;
	list_for_each_safe (it, &c->all)
		concurrency_call_free(c, container_of(it, struct concurrency_call, in_all));
	free(c);
	return NULL;
}

/* Identifiers are of our own making, so nobody can aim them at one bucket. */
static struct list *concurrency_keys(struct concurrency *c, struct span who)
{
	return &c->keys[crc32c(0, who.p, who.len) % CONCURRENCY_BUCKETS];
}

/* Numbers of several routers fall together; that makes as many in a bucket, and no more. */
static struct list *concurrency_numbered(struct concurrency *c, uint64_t number)
{
	return &c->calls[number % CONCURRENCY_BUCKETS];
}

static struct concurrency_key *concurrency_key_find(struct concurrency *c, struct span who)
{
	struct list *bucket = concurrency_keys(c, who);

	list_for_each (it, bucket) {
		struct concurrency_key *key = container_of(it, struct concurrency_key, in_bucket);

		if (span_eq(span_of(key->who, key->who_len), who))
			return key;
	}
	return NULL;
}

static struct concurrency_key *concurrency_key_new(struct concurrency *c, struct span who)
{
	struct concurrency_key *key = calloc(1, sizeof(*key));

	assert(who.len > 0 && who.len <= CONCURRENCY_WHO_BYTES);
	if (!key)
		return NULL;
	memcpy(key->who, who.p, who.len);
	key->who_len = who.len;
	list_push(concurrency_keys(c, who), &key->in_bucket);
	return key;
}

int concurrency_begin(struct concurrency *c, const void *peer, uint64_t number, struct span who, uint64_t limit)
{
	struct concurrency_key *key = concurrency_key_find(c, who);

	assert(limit > 0);
	if (key && key->calls >= limit)
		return CONCURRENCY_E_LIMIT;
	if (c->n_calls >= c->calls_max)
		return CONCURRENCY_E_FULL;
	struct concurrency_call *call = malloc(sizeof(*call));
	if (call && !key)
		key = concurrency_key_new(c, who);
	if (!call || !key) {
		free(call);
		return -ENOMEM;
	}
	*call = (struct concurrency_call){.key = key, .peer = peer, .number = number};
	key->calls++;
	c->n_calls++;
	list_push(concurrency_numbered(c, number), &call->in_bucket);
	list_push(&c->all, &call->in_all);
	return 0;
}

void concurrency_end(struct concurrency *c, const void *peer, uint64_t number)
{
	struct list *bucket = concurrency_numbered(c, number);

	list_for_each (it, bucket) {
		struct concurrency_call *call = container_of(it, struct concurrency_call, in_bucket);

		if (call->number == number && call->peer == peer) {
			concurrency_call_free(c, call);
			return;
		}
	}
}

void concurrency_forget(struct concurrency *c, const void *peer)
{
	list_for_each_safe (it, &c->all) {
		struct concurrency_call *call = container_of(it, struct concurrency_call, in_all);

		if (call->peer == peer)
			concurrency_call_free(c, call);
	}
}

size_t concurrency_calls(const struct concurrency *c)
{
	return c->n_calls;
}
