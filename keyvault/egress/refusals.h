/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this worker refused since it started: how often for each reason, and the last ones as they were. For
 * `bulkhead vault grants`; the log has them all (egress.refuse). Of a grant that did not verify nothing is believed, so
 * nothing of it is shown.
 */
#pragma once

#include "proto/proto.h"
#include "proto/reasons.h"

#define REFUSALS_KEPT 64 /* GRANTS_REP.refusals */

struct refusal {
	uint64_t unix_ms;
	enum reason reason;
	char request_id[65], tenant[65], principal[65], credential[65], host[254];
};

struct refusals {
	uint64_t n, by_reason[N_REASONS];
	struct refusal last[REFUSALS_KEPT]; /* a ring; the next one goes to n % REFUSALS_KEPT */
};

void refusals_add(struct refusals *r, const struct refusal *one);

/* What a GRANTS_REP views. */
struct refusals_view {
	struct proto_reason_count counts[N_REASONS];
	struct proto_grant_refusal last[REFUSALS_KEPT];
};
/* Views of `r`: the counts that are not 0, and the last ones, newest first. */
void refusals_report(const struct refusals *r, struct refusals_view *view, struct proto_grants_rep *ret_rep);
