/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/refusals.h"

void refusals_add(struct refusals *r, const struct refusal *one)
{
	r->last[r->n++ % REFUSALS_KEPT] = *one;
	r->by_reason[one->reason]++;
}

static struct proto_grant_refusal refusals_one(const struct refusal *one)
{
	return (struct proto_grant_refusal){.time_ms = one->unix_ms,
					    .reason = one->reason,
					    .request_id = span_str(one->request_id),
					    .tenant = span_str(one->tenant),
					    .principal = span_str(one->principal),
					    .credential = span_str(one->credential),
					    .host = span_str(one->host)};
}

void refusals_report(const struct refusals *r, struct refusals_view *view, struct proto_grants_rep *ret_rep)
{
	size_t n_counts = 0, n_last = (size_t)MIN(r->n, (uint64_t)REFUSALS_KEPT);

	for (size_t i = 0; i < N_REASONS; i++)
		if (r->by_reason[i])
			view->counts[n_counts++] = (struct proto_reason_count){.reason = i, .count = r->by_reason[i]};
	for (size_t i = 0; i < n_last; i++)
		view->last[i] = refusals_one(&r->last[(r->n - 1 - i) % REFUSALS_KEPT]);
	ret_rep->counts = (struct proto_list){.items = view->counts, .count = n_counts};
	ret_rep->refusals = (struct proto_list){.items = view->last, .count = n_last};
}
