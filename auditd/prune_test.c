/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal as files go: what is over is found, said and removed; the log is good at every moment of it, to readers, to
 * proofs and to ledger_open(); a removal that dies at any of its system calls is ended by the next one. And what is
 * gone without a word, or with a false one, is refused.
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
#include "auditd/prune.h"
#include "tests/support/test_log.h"

#define KEEP_NS   1000
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

/* ---- a log ---- */

/* `n` events, in commits of 40 with a checkpoint each: recorded_ns is the event's number (test_log.c). */
static void fill(struct fixture *f, size_t n)
{
	for (size_t i = 0; i < n; i += 40) {
		commit(f, 40);
		sign(f);
	}
}

/* Several segments, and bundles of which some are full. */
static void make_log(struct fixture *f)
{
	assert_int_equal(reopen(f), 0);
	fill(f, 1400);
	assert_true(f->l->n_firsts >= 5);
}

static int look(const struct fixture *f, struct prune_look *l, uint64_t now)
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
static uint64_t announce(struct fixture *f, uint64_t end, const struct merkle_hash *root)
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
static void intend(struct fixture *f, uint64_t now, struct retained *what)
{
	struct prune_look l;

	assert_int_equal(look(f, &l, now), 0);
	assert_true(l.end > 0);
	*what = (struct retained){
		.first = f->l->firsts[0], .end = l.end, .newest_ns = l.newest_ns, .time_ns = now, .keep = "30d"};
	what->index = announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	sign(f);
}

static size_t n_over(const struct fixture *f, uint64_t end)
{
	size_t n = 0;

	while (n < f->l->n_firsts && f->l->firsts[n] < end)
		n++;
	return n;
}

static int work(struct prune *p, unsigned files)
{
	int r = 0;

	while (r == 0)
		r = prune_step(p, files);
	return r;
}

static void prune(struct fixture *f, uint64_t now)
{
	struct retained what;
	struct prune p;

	intend(f, now, &what);
	assert_int_equal(prune_begin(&p, f->l->dir, &what, f->l->firsts, n_over(f, what.end)), 0);
	assert_int_equal(work(&p, 7), PRUNE_E_DONE);
	ledger_forget(f->l, what.end);
}

static bool exists(const struct fixture *f, int level, uint64_t n, unsigned width)
{
	char path[TILE_PATH_MAX];

	tile_path(path, level, n, width);
	return faccessat(f->l->dir, path, F_OK, 0) == 0;
}

static void good(const struct fixture *f, uint64_t first)
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

static bool refused(const struct fixture *f, const char *why)
{
	struct verify_report report;

	if (verifies(f, f->dir, &report))
		return false;
	if (!strstr(report.why, why))
		fail_msg("%s", report.why);
	return true;
}

/* ---- what is over ---- */

static void test_what_is_over(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	make_log(f);
	const uint64_t *firsts = f->l->firsts;
	for (size_t i = 1; i < f->l->n_firsts; i++) {
		/* Record n has time n + 1, so the last one before firsts[i] has time firsts[i]. */
		assert_int_equal(look(f, &l, firsts[i] + KEEP_NS), 0);
		assert_int_equal(l.end, i > 1 ? firsts[i - 1] : 0);
		prune_look_deinit(&l);
		assert_int_equal(look(f, &l, firsts[i] + KEEP_NS + 1), 0);
		assert_int_equal(l.end, firsts[i]);
		assert_int_equal(l.newest_ns, firsts[i]);
		prune_look_deinit(&l);
	}
	/* The one that is written never is, and what is not signed is not. */
	assert_int_equal(look(f, &l, UINT64_MAX / 4), 0);
	assert_int_equal(l.end, firsts[f->l->n_firsts - 1]);
	assert_int_equal(l.active_ns, firsts[f->l->n_firsts - 1] + 1);
	for (size_t i = 1; i < f->l->n_firsts; i++) {
		l.signed_size = firsts[i] - 1;
		assert_int_equal(prune_look(&l), 0);
		assert_int_equal(l.end, i > 1 ? firsts[i - 1] : 0);
	}
	prune_look_deinit(&l);
}

static void test_what_is_remembered_between_looks(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	make_log(f);
	assert_int_equal(look(f, &l, UINT64_MAX / 4), 0);
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

/* Nothing is said of a log whose tiles or segments are not good. */
static void test_a_damaged_log_is_let_be(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;
	char path[160];

	make_log(f);
	(void)snprintf(path, sizeof(path), "%s/seg/%020" PRIu64 ".seg", f->dir, f->l->firsts[1]);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, SEGMENT_HEAD_BYTES + 40), 1);
	(void)close(fd);
	assert_int_equal(look(f, &l, UINT64_MAX / 4), PRUNE_E_DAMAGED);
	assert_int_equal(l.end, 0);
	l.now_ns = f->l->firsts[1] + KEEP_NS + 1; /* the one before it is good, but its end is not where it should be */
	(void)snprintf(path, sizeof(path), "%s/tile/0/000", f->dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "xxxx", 4, 40), 4);
	(void)close(fd);
	assert_int_equal(prune_look(&l), PRUNE_E_DAMAGED);
	prune_look_deinit(&l);
}

/* ---- removing ---- */

static void test_segments_and_bundles_go_and_hashes_stay(void **state)
{
	struct fixture *f = *state;
	struct finder finder;
	struct retained read;
	struct verify_report before, after;

	make_log(f);
	assert_true(verifies(f, f->dir, &before));
	uint64_t end = f->l->firsts[4];
	assert_true(end > 2 * TILE_WIDTH && exists(f, TILE_ENTRIES, 0, 40) && exists(f, 0, 0, 40));
	prune(f, end + KEEP_NS + 1);
	good(f, end);
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
	fill(f, 700);
	prune(f, f->l->firsts[2] + KEEP_NS + 1);
	assert_int_equal(reopen(f), 0);
	fill(f, 80);
	good(f, ledger_first(f->l));
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
		fill(f, 160);
		merkle_tree_root(&f->l->tree.merkle, &roots[i]);
	}
	uint64_t end = f->l->firsts[3];
	prune(f, end + KEEP_NS + 1);
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
	if (prune_begin(&p, f->l->dir, &what, f->l->firsts, n_over(f, what.end)))
		_exit(98);
	_exit(work(&p, 1000) == PRUNE_E_DONE ? 0 : 97);
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
		good(f, f->l->firsts[0]);
		return;
	}
	assert_int_equal(r, 0);
	assert_true(what.end == intent->end && what.index == intent->index);
	good(f, f->l->firsts[0]); /* also as it was left */
	prune_resume(&p, f->l->dir, &what, f->l->firsts, n_over(f, what.end));
	assert_int_equal(work(&p, 1), PRUNE_E_DONE);
	ledger_forget(f->l, what.end);
	good(f, what.end);
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
		make_log(f);
		intend(f, f->l->firsts[3] + KEEP_NS + 1, &intent);
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

	make_log(f);
	uint64_t end = f->l->firsts[3];
	intend(f, end + KEEP_NS + 1, &what);
	good(f, 0);
	assert_int_equal(reopen(f), 0);
	prune(f, end + KEEP_NS + 1);
	good(f, end);
}

/* ---- what is refused ---- */

static void unlink_segment(const struct fixture *f, uint64_t first)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/seg/%020" PRIu64 ".seg", f->dir, first);
	assert_int_equal(unlink(path), 0);
}

static void test_a_removal_that_no_record_covers(void **state)
{
	struct fixture *f = *state;

	make_log(f);
	unlink_segment(f, 0);
	assert_true(refused(f, "no signed record says"));
}

static void test_more_than_the_record_says(void **state)
{
	struct fixture *f = *state;

	make_log(f);
	uint64_t end = f->l->firsts[2];
	prune(f, end + KEEP_NS + 1);
	good(f, end);
	unlink_segment(f, end);
	assert_true(refused(f, "no signed record says"));
}

static void test_a_hole_behind_the_pruned_beginning(void **state)
{
	struct fixture *f = *state;

	make_log(f);
	uint64_t end = f->l->firsts[1], later = f->l->firsts[3];
	prune(f, end + KEEP_NS + 1);
	unlink_segment(f, later);
	assert_true(refused(f, "are missing"));
}

static void test_an_unsigned_record_covers_nothing(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	make_log(f);
	uint64_t end = f->l->firsts[1];
	assert_int_equal(look(f, &l, end + KEEP_NS + 1), 0);
	(void)announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	unlink_segment(f, 0);
	assert_true(refused(f, "no signed record says"));
	sign(f);
	good(f, end);
}

/* A record that names another root, as one of another log or of somebody who does not know this one would. */
static void test_a_record_of_other_entries(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	make_log(f);
	assert_int_equal(look(f, &l, f->l->firsts[1] + KEEP_NS + 1), 0);
	l.root.b[5] ^= 1;
	(void)announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	sign(f);
	assert_true(refused(f, "log.prune does not speak"));
}

static void test_a_hash_tile_is_missing(void **state)
{
	struct fixture *f = *state;
	char path[160];

	make_log(f);
	prune(f, f->l->firsts[3] + KEEP_NS + 1);
	(void)snprintf(path, sizeof(path), "%s/tile/0/000", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_true(refused(f, "hashes in tile/"));
}

static void test_bundles_that_are_left_must_be_right(void **state)
{
	struct fixture *f = *state;
	char path[160];

	make_log(f);
	uint64_t end = f->l->firsts[3];
	prune(f, end + KEEP_NS + 1);
	(void)snprintf(path, sizeof(path), "%s/tile/entries/000", f->dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "\0\1x", 3), 3);
	(void)close(fd);
	assert_true(refused(f, "hashes in tile/"));
}

/* ---- the file ---- */

static void test_the_file(void **state)
{
	const struct retained what = {
		.clock_ns = 5, .newest_ns = UINT64_MAX, .first = 1, .end = 7, .index = 9, .time_ns = 8, .keep = "24h"};
	static const char *const bad[] = {
		"",
		"bulkhead-retention/2\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 05\nnewest 1\nprune 1 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 8 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 6 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 0123456789abcdef\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate none\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done\nmore\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done",
	};
	struct fixture *f = *state;
	struct retained read;

	assert_int_equal(reopen(f), 0);
	assert_int_equal(retained_read(f->l->dir, &read), RETAINED_E_NONE);
	assert_true(read.done && read.end == 0);
	assert_int_equal(retained_write(f->l->dir, &what), 0);
	assert_int_equal(retained_read(f->l->dir, &read), 0);
	assert_int_equal(memcmp(&read.clock_ns, &what.clock_ns, offsetof(struct retained, keep)), 0);
	assert_true(!read.done && strcmp(read.keep, "24h") == 0);
	assert_int_equal(retained_write(f->l->dir, &RETAINED_NULL), 0);
	assert_int_equal(retained_read(f->l->dir, &read), 0);
	assert_true(read.done && read.end == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(tree_write_durable(f->l->dir, RETAINED_FILE, span_str(bad[i])), 0);
		assert_int_equal(retained_read(f->l->dir, &read), RETAINED_E_NONE);
		assert_true(read.done && read.end == 0);
	}
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
	good(f, 0);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(f->l->n_firsts, 2);
	commit(f, 3);
	sign(f);
	good(f, 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_what_is_over),
		CASE(test_what_is_remembered_between_looks),
		CASE(test_a_damaged_log_is_let_be),
		CASE(test_segments_and_bundles_go_and_hashes_stay),
		CASE(test_proofs_stay_good),
		CASE(test_death_before_every_call),
		CASE(test_death_after_every_call),
		CASE(test_death_between_the_record_and_the_removal),
		CASE(test_a_removal_that_no_record_covers),
		CASE(test_more_than_the_record_says),
		CASE(test_a_hole_behind_the_pruned_beginning),
		CASE(test_an_unsigned_record_covers_nothing),
		CASE(test_a_record_of_other_entries),
		CASE(test_a_hash_tile_is_missing),
		CASE(test_bundles_that_are_left_must_be_right),
		CASE(test_the_file),
		CASE(test_a_segment_that_ends_early),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
