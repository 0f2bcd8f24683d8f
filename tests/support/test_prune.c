/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_prune.h"

/* `n` events, in commits of 40 with a checkpoint each: recorded_ns is the event's number (test_log.c). */
void pruned_fill(struct fixture *f, size_t n)
{
	for (size_t i = 0; i < n; i += 40) {
		commit(f, 40);
		sign(f);
	}
}

/* Several segments, and bundles of which some are full. */
void pruned_make_log(struct fixture *f)
{
	assert_int_equal(reopen(f), 0);
	pruned_fill(f, 1400);
	assert_true(f->l->n_firsts >= 5);
}

int pruned_look(const struct fixture *f, struct prune_look *l, uint64_t now)
{
	assert_int_equal(prune_look_init(l, f->l->dir), 0);
	l->firsts = f->l->firsts;
	l->n = f->l->n_firsts;
	l->wall_ns = UINT64_MAX / 2;
	l->now_ns = now;
	l->keep_ns = KEEP_NS;
	l->signed_size = f->signed_size;
	return prune_look(l);
}

/* log.prune, durable; `end` and `root` as the caller says. */
uint64_t pruned_announce(struct fixture *f, uint64_t end, const struct merkle_hash *root)
{
	static const uint8_t boot[16] = {9};
	const struct proto_leaf leaf = {
		.version = LEAF_VERSION,
		.role = ROLE_AUDITD,
		.boot = span_of(boot, sizeof(boot)),
		.recorded_ns = f->seq,
		.last_seq = ++f->own_seq,
		.seq = f->own_seq,
		.code = EVENT_LOG_PRUNE,
		.actor = SPAN_LIT("auditd"),
		.reason = SPAN_LIT("30d"),
		.bytes = end,
		.digest = span_of(root->b, sizeof(root->b)),
	};

	ledger_batch_clear(&f->batch);
	assert_int_equal(ledger_batch_add(&f->batch, &leaf), 0);
	assert_int_equal(ledger_append(f->l, &f->batch), 0);
	return ledger_size(f->l) - 1;
}

/* What is over at `now`, recorded and signed; what is to be done is in *what. */
void pruned_intend(struct fixture *f, uint64_t now, struct retained *what)
{
	struct prune_look l;

	assert_int_equal(pruned_look(f, &l, now), 0);
	assert_true(l.end > 0);
	*what = (struct retained){
		.first = f->l->firsts[0], .end = l.end, .newest_ns = l.newest_ns, .time_ns = now, .keep = "30d"};
	what->index = pruned_announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	sign(f);
}

size_t pruned_n_over(const struct fixture *f, uint64_t end)
{
	size_t n = 0;

	while (n < f->l->n_firsts && f->l->firsts[n] < end)
		n++;
	return n;
}

int pruned_work(struct prune *p, unsigned files)
{
	int r = 0;

	while (r == 0)
		r = prune_step(p, files);
	return r;
}

void pruned_prune(struct fixture *f, uint64_t now)
{
	struct retained what;
	struct prune p;

	pruned_intend(f, now, &what);
	assert_int_equal(prune_begin(&p, f->l->dir, &what, f->l->firsts, pruned_n_over(f, what.end)), 0);
	assert_int_equal(pruned_work(&p, 7), PRUNE_E_DONE);
	ledger_forget(f->l, what.end);
}

void pruned_good(const struct fixture *f, uint64_t first)
{
	struct verify_report report;

	if (!verifies(f, f->dir, &report))
		fail_msg("%s", report.why);
	assert_int_equal(report.first, first);
	if (first > 0) {
		assert_string_equal(report.pruned.keep, "30d");
		assert_true(report.pruned.index >= first && report.pruned.index < report.signed_size);
	}
}

bool pruned_refused(const struct fixture *f, const char *why)
{
	struct verify_report report;

	if (verifies(f, f->dir, &report))
		return false;
	if (!strstr(report.why, why))
		fail_msg("%s", report.why);
	return true;
}
