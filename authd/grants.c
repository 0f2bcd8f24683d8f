/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/grants.h"

#include <assert.h>

#include "common/err.h"

/* The core says the same again when it has been away: only another epoch replaces a key, and only another one or
 * another series begins to count anew. */
int grants_set_lane(struct grants *g, const struct proto_edge_key *k, uint64_t now_ms)
{
	struct grants_lane *l = &g->lanes[k->lane];

	assert(k->lane < GRANTS_LANES_MAX && k->key.len == GRANT_KEY_BYTES);
	if (l->key.p && k->epoch != l->epoch) {
		struct secret oldest = l->before;
		l->before = l->key;
		l->key = oldest; /* its place, to be overwritten */
		l->replaced_ms = now_ms;
	}
	int r = l->key.p ? 0 : secret_alloc(g->arena, HMAC_SCHEDULE_BYTES, &l->key);
	if (r)
		return r;
	secret_open(g->arena);
	hmac_prepare(k->key, l->key.p);
	secret_close(g->arena);
	if (k->epoch != l->epoch || k->series != l->series)
		l->next = 0;
	g->revoked = MAX(g->revoked, k->revoked);
	l->epoch = k->epoch;
	l->series = k->series;
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
	struct grants_lane *l = &g->lanes[lane];

	grant->series = l->series;
	grant->number = l->next;
	grant->renewed = 0;
	l->next += grant->routes.count;
	return grants_sign(g, lane, grant, to, ret_len);
}

int grants_renew(struct grants *g, unsigned lane, struct span stale, uint64_t now_ms, uint8_t to[GRANT_BYTES_MAX],
		 size_t *ret_len)
{
	struct proto_grant grant;

	if (!grants_lane_up(g, lane))
		return REASON_EGRESS_GONE;
	const struct grants_lane *l = &g->lanes[lane];
	if (!l->before.p || now_ms - l->replaced_ms > GRANTS_LIFE_MS)
		return REASON_GRANT_STALE;
	secret_open(g->arena);
	int r = grant_open(l->before.p, stale, &grant);
	secret_close(g->arena);
	if (r || grant.renewed)
		return REASON_GRANT_STALE;
	if (grant.expires_ms <= now_ms || grant.expires_ms - now_ms > GRANTS_LIFE_MS)
		return REASON_GRANT_EXPIRED;
	if (grant.series < g->revoked)
		return REASON_GRANT_REVOKED;
	grant.renewed = 1;
	return grants_sign(g, lane, &grant, to, ret_len);
}
