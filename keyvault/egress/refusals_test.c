/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void the_last_ones_newest_first(void **state)
{
	static struct refusals r;
	struct refusals_view view;
	struct proto_grants_rep rep = {0};
	uint8_t bytes[PROTO_FRAME_BYTES_MAX];
	size_t len;

	(void)state;
	refusals_report(&r, &view, &rep);
	assert_int_equal(rep.counts.count, 0);
	assert_int_equal(rep.refusals.count, 0);
	for (uint64_t i = 1; i <= 200; i++) {
		struct refusal one = {.unix_ms = i, .reason = i % 4 ? REASON_GRANT_USED : REASON_GRANT_FORGED};
		(void)snprintf(one.request_id, sizeof(one.request_id), "req-%u", (unsigned)i);
		memset(one.host, 'h', sizeof(one.host) - 1);
		memset(one.tenant, 't', sizeof(one.tenant) - 1);
		memset(one.principal, 'p', sizeof(one.principal) - 1);
		memset(one.credential, 'c', sizeof(one.credential) - 1);
		refusals_add(&r, &one);
		refusals_report(&r, &view, &rep);
		assert_int_equal(rep.refusals.count, MIN(i, (uint64_t)REFUSALS_KEPT));
		for (size_t k = 0; k < rep.refusals.count; k++)
			assert_int_equal(view.last[k].time_ms, i - k);
	}
	assert_int_equal(rep.counts.count, 2);
	assert_int_equal(view.counts[0].reason, REASON_GRANT_FORGED);
	assert_int_equal(view.counts[0].count, 50);
	assert_int_equal(view.counts[1].count, 150);
	assert_true(span_eq_str(view.last[0].request_id, "req-200"));
	/* the longest there can be fits into a frame */
	assert_int_equal(proto_pack(&proto_grants_rep_desc, 1, &rep, bytes, sizeof(bytes), &len), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_ones_newest_first)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
