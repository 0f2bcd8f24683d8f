/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/grants.h"

#include <assert.h>
#include <sodium.h>

#include "common/err.h"

#define GRANTS_ID_BYTES 16 /* GRANT.grant_id */

/* The core says the same again when it has been away: only another epoch replaces a key. */
int grants_set_lane(struct grants *g, unsigned lane, uint64_t epoch, struct span key, uint64_t unix_ms)
{
	struct grants_lane *l = &g->lanes[lane];

	assert(lane < GRANTS_LANES_MAX && key.len == GRANT_KEY_BYTES);
	if (l->key.p && epoch != l->epoch) {
		struct secret oldest = l->before;
		l->before = l->key;
		l->key = oldest; /* its place, to be overwritten */
		l->replaced_ms = unix_ms;
	}
	int r = l->key.p ? 0 : secret_alloc(g->arena, HMAC_SCHEDULE_BYTES, &l->key);
	if (r)
		return r;
	secret_open(g->arena);
	hmac_prepare(key, l->key.p);
	secret_close(g->arena);
	l->epoch = epoch;
	return 0;
}

void grants_wipe(struct grants *g)
{
	for (size_t i = 0; i < GRANTS_LANES_MAX; i++) {
		secret_free(g->arena, &g->lanes[i].key);
		secret_free(g->arena, &g->lanes[i].before);
		g->lanes[i].epoch = 0;
	}
}

bool grants_lane_up(const struct grants *g, unsigned lane)
{
	return lane < GRANTS_LANES_MAX && g->lanes[lane].key.p;
}

static int grants_sign(struct grants *g, unsigned lane, struct proto_grant *grant, uint8_t to[GRANT_BYTES_MAX],
		       size_t *ret_len)
{
	assert(grants_lane_up(g, lane));
	grant->epoch = g->lanes[lane].epoch;
	grant->lane = lane;
	secret_open(g->arena);
	int r = grant_mint(g->lanes[lane].key.p, grant, to, GRANT_BYTES_MAX, ret_len);
	secret_close(g->arena);
	return err_fold(r);
}

int grants_mint(struct grants *g, unsigned lane, struct proto_grant *grant, uint8_t to[GRANT_BYTES_MAX],
		size_t *ret_len)
{
	if (g->random_left < GRANTS_ID_BYTES) {
		randombytes_buf(g->random, sizeof(g->random));
		g->random_left = sizeof(g->random);
	}
	g->random_left -= GRANTS_ID_BYTES;
	grant->grant_id = span_of(g->random + g->random_left, GRANTS_ID_BYTES);
	return grants_sign(g, lane, grant, to, ret_len);
}

int grants_renew(struct grants *g, unsigned lane, struct span stale, uint64_t unix_ms, uint8_t to[GRANT_BYTES_MAX],
		 size_t *ret_len)
{
	struct proto_grant grant;

	if (!grants_lane_up(g, lane))
		return REASON_EGRESS_GONE;
	const struct grants_lane *l = &g->lanes[lane];
	if (!l->before.p || unix_ms - MIN(unix_ms, l->replaced_ms) > GRANTS_LIFE_MS)
		return REASON_GRANT_STALE;
	secret_open(g->arena);
	int r = grant_open(l->before.p, stale, &grant);
	secret_close(g->arena);
	if (r)
		return REASON_GRANT_STALE;
	if (grant.expires_ms <= unix_ms || grant.expires_ms - unix_ms > GRANTS_LIFE_MS)
		return REASON_GRANT_EXPIRED;
	return grants_sign(g, lane, &grant, to, ret_len);
}
