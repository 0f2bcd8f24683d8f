/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this exchange be? The grant first (authd said so, to this egress, now, for exactly this, and not before), then
 * the binding (the credential may go there). Sans I/O. Nothing that the router says is believed beyond what the grant
 * covers.
 */
#pragma once

#include "keyvault/egress/replay.h"
#include "keyvault/egress/voids.h"
#include "proto/proto.h"
#include "proto/reasons.h"

/*
 * Time is monotonic. authd and egress are neighbours on one machine: both read the same clock, which nobody sets, so a
 * step of the wall clock neither shortens a grant's life nor gives it another.
 */
#define PERMIT_LIFETIME_MS_MAX 60000 /* a grant that would live longer is not believed */

struct permit_env {
	const uint8_t
		*key;   /* hmac_prepare() of the lane's; NULL: none was given yet. In the arena, which must be open */
	uint64_t epoch; /* of the key, or of the last one that was */
	unsigned lane;
	uint64_t now_ms;
	struct replay *replay;
	struct voids *voids;
};

/*
 * REASON_NONE: permitted, and this use is used up; *ret_grant and *ret_route view open->grant. Otherwise why not; they
 * are then set when *ret_authentic is true, for the record of the refusal. A route that the grant does not have is all
 * zeroes.
 */
enum reason permit_open(const struct permit_env *env, const struct proto_open *open, bool *ret_authentic,
			struct proto_grant *ret_grant, struct proto_grant_route *ret_route);

/* Does a grant that is called stale say that it was made under a key that is still to come? Nothing vouches for that.
 */
bool permit_is_early(const struct permit_env *env, struct span grant);

/* Is the route after this one another try of the same? So authd plans it while one provider key replaces another. */
bool permit_has_spare(const struct proto_grant *g, uint64_t route);

/* Fields that the core authenticated, but that must also make sense to the egress: sizes, characters. */
bool permit_binding_sane(const struct proto_binding *b);
/* May a secret so bound go where the route says, for this tenant, now? REASON_NONE, REASON_BINDING_MISMATCH,
 * or REASON_NO_CREDENTIAL when only the time is wrong. */
enum reason permit_binding(const struct proto_binding *b, const struct proto_grant_route *route, struct span tenant,
			   uint64_t unix_s);
