/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making grants: the edge key of each lane, as the core gave it, and what is made with it.
 *
 * Each route of each grant has a number of its own, by which the egress knows whether it was used. Numbers begin anew
 * with a lane's key and with a series, of which the core gives another one to each authd that connects: so a restarted
 * authd needs no memory of how far its predecessor had counted.
 *
 * A grant is worth nothing any more when its egress has started anew before the exchange began: it is under a key that
 * is gone. grants_renew() makes the same grant again under the new key, with the same numbers and the same end; so the
 * egress lets it through once for each route, however often it is renewed, and it need not be counted again. A renewed
 * one is not renewed again, since its numbers are of the epoch before the last. For this the replaced key is kept, for
 * as long as a grant lives: whoever was that egress knows it too. With it, and a router to ask through, he could make
 * grants; they would name credentials that he could have asked the core for.
 *
 * Time is monotonic, as the egress's (permit.h).
 *
 * Keys lie in the secret arena, which is open only around the computations that need them.
 */
#pragma once

#include "common/grant.h"
#include "common/secret.h"
#include "proto/proto.h"
#include "proto/reasons.h"

#define GRANTS_LANES_MAX 256   /* EDGE_KEY.lane */
#define GRANTS_LIFE_MS   59000 /* a second less than the egress takes: its loop's clock may lag a little */
/* What the secret arena must hold for this module. */
#define GRANTS_ARENA_BYTES (GRANTS_LANES_MAX * 2 * (HMAC_SCHEDULE_BYTES + 96))

struct grants {
	struct secret_arena *arena; /* its user's */
	uint64_t revoked;           /* grants of an older series are not renewed */
	struct grants_lane {
		uint64_t epoch, series, next; /* next: number that no route has yet */
		uint64_t replaced_ms;         /* when `before` was */
		struct secret key, before;    /* prepared; SECRET_NULL: there is none */
	} lanes[GRANTS_LANES_MAX];
};

/* EDGE_KEY: the core's word, which may repeat itself. 0, SECRET_E_FULL (a defect of sizes). The key may lie in an open
 * arena. */
MUST_USE int grants_set_lane(struct grants *g, const struct proto_edge_key *k, uint64_t now_ms);
/* The vault is closed. Idempotent. */
void grants_wipe(struct grants *g);
/* Has the lane an egress that could use a grant? False for a lane that cannot be. */
bool grants_lane_up(const struct grants *g, unsigned lane);
/* Fills in numbers, epoch and lane of *grant and makes it. The lane must be up. 0 or negative. */
MUST_USE int grants_mint(struct grants *g, unsigned lane, struct proto_grant *grant, uint8_t to[GRANT_BYTES_MAX],
			 size_t *ret_len);
/* REASON_NONE and the grant for the epoch that is; EGRESS_GONE, GRANT_STALE (not one that was made in the epoch
 * before), GRANT_EXPIRED, GRANT_REVOKED; or negative. */
MUST_USE int grants_renew(struct grants *g, unsigned lane, struct span stale, uint64_t now_ms,
			  uint8_t to[GRANT_BYTES_MAX], size_t *ret_len);
