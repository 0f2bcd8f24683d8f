/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call that the ledger makes while it commits, rotates and publishes is made to fail in turn: the n-th
 * call fails with EIO or ENOSPC, writes short, is the last thing the process does, or that and the machine's power goes
 * (tests/support/power.h): with all that nobody synced, or with some of it, others with each seed; n grows until a run
 * meets no fault. After each, the log is opened again: every acknowledged entry is there, none twice, and the whole
 * verifies (or, where nothing had been signed yet, reads back whole).
 *
 * And all of that for logs of several shapes: what recovery begins with may end within a tile, with a full one, or
 * lie behind 65,536 entries, where the tree has one level more. There some of the calls will do, unless FAULTS_ALL is
 * set.
 *
 * Two of them go on: after an error the log is opened again by the same machine, what it then holds is acknowledged,
 * and only then does the power go (the kernel had shown what it had not written). And a disk that takes nothing more
 * from some call on: the log must open for reading, with everything acknowledged.
 *
 * The calls are replaced by the linker (--wrap); the work runs in a child process, which tells through shared memory
 * how many entries it was told are durable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/support/faults.h"
#include "tests/support/test_prune.h"

#define BIG_SIZE 65280 /* only hashes: retention removed the entries */

static struct shared {
	uint64_t acknowledged, signed_size;
	bool met;
} * shared;

/* ---- the work ---- */

static int child_sign(struct fixture *f)
{
	int r = try_sign(f);

	shared->signed_size = f->signed_size;
	return r;
}

/* As the writer does: who waits for an entry is told before it is in the tree. */
static int append(struct fixture *f)
{
	int r = f->l->unwritable;

	while (f->batch.durable < f->batch.n && !r) {
		r = ledger_commit(f->l, &f->batch);
		if (!r) {
			shared->acknowledged = f->batch.first_index + f->batch.durable;
			r = ledger_grow(f->l, &f->batch);
		}
	}
	return r;
}

/* The next start on the same machine: what it finds is told to the producers. */
static int later(struct fixture *f)
{
	int r = reopen(f);

	if (r || f->l->unwritable || f->l->made_again_end > 0)
		_exit(97);
	shared->acknowledged = f->seq = ledger_size(f->l);
	shared->signed_size = f->signed_size = f->l->published.size;
	for (unsigned round = 0; round < 4 && !r; round++) {
		ledger_batch_clear(&f->batch);
		for (unsigned i = 0; i < 40; i++)
			add(f);
		r = append(f);
	}
	return r ? r : child_sign(f);
}

/* Nothing can be written; everything acknowledged can be read. */
static void read_only(struct fixture *f)
{
	uint8_t *owned = NULL;
	struct span bundle;

	int r = reopen(f);

	if (r < 0 && shared->acknowledged == 0)
		_exit(1); /* there is nothing yet that could be read */
	if (r || f->l->unwritable == 0 || ledger_size(f->l) < shared->acknowledged)
		_exit(96);
	for (uint64_t i = 0; i < shared->acknowledged; i++) {
		if (tree_leaves(&f->l->tree, i, &bundle, &owned))
			_exit(95);
		free(owned);
	}
	ledger_batch_clear(&f->batch);
	add(f);
	_exit(ledger_append(f->l, &f->batch) < 0 ? 1 : 94);
}

/* ---- the logs ---- */

struct step {
	unsigned commit; /* so many entries; 0: that was all */
	bool turn, sign;
};

#define COMMIT(n)                 \
	{                         \
		(n), false, false \
	}
#define SIGN(n)                  \
	{                        \
		(n), false, true \
	}
#define TURN(n)                 \
	{                       \
		(n), true, true \
	}

struct shape {
	const char *name;
	const struct step *steps;
	uint64_t size; /* that it begins with */
};

/* Commits of changing size over several segments, a checkpoint now and then; after the turn, what recovery begins with
 * is less than a tile behind. */
static const struct step mixed_steps[] = {
	COMMIT(10), SIGN(27), COMMIT(44), COMMIT(61), SIGN(78), TURN(95), SIGN(112), COMMIT(129), SIGN(146), COMMIT(0),
};
/* What is signed, and what recovery begins with, ends with a full tile, or a little before or after it. */
static const struct step exact_steps[] = {
	TURN(256), SIGN(20), TURN(236), TURN(1), TURN(254), SIGN(1), SIGN(5), COMMIT(0),
};
/* Over the place where the tree gets its third level of tiles. */
static const struct step big_steps[] = {
	SIGN(50), TURN(170), SIGN(34), TURN(1), SIGN(3), TURN(5), SIGN(1), COMMIT(0),
};
static const struct shape mixed = {"mixed", mixed_steps, 0}, exact = {"exact", exact_steps, 0},
			  big = {"big", big_steps, BIG_SIZE + 1};

static uint64_t shape_size(const struct shape *shape)
{
	uint64_t size = shape->size;

	for (const struct step *s = shape->steps; s->commit; s++)
		size += s->commit;
	return size;
}

/* Ends at the first failure, as auditd does. */
static void work(struct fixture *f, const struct shape *shape)
{
	int r = reopen(f);

	if (!r)
		r = f->l->unwritable;
	for (const struct step *s = shape->steps; s->commit && !r; s++) {
		ledger_batch_clear(&f->batch);
		for (unsigned i = 0; i < s->commit; i++)
			add(f);
		r = append(f);
		if (!r && s->turn)
			r = ledger_turn(f->l);
		if (!r && s->sign)
			r = child_sign(f);
	}
	if (r && faults.fault == FAULT_LATER)
		r = later(f);
	if (r && faults.fault == FAULT_DEAD)
		read_only(f);
	if (faults_need_power())
		faults_cut_power();
	_exit(r ? 1 : 0);
}

static void fails(const struct shape *shape, enum fault fault, unsigned n, const char *why)
{
	fail_msg("%s: fault %d at call %u, seed %" PRIx64 ": %s", shape->name, fault, n, faults.seed, why);
}

static void after(struct fixture *f, const struct shape *shape, enum fault fault, unsigned n)
{
	struct verify_report report;

	int r = reopen(f);
	if (r)
		fails(shape, fault, n, r > 0 ? f->l->why : strerror(-r));
	assert_int_equal(f->l->unwritable, 0);
	if (f->l->made_again_end > 0)
		fails(shape, fault, n, "tiles that recovery begins with had to be made again");
	uint64_t size = ledger_size(f->l);
	if (size < shared->acknowledged)
		fails(shape, fault, n, "what was acknowledged is not there");
	assert_true(size <= shape_size(shape) + 160);
	assert_int_equal(size > 0 ? f->l->sources.all[0].last_seq : 0, size);
	f->signed_size = f->l->published.size;
	assert_true(f->signed_size >= shared->signed_size);
	/* As whoever reads it now has it. */
	if (fault == FAULT_POWER && f->l->has_checkpoint && !verifies(f, f->dir, &report))
		fails(shape, fault, n, report.why);
	f->seq = size;
	commit(f, 3);
	sign(f);
	if (!verifies(f, f->dir, &report))
		fails(shape, fault, n, report.why);
	assert_int_equal(report.entries, size + 3);
}

/* A log of which most is hashes. */
static void make_big(struct fixture *f)
{
	struct source router = {.role = ROLE_ROUTER, .last_seq = BIG_SIZE + 1};
	struct merkle_hash hash = {.b = {1}}, root;
	char path[128];

	assert_int_equal(reopen(f), 0);
	for (uint64_t i = 0; i < BIG_SIZE; i++) {
		memcpy(hash.b + 8, &i, sizeof(i));
		assert_int_equal(tree_append_hash(&f->l->tree, &hash), 0);
	}
	memset(router.boot, 0, sizeof(router.boot));
	router.boot[0] = 7; /* test_log.c's */
	assert_int_equal(sources_set(&f->l->sources, &router), 0);
	f->l->segment.end++; /* as if something were in the first one */
	assert_int_equal(ledger_turn(f->l), 0);
	(void)snprintf(path, sizeof(path), "%s/seg/%020d.seg", f->dir, 0);
	assert_int_equal(unlink(path), 0);
	merkle_tree_root(&f->l->tree.merkle, &root);
	f->seq = BIG_SIZE;
	(void)pruned_announce(f, BIG_SIZE, &root);
	sign(f);
	f->l = ledger_close(f->l);
}

/* ---- all calls ---- */

static void empty(struct fixture *f)
{
	f->l = ledger_close(f->l);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	f->seq = f->signed_size = 0;
	*shared = (struct shared){0};
}

static void begin(struct fixture *f, const struct shape *shape)
{
	char from[80];

	empty(f);
	if (shape->size == 0)
		return;
	(void)snprintf(from, sizeof(from), "%s.big", f->dir);
	copy_log(from, f->dir);
	f->seq = f->signed_size = shared->acknowledged = shared->signed_size = shape->size;
}

/* False: there is no such call. */
static bool run(struct fixture *f, const struct shape *shape, enum fault fault, unsigned n)
{
	int status;

	begin(f, shape);
	pid_t child = fork();
	if (child == 0) {
		faults_begin(fault, n, &shared->met);
		work(f, shape);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) > 90 && WEXITSTATUS(status) < 99)
		fails(shape, fault, n, "an error came of it that should not");
	after(f, shape, fault, n);
	return shared->met;
}

/* Every `step`th call; with `seeds` of them, each so often. FAULTS_ALL: every call, and four times as often. */
static void run_all(struct fixture *f, const struct shape *shape, enum fault fault, unsigned step, unsigned seeds)
{
	bool all = getenv("FAULTS_ALL") != NULL, met = true;
	unsigned n = 0;

	for (; n < FAULT_CALLS_MAX && met; n += all ? 1 : step)
		for (unsigned i = seeds ? 1 : 0; i <= (all ? 4 * seeds : seeds); i++) {
			faults.seed = i ? (uint64_t)n << 8 | i : 0;
			met = run(f, shape, fault, n);
		}
	assert_true(n > 100 && n < FAULT_CALLS_MAX);
	print_message("%u calls\n", n);
}

#define FAULT_TEST(name, shape, fault, step, seeds)                  \
	static void name(void **state)                               \
	{                                                            \
		run_all(*state, &(shape), (fault), (step), (seeds)); \
	}
FAULT_TEST(test_eio, mixed, FAULT_EIO, 1, 0)
FAULT_TEST(test_enospc, mixed, FAULT_ENOSPC, 1, 0)
FAULT_TEST(test_eintr, mixed, FAULT_EINTR, 2, 0)
FAULT_TEST(test_short_writes, mixed, FAULT_SHORT, 2, 0)
FAULT_TEST(test_kill, mixed, FAULT_KILL, 1, 0)
FAULT_TEST(test_power, mixed, FAULT_POWER, 1, 0)
FAULT_TEST(test_some_power, mixed, FAULT_POWER, 4, 1)
FAULT_TEST(test_power_after_an_error, mixed, FAULT_LATER, 1, 0)
FAULT_TEST(test_some_power_after_an_error, mixed, FAULT_LATER, 5, 1)
FAULT_TEST(test_a_dead_disk, mixed, FAULT_DEAD, 2, 0)
FAULT_TEST(test_exact_enospc, exact, FAULT_ENOSPC, 13, 0)
FAULT_TEST(test_exact_kill, exact, FAULT_KILL, 13, 0)
FAULT_TEST(test_exact_power, exact, FAULT_POWER, 13, 0)
FAULT_TEST(test_exact_some_power, exact, FAULT_POWER, 5, 1)
FAULT_TEST(test_big_enospc, big, FAULT_ENOSPC, 29, 0)
FAULT_TEST(test_big_kill, big, FAULT_KILL, 29, 0)
FAULT_TEST(test_big_power, big, FAULT_POWER, 29, 0)
FAULT_TEST(test_big_some_power, big, FAULT_POWER, 11, 1)

/* Three segments that nobody has signed: no checkpoint says how many there must be. */
static void test_a_log_that_cannot_be_listed(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	do {
		empty(f);
		assert_int_equal(reopen(f), 0);
		for (unsigned i = 0; i < 3; i++) {
			commit(f, 5);
			assert_int_equal(ledger_turn(f->l), 0);
		}
		f->l = ledger_close(f->l);
		pid_t child = fork();
		if (child == 0) {
			faults_begin(FAULT_EIO, n, &shared->met);
			_exit(reopen(f) ? 1 : 0);
		}
		assert_int_equal(waitpid(child, NULL, 0), child);
		if (reopen(f) || f->l->unwritable || ledger_size(f->l) != 15)
			fails(&mixed, FAULT_EIO, n, "the log is not what it was");
		n++;
	} while (shared->met);
	assert_true(n > 10);
}

static int setup_big(void **state)
{
	if (setup(state))
		return -1;
	struct fixture *f = *state;
	char to[80];

	make_big(f);
	(void)snprintf(to, sizeof(to), "%s.big", f->dir);
	return rename(f->dir, to) || mkdir(f->dir, 0700);
}

static int teardown_big(void **state)
{
	const struct fixture *f = *state;
	char path[80];

	(void)snprintf(path, sizeof(path), "%s.big", f->dir);
	(void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return teardown(state);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define BIG(fn)  cmocka_unit_test_setup_teardown(fn, setup_big, teardown_big)
	const struct CMUnitTest tests[] = {
		CASE(test_eio),
		CASE(test_a_log_that_cannot_be_listed),
		CASE(test_enospc),
		CASE(test_eintr),
		CASE(test_short_writes),
		CASE(test_kill),
		CASE(test_power),
		CASE(test_some_power),
		CASE(test_power_after_an_error),
		CASE(test_some_power_after_an_error),
		CASE(test_a_dead_disk),
		CASE(test_exact_enospc),
		CASE(test_exact_kill),
		CASE(test_exact_power),
		CASE(test_exact_some_power),
		BIG(test_big_enospc),
		BIG(test_big_kill),
		BIG(test_big_power),
		BIG(test_big_some_power),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED || sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
