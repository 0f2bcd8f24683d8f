/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grant is one word of eight bytes: 52 bits of its random id, four bits for the routes used, and when it ends, in
 * units of half a second modulo 128 seconds. Words lie in buckets of eight, one cache line; an id has two possible
 * buckets and goes to the emptier, so the table fills to three quarters before it refuses anything. Two different
 * grants that look alike (2^-52 for each neighbour in the bucket) make a refusal too many, never one too few.
 *
 * An ended word is free. Since ends are modulo 128 seconds a word that nobody looks at would come to life again; each
 * use therefore also clears one bucket in turn. When uses are so rare that this is too slow, there is room to spare.
 *
 * Room: 2^20 words, 8 MiB, touched as they are needed: 13,000 grants a second, each of 60 s.
 */
#include "keyvault/egress/replay.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

#define REPLAY_BUCKETS      ((size_t)1 << 17)
#define REPLAY_BUCKET_SLOTS 8
#define REPLAY_UNIT_SHIFT   9 /* 512 ms */

static_assert((REPLAY_LIFETIME_MS_MAX >> REPLAY_UNIT_SHIFT) + 1 < 128, "an end is less than half a turn away");

int replay_init(struct replay *r)
{
	*r = (struct replay){.slots = calloc(REPLAY_BUCKETS * REPLAY_BUCKET_SLOTS, sizeof(uint64_t))};
	return r->slots ? 0 : err_origin(-ENOMEM);
}

void replay_deinit(struct replay *r)
{
	free(r->slots);
	*r = REPLAY_NULL;
}

void replay_reset(struct replay *r)
{
	memset(r->slots, 0, REPLAY_BUCKETS * REPLAY_BUCKET_SLOTS * sizeof(uint64_t));
}

static bool replay_live(uint64_t slot, uint64_t now)
{
	return slot != 0 && ((slot - now) & 255) < 128;
}

/* The word's place if it is there, else NULL; *ret_free: a free place, NULL if none; *ret_n: how many are taken. */
static uint64_t *replay_look(uint64_t *bucket, uint64_t print, uint64_t now, uint64_t **ret_free, unsigned *ret_n)
{
	*ret_free = NULL;
	*ret_n = 0;
	for (size_t i = 0; i < REPLAY_BUCKET_SLOTS; i++) {
		if (!replay_live(bucket[i], now)) {
			*ret_free = &bucket[i];
			continue;
		}
		if (bucket[i] >> 12 == print)
			return &bucket[i];
		++*ret_n;
	}
	return NULL;
}

static void replay_sweep(struct replay *r, uint64_t now)
{
	uint64_t *bucket = r->slots + r->sweep * REPLAY_BUCKET_SLOTS;

	for (size_t i = 0; i < REPLAY_BUCKET_SLOTS; i++)
		if (!replay_live(bucket[i], now))
			bucket[i] = 0;
	r->sweep = (r->sweep + 1) % REPLAY_BUCKETS;
}

int replay_use(struct replay *r, const uint8_t grant_id[16], unsigned route, uint64_t lifetime_ms, uint64_t now_ms)
{
	uint64_t id[2], *room[2], *used = NULL;
	unsigned taken[2];

	assert(route < REPLAY_ROUTES_MAX && lifetime_ms <= REPLAY_LIFETIME_MS_MAX);
	memcpy(id, grant_id, sizeof(id));
	uint64_t now = now_ms >> REPLAY_UNIT_SHIFT, print = id[0] >> 12, bit = BIT(8 + route);
	replay_sweep(r, now);
	for (size_t i = 0; i < 2 && !used; i++) {
		size_t bucket = (size_t)(id[1] >> (32 * i)) % REPLAY_BUCKETS;
		used = replay_look(r->slots + bucket * REPLAY_BUCKET_SLOTS, print, now, &room[i], &taken[i]);
	}
	if (used) {
		if (*used & bit)
			return REPLAY_E_USED;
		*used |= bit;
		return 0;
	}
	uint64_t *to = taken[0] <= taken[1] ? room[0] : room[1];
	if (!to)
		return REPLAY_E_FULL;
	uint64_t end = ((now_ms + lifetime_ms) >> REPLAY_UNIT_SHIFT) + 1;
	*to = print << 12 | bit | (end & 255);
	return 0;
}
