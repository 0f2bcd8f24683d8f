/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal as files go: what is over is found, said and removed; the log is good at every moment of it, to readers, to
 * proofs and to ledger_open(); a removal that dies at any of its system calls is ended by the next one.
 *
 * The calls are replaced by the linker (tests/support/faults.h); the work runs in a child process, for which one of
 * them fails, or is the last, or that and the power goes, with all that was not synced or with some of it. It removes
 * files of a log that has tiles which are not on the disk yet, and goes on to record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "auditd/entries.h"
#include "auditd/finder.h"
#include "tests/support/faults.h"
#include "tests/support/test_prune.h"

/* Of the calls, the first and the last, every one or every third; between them one bundle goes after another. */
#define CALLS_FIRST 30
#define CALLS_STEP  97
#define CALLS_LAST  120

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
	assert_int_equal(chmod(path, 0600), 0); /* whoever is root needs no leave */
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
	char tiles[160], away[160];

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
	(void)snprintf(tiles, sizeof(tiles), "%s/tile", f->dir);
	(void)snprintf(away, sizeof(away), "%s/away", f->dir);
	assert_int_equal(rename(tiles, away), 0);
	assert_false(verifies(f, f->dir, &after));
	assert_non_null(strstr(after.why, "that retention removed are missing, with the whole folder"));
	assert_int_equal(rename(away, tiles), 0);
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

/* ---- death and failure ---- */

static struct shared {
	uint64_t acknowledged;
	unsigned calls;
	bool met;
} * shared;

static int child_append(struct fixture *f, unsigned n)
{
	ledger_batch_clear(&f->batch);
	for (unsigned i = 0; i < n; i++)
		add(f);
	int r = ledger_append(f->l, &f->batch);
	if (!r)
		shared->acknowledged = ledger_size(f->l);
	return r;
}

/* Removes, and again what could not be removed, as auditd does; then recording goes on, in another segment. */
static int child_work(struct fixture *f, const struct retained *intent)
{
	struct retained what = *intent;
	struct prune p;

	int r = prune_begin(&p, f->l->dir, &what, f->l->firsts, pruned_n_over(f, what.end));
	if (r)
		return r;
	for (unsigned tries = 0; tries < 3 && (r = pruned_work(&p, 1000)) < 0; tries++)
		;
	if (r != PRUNE_E_DONE)
		return r;
	ledger_forget(f->l, what.end);
	r = ledger_turn(f->l);
	if (!r)
		r = child_append(f, 20);
	return r ? r : try_sign(f);
}

static void child(struct fixture *f, const struct retained *intent, enum fault fault, unsigned n)
{
	faults_begin(fault, UINT_MAX, &shared->met);
	int r = child_append(f, 2 * TILE_WIDTH);
	faults.at = n;
	faults.calls = 0;
	if (!r)
		r = child_work(f, intent);
	shared->calls = faults.calls;
	if (faults_need_power())
		faults_cut_power();
	_exit(r ? 1 : 0);
}

static void empty(struct fixture *f)
{
	f->l = ledger_close(f->l);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
}

static void fails(enum fault fault, unsigned n, const char *why)
{
	fail_msg("fault %d at call %u, seed %" PRIx64 ": %s", fault, n, faults.seed, why);
}

static void assert_bundles_gone(const struct fixture *f, uint64_t end)
{
	for (uint64_t n = 0; n < end / TILE_WIDTH; n++)
		for (unsigned width = 1; width <= TILE_WIDTH; width++)
			assert_false(exists(f, TILE_ENTRIES, n, width));
}

/* What the next start does with it. */
static void finish(struct fixture *f, const struct retained *intent)
{
	struct retained what;
	struct prune p;
	int r = retained_read(f->l->dir, &what);

	if (r == RETAINED_E_NONE || what.done) { /* it died before it had said so, or was through */
		assert_true(r == 0 || f->l->firsts[0] == 0);
		pruned_good(f, f->l->firsts[0]);
		assert_bundles_gone(f, r == 0 ? what.end : 0);
		return;
	}
	assert_int_equal(r, 0);
	assert_true(what.end == intent->end && what.index == intent->index);
	pruned_good(f, f->l->firsts[0]); /* also as it was left */
	prune_resume(&p, f->l->dir, &what, f->l->firsts, pruned_n_over(f, what.end));
	assert_int_equal(pruned_work(&p, 1), PRUNE_E_DONE);
	ledger_forget(f->l, what.end);
	pruned_good(f, what.end);
	assert_bundles_gone(f, what.end);
}

static void after(struct fixture *f, const struct retained *intent, enum fault fault, unsigned n)
{
	int r = reopen(f);

	if (r)
		fails(fault, n, r > 0 ? f->l->why : strerror(-r));
	assert_int_equal(f->l->made_again_end, 0);
	if (ledger_size(f->l) < shared->acknowledged)
		fails(fault, n, "what was acknowledged is not there");
	f->seq = f->l->sources.all[0].last_seq;
	f->signed_size = f->l->published.size;
	finish(f, intent);
	pruned_fill(f, 40);
	pruned_good(f, f->l->firsts[0]);
}

/* Before that, what the log was that a copy is made of. */
static void run(struct fixture *f, const struct retained *intent, enum fault fault, unsigned n)
{
	const uint64_t seq = f->seq, signed_size = f->signed_size;
	char from[80];
	int status;

	(void)snprintf(from, sizeof(from), "%s.made", f->dir);
	empty(f);
	copy_log(from, f->dir);
	*shared = (struct shared){0};
	assert_int_equal(reopen(f), 0);
	pid_t pid = fork();
	if (pid == 0)
		child(f, intent, fault, n);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (n < UINT_MAX)
		after(f, intent, fault, n);
	f->seq = seq;
	f->signed_size = signed_size;
}

static unsigned next_call(unsigned n, unsigned calls, unsigned step)
{
	if (getenv("FAULTS_ALL"))
		return n + 1;
	return n + 1 < CALLS_FIRST || n + CALLS_LAST >= calls ? n + step : MIN(n + CALLS_STEP, calls - CALLS_LAST);
}

static void run_all(struct fixture *f, enum fault fault, unsigned step, unsigned seeds)
{
	struct retained intent;
	char made[80];

	pruned_make_log(f);
	pruned_intend(f, f->l->firsts[3] + KEEP_NS + 1, &intent);
	f->l = ledger_close(f->l);
	(void)snprintf(made, sizeof(made), "%s.made", f->dir);
	assert_int_equal(rename(f->dir, made), 0);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	run(f, &intent, fault, UINT_MAX);
	unsigned calls = shared->calls;
	assert_true(calls > 500);
	for (unsigned n = 0; n < calls; n = next_call(n, calls, step))
		for (unsigned i = seeds ? 1 : 0; i <= seeds; i++) {
			faults.seed = i ? (uint64_t)n << 8 | i : 0;
			run(f, &intent, fault, n);
		}
	print_message("%u calls\n", calls);
	(void)nftw(made, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_death_at_every_call(void **state)
{
	run_all(*state, FAULT_KILL, 3, 0);
}

static void test_every_call_fails_once(void **state)
{
	run_all(*state, FAULT_EIO, 1, 0);
}

static void test_power_failure(void **state)
{
	run_all(*state, FAULT_POWER, 3, 0);
}

static void test_some_power_failure(void **state)
{
	run_all(*state, FAULT_POWER, 1, 1);
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
		CASE(test_death_at_every_call),
		CASE(test_every_call_fails_once),
		CASE(test_power_failure),
		CASE(test_some_power_failure),
		CASE(test_death_between_the_record_and_the_removal),
		CASE(test_a_segment_that_ends_early),
	};

	/* The power supply keeps a descriptor for each change that is not synced. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED || sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
