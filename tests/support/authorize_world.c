/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/authorize_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>

static const struct log log_of_test = {.daemon = "test"};

/* ---- the fake store ---- */

int store_key_find(struct store *s, const uint8_t hmac[TOKEN_HMAC_BYTES], struct store_key *ret_key)
{
	s->asked++;
	if (s->gone)
		return STORE_E_GONE;
	for (size_t i = 0; i < s->n; i++) {
		if (sodium_memcmp(s->keys[i].hmac, hmac, TOKEN_HMAC_BYTES) != 0)
			continue;
		*ret_key = s->keys[i];
		if (s->meanwhile)
			s->meanwhile(s);
		return 0;
	}
	return STORE_E_NOT_FOUND;
}

int store_credential_each(struct store *s, store_each_credential *each, void *ctx)
{
	(void)s;
	(void)each;
	(void)ctx;
	return STORE_E_GONE;
}

/* ---- a vault, a configuration, a key ---- */

const uint8_t world_pepper[TOKEN_PEPPER_BYTES] = "pepper";
const uint8_t world_edge_keys[2][GRANT_KEY_BYTES] = {"edge key of lane 0", "edge key of lane 1"};

static struct config_provider providers[] = {{.name = "openai", .base_url = "https://api.openai.com/v1"},
					     {.name = "local", .base_url = "https://upstream.test:18443/v1"}};
static struct config_model rules[] = {{.match = "gpt-*", .providers = "openai,local"},
				      {.match = "open-*", .providers = "local"}};
static const struct config config = {
	.providers = providers, .n_providers = ARRAY_LEN(providers), .models = rules, .n_models = ARRAY_LEN(rules)};

struct authorize_world world;

int world_open(const uint8_t key[GRANT_KEY_BYTES], struct span bytes, struct proto_grant *ret_grant)
{
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(key, GRANT_KEY_BYTES), schedule);
	return grant_open(schedule, bytes, ret_grant);
}

struct store_key *world_add_key(uint8_t seed, char text[TOKEN_BYTES])
{
	struct store_key *k = &world.store.keys[world.store.n++];
	uint8_t random[TOKEN_RANDOM_BYTES];

	memset(random, seed, sizeof(random));
	token_format(random, text);
	*k = (struct store_key){.tenant = "acme", .models = "gpt-*", .rpm = 3, .prefix = "bh_sk_aaaaaaaaa"};
	(void)snprintf(k->id, sizeof(k->id), "key_%u", seed);
	uint8_t schedule[HMAC_SCHEDULE_BYTES];

	hmac_prepare(span_of(world_pepper, sizeof(world_pepper)), schedule);
	token_hmac(schedule, span_of(text, TOKEN_BYTES), k->hmac);
	return k;
}

static const struct credentials_row openai_row = {"openai", "openai", "*", 1, 0, true};

int world_set_lane(unsigned lane, uint64_t epoch, size_t key)
{
	return grants_set_lane(
		&world.a.grants,
		&(struct proto_edge_key){lane, epoch, 1, 0, span_of(world_edge_keys[key], GRANT_KEY_BYTES)}, 1000);
}

int world_setup(void **state)
{
	(void)state;
	world = (struct authorize_world){0};
	world.a = (struct authorize){
		.store = &world.store, .credentials = &world.credentials, .rpm_default = 60, .guard = 0x1b};
	assert_int_equal(credentials_add(&world.credentials, &openai_row), 0);
	world_add_key(1, world.key);
	if (sodium_init() < 0 || models_new(&config, &log_of_test, &world.models) ||
	    cache_new(100, 10, &world.a.cache) || ratelimit_new(RATELIMIT_BYTES_MAX, &world.a.limits) ||
	    concurrency_new(4, &world.a.calls) || secret_arena_new(AUTHORIZE_ARENA_BYTES, &world.a.arena))
		return -1;
	world.a.models = world.models;
	world.a.grants.arena = world.a.arena;
	return authorize_set_pepper(&world.a, span_of(world_pepper, sizeof(world_pepper))) || world_set_lane(0, 7, 0);
}

int world_teardown(void **state)
{
	(void)state;
	authorize_seal(&world.a);
	assert_int_equal(secret_arena_used(world.a.arena), 0);
	world.a.limits = ratelimit_free(world.a.limits);
	world.a.calls = concurrency_free(world.a.calls);
	world.a.cache = cache_free(world.a.cache);
	world.a.arena = secret_arena_free(world.a.arena);
	world.models = models_free(world.models);
	credentials_deinit(&world.credentials);
	return 0;
}

struct proto_authorize world_question(void)
{
	return (struct proto_authorize){.credential = span_of(world.key, sizeof(world.key)),
					.address = SPAN_LIT("127.0.0.1"),
					.endpoint = ENDPOINT_CHAT_COMPLETIONS,
					.model = SPAN_LIT("gpt-x"),
					.request_id = SPAN_LIT("req-1"),
					.body_bytes = 1234,
					.call = ++world.calls};
}

enum reason world_ask(const struct proto_authorize *q, unsigned lane)
{
	struct authorize_now now = {.monotonic_ms = 1000 + world.ms,
				    .unix_ms = WORLD_NOW_MS + world.ms + (uint64_t)world.wall_ms};

	assert_int_equal(authorize(&world.a, q, (struct authorize_from){&world, lane}, now, &world.answer), 0);
	if (world.answer.reason != REASON_NONE)
		assert_int_equal(world.answer.deny.reason, world.answer.reason);
	return world.answer.reason;
}

enum reason world_ask_usual(void)
{
	struct proto_authorize q = world_question();
	return world_ask(&q, 0);
}
