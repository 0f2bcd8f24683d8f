/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/lanes.h"

#include <assert.h>
#include <sodium.h>

void lanes_init(struct lanes *l, struct secret_arena *arena)
{
	*l = (struct lanes){.arena = arena, .series = 1};
}

static void lanes_wipe(struct lanes *l, struct lane *lane)
{
	secret_free(l->arena, &lane->key);
	lane->epoch = 0;
	lane->known = false;
}

void lanes_close(struct lanes *l)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		lanes_wipe(l, &l->lane[i]);
}

void *lanes_attach(struct lanes *l, unsigned worker, void *peer)
{
	assert(worker < LANES_MAX && peer);
	struct lane *lane = &l->lane[worker];
	void *replaced = lane->peer;

	lanes_wipe(l, lane);
	lane->peer = peer;
	return replaced;
}

void lanes_detach(struct lanes *l, unsigned worker, const void *peer)
{
	assert(worker < LANES_MAX);
	struct lane *lane = &l->lane[worker];

	if (lane->peer != peer)
		return;
	lanes_wipe(l, lane);
	lane->peer = NULL;
}

static uint64_t lanes_grown(uint64_t last, uint64_t unix_ms)
{
	return unix_ms > last ? unix_ms : last + 1;
}

void lanes_next_series(struct lanes *l, uint64_t unix_ms)
{
	l->series = lanes_grown(l->series, unix_ms);
}

int lanes_mint(struct lanes *l, unsigned worker, uint64_t unix_ms)
{
	assert(worker < LANES_MAX);
	struct lane *lane = &l->lane[worker];

	assert(lane->peer);
	lanes_wipe(l, lane);
	if (secret_alloc(l->arena, LANES_KEY_BYTES, &lane->key))
		return LANES_E_FULL;
	secret_open(l->arena);
	randombytes_buf(lane->key.p, lane->key.len);
	secret_close(l->arena);
	lane->epoch = l->last_epoch = lanes_grown(l->last_epoch, unix_ms);
	return 0;
}
