/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal as files go: what is over is found, said and removed; the log is good at every moment of it, to readers, to
 * proofs and to ledger_open(); a removal that dies at any of its system calls is ended by the next one.
 *
 * Calls that remove or name files are replaced by the linker (--wrap); the work runs in a child process that ends at
 * the n-th of them, before or after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>

#include "auditd/entries.h"
#include "auditd/finder.h"
#include "tests/support/test_prune.h"

#define CALLS_MAX 4000

/* ---- calls at which the process ends ---- */

/* The wrappers have no context to be given. */
static struct {
	bool armed, after;
	unsigned at, calls;
} plan;

static bool dies_now(void)
{
	return plan.armed && plan.calls++ == plan.at;
}

#define WRAP(name, params, args)            \
	int __real_##name params;           \
	int __wrap_##name params;           \
	int __wrap_##name params            \
	{                                   \
		bool now = dies_now();      \
		if (now && !plan.after)     \
			_exit(99);          \
		int r = __real_##name args; \
		if (now)                    \
			_exit(99);          \
		return r;                   \
	}
/* clang-format off */
WRAP(unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(renameat, (int d1, const char *from, int d2, const char *to), (d1, from, d2, to))
WRAP(fsync, (int fd), (fd))
WRAP(syncfs, (int fd), (fd))
/* clang-format on */

static bool exists(const struct fixture *f, int level, uint64_t n, unsigned width)
{
	char path[TILE_PATH_MAX];

	tile_path(path, level, n, width);
	return faccessat(f->l->dir, path, F_OK, 0) == 0;
}

/* ---- what is over ---- */

static void test_what_is_over(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	pruned_make_log(f);
	const uint64_t *firsts = f->l->firsts;
	for (size_t i = 1; i < f->l->n_firsts; i++) {
		/* Record n has time n + 1, so the last one before firsts[i] has time firsts[i]. */
		assert_int_equal(pruned_look(f, &l, firsts[i] + KEEP_NS), 0);
		assert_int_equal(l.end, i > 1 ? firsts[i - 1] : 0);
		prune_look_deinit(&l);
		assert_int_equal(pruned_look(f, &l, firsts[i] + KEEP_NS + 1), 0);
		assert_int_equal(l.end, firsts[i]);
		assert_int_equal(l.newest_ns, firsts[i]);
		prune_look_deinit(&l);
	}
	/* The one that is written never is, and what is not signed is not. */
	assert_int_equal(pruned_look(f, &l, UINT64_MAX / 4), 0);
	assert_int_equal(l.end, firsts[f->l->n_firsts - 1]);
	assert_int_equal(l.active_ns, firsts[f->l->n_firsts - 1] + 1);
	for (size_t i = 1; i < f->l->n_firsts; i++) {
		l.signed_size = firsts[i] - 1;
		assert_int_equal(prune_look(&l), 0);
		assert_int_equal(l.end, i > 1 ? firsts[i - 1] : 0);
		l.signed_size = firsts[i];
		assert_int_equal(prune_look(&l), 0);
		assert_int_equal(l.end, firsts[i]);
	}
	prune_look_deinit(&l);
}

static void test_what_is_remembered_between_looks(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	pruned_make_log(f);
	assert_int_equal(pruned_look(f, &l, UINT64_MAX / 4), 0);
	size_t n = l.n_known;
	assert_int_equal(n, f->l->n_firsts - 1);
	ledger_forget(f->l, f->l->firsts[2]);
	l.firsts = f->l->firsts;
	l.n = f->l->n_firsts;
	l.now_ns = l.known[2].times.newest_ns + KEEP_NS + 1;
	assert_int_equal(prune_look(&l), 0);
	assert_int_equal(l.n_known, n - 2);
	assert_int_equal(l.end, f->l->firsts[1]);
	prune_look_deinit(&l);
}

static void damage(const struct fixture *f, const char *name, off_t at)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "xxxx", 4, at), 4);
	(void)close(fd);
}

/* Nothing is said of a log whose tiles or segments are not good. */
static void test_damaged_tiles(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;
	char name[TILE_PATH_MAX];

	pruned_make_log(f);
	assert_true(f->l->firsts[1] % TILE_WIDTH > 2);
	tile_path(name, 0, f->l->firsts[1] / TILE_WIDTH, TILE_WIDTH);
	damage(f, name, 40);
	assert_int_equal(pruned_look(f, &l, f->l->firsts[1] + KEEP_NS + 1), PRUNE_E_DAMAGED);
	assert_int_equal(l.end, 0);
	prune_look_deinit(&l);
}

static void test_a_damaged_segment(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;
	char name[64];

	pruned_make_log(f);
	(void)snprintf(name, sizeof(name), "seg/%020" PRIu64 ".seg", f->l->firsts[1]);
	damage(f, name, SEGMENT_HEAD_BYTES + 40);
	assert_int_equal(pruned_look(f, &l, UINT64_MAX / 4), PRUNE_E_DAMAGED);
	assert_int_equal(l.end, 0);
	prune_look_deinit(&l);
}

/* ---- removing ---- */

static void test_segments_and_bundles_go_and_hashes_stay(void **state)
{
	struct fixture *f = *state;
	struct finder finder;
	struct retained read;
	struct verify_report before, after;

	pruned_make_log(f);
	assert_true(verifies(f, f->dir, &before));
	uint64_t end = f->l->firsts[4];
	assert_true(end > 2 * TILE_WIDTH && exists(f, TILE_ENTRIES, 0, 40) && exists(f, 0, 0, 40));
	pruned_prune(f, end + KEEP_NS + 1);
	pruned_good(f, end);
	assert_int_equal(ledger_first(f->l), end);
	for (uint64_t n = 0; n < 1400 / TILE_WIDTH; n++) {
		assert_true(exists(f, TILE_ENTRIES, n, TILE_WIDTH) == (n >= end / TILE_WIDTH));
		assert_true(exists(f, 0, n, TILE_WIDTH));
	}
	for (unsigned width = 1; width < TILE_WIDTH; width++)
		assert_false(exists(f, TILE_ENTRIES, 0, width));
	assert_true(exists(f, 0, 0, 40));
	assert_int_equal(retained_read(f->l->dir, &read), 0);
	assert_true(read.done && read.end == end && read.newest_ns == end);

	/* It goes on as a log: more of it, a second removal, another start. */
	pruned_fill(f, 700);
	pruned_prune(f, f->l->firsts[2] + KEEP_NS + 1);
	assert_int_equal(reopen(f), 0);
	pruned_fill(f, 80);
	pruned_good(f, ledger_first(f->l));
	assert_true(verifies(f, f->dir, &after) && after.first > end && after.entries == ledger_size(f->l));
	assert_int_equal(finder_init(&finder, f->l->dir), 0);
	finder_deinit(&finder);
}

/* Every record that is left can be proven, and every old checkpoint is consistent; what is gone is said to be. */
static void test_proofs_stay_good(void **state)
{
	struct fixture *f = *state;
	struct merkle_hash roots[8];
	struct consistency c;
	struct entries entries;
	struct buf text;
	static struct proof proof;

	assert_int_equal(reopen(f), 0);
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		pruned_fill(f, 160);
		merkle_tree_root(&f->l->tree.merkle, &roots[i]);
	}
	uint64_t end = f->l->firsts[3];
	pruned_prune(f, end + KEEP_NS + 1);
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		assert_int_equal(proof_consistency(f->dir, 160 * (i + 1), f->signed_size, &c), 0);
		assert_true(merkle_hash_eq(&c.old_root, &roots[i]));
	}
	buf_init(&text, PROOF_BYTES_MAX);
	for (uint64_t index = 0; index < f->signed_size; index += index < end ? 37 : 1) {
		buf_reset(&text);
		int r = proof_make(f->dir, index, &text);
		assert_int_equal(r, index < end / TILE_WIDTH * TILE_WIDTH ? PROOF_E_PRUNED : 0);
		if (r == 0)
			assert_int_equal(proof_check(buf_span(&text), &f->key, &proof), 0);
	}
	buf_deinit(&text);
	assert_int_equal(entries_open(f->dir, &entries), 0);
	assert_true(entries.first == end && entries.end == ledger_size(f->l));
	entries_close(&entries);
}

/* ---- death ---- */

static void child(struct fixture *f, const struct retained *intent, unsigned n, bool after)
{
	struct retained what = *intent;
	struct prune p;

	plan.armed = true;
	plan.after = after;
	plan.at = n;
	if (prune_begin(&p, f->l->dir, &what, f->l->firsts, pruned_n_over(f, what.end)))
		_exit(98);
	_exit(pruned_work(&p, 1000) == PRUNE_E_DONE ? 0 : 97);
}

static void empty(struct fixture *f)
{
	f->l = ledger_close(f->l);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	f->seq = f->own_seq = f->signed_size = 0;
}

/* What the next start does with it. */
static void finish(struct fixture *f, const struct retained *intent)
{
	struct retained what;
	struct prune p;

	assert_int_equal(reopen(f), 0);
	int r = retained_read(f->l->dir, &what);
	if (r == RETAINED_E_NONE || what.done) { /* it died before it had said so, or was through */
		assert_true(r == 0 || f->l->firsts[0] == 0);
		pruned_good(f, f->l->firsts[0]);
		return;
	}
	assert_int_equal(r, 0);
	assert_true(what.end == intent->end && what.index == intent->index);
	pruned_good(f, f->l->firsts[0]); /* also as it was left */
	prune_resume(&p, f->l->dir, &what, f->l->firsts, pruned_n_over(f, what.end));
	assert_int_equal(pruned_work(&p, 1), PRUNE_E_DONE);
	ledger_forget(f->l, what.end);
	pruned_good(f, what.end);
	for (uint64_t n = 0; n < what.end / TILE_WIDTH; n++)
		for (unsigned width = 1; width <= TILE_WIDTH; width++)
			assert_false(exists(f, TILE_ENTRIES, n, width));
}

static void die_at_every_call(struct fixture *f, bool after)
{
	struct retained intent;
	unsigned n = 0;
	int status = 1;

	for (; n < CALLS_MAX && status != 0; n += n < 24 ? 1 : 97) {
		empty(f);
		pruned_make_log(f);
		pruned_intend(f, f->l->firsts[3] + KEEP_NS + 1, &intent);
		pid_t pid = fork();
		if (pid == 0)
			child(f, &intent, n, after);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0));
		finish(f, &intent);
	}
	assert_true(n > 500 && n < CALLS_MAX);
}

static void test_death_before_every_call(void **state)
{
	die_at_every_call(*state, false);
}

static void test_death_after_every_call(void **state)
{
	die_at_every_call(*state, true);
}

/* Before the file says so, the same is found over again, and said again. */
static void test_death_between_the_record_and_the_removal(void **state)
{
	struct fixture *f = *state;
	struct retained what;

	pruned_make_log(f);
	uint64_t end = f->l->firsts[3];
	pruned_intend(f, end + KEEP_NS + 1, &what);
	pruned_good(f, 0);
	assert_int_equal(reopen(f), 0);
	pruned_prune(f, end + KEEP_NS + 1);
	pruned_good(f, end);
}

/* A segment that ends early: the next begins, its rest needs no disk, and everybody reads it as before. */
static void test_a_segment_that_ends_early(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[160];

	assert_int_equal(reopen(f), 0);
	assert_int_equal(ledger_turn(f->l), 0); /* nothing is in it */
	assert_int_equal(f->l->n_firsts, 1);
	commit(f, 5);
	assert_int_equal(ledger_turn(f->l), 0);
	assert_int_equal(f->l->n_firsts, 2);
	assert_int_equal(f->l->firsts[1], 5);
	(void)snprintf(path, sizeof(path), "%s/seg/%020d.seg", f->dir, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, TEST_SEGMENT_BYTES);
	assert_true(st.st_blocks * 512 < TEST_SEGMENT_BYTES);
	commit(f, 5);
	sign(f);
	pruned_good(f, 0);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(f->l->n_firsts, 2);
	commit(f, 3);
	sign(f);
	pruned_good(f, 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_what_is_over),
		CASE(test_what_is_remembered_between_looks),
		CASE(test_damaged_tiles),
		CASE(test_a_damaged_segment),
		CASE(test_segments_and_bundles_go_and_hashes_stay),
		CASE(test_proofs_stay_good),
		CASE(test_death_before_every_call),
		CASE(test_death_after_every_call),
		CASE(test_death_between_the_record_and_the_removal),
		CASE(test_a_segment_that_ends_early),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
