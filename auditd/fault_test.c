/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call that the ledger makes while it commits, rotates and publishes is made to fail in turn: the n-th
 * call fails with EIO or ENOSPC, writes short, is the last thing the process does, or that and the machine's power goes
 * (tests/support/power.h); n grows until a run meets no fault. After each, the log is opened again: every acknowledged
 * entry is there, none twice, and the whole verifies (or, where nothing had been signed yet, reads back whole).
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

#include "tests/support/power.h"
#include "tests/support/test_log.h"

#define FAULT_CALLS_MAX 2000

enum fault { FAULT_EIO, FAULT_ENOSPC, FAULT_EINTR, FAULT_SHORT, FAULT_KILL, FAULT_POWER, FAULT_LATER, FAULT_DEAD };

/* The wrappers have no context to be given; there is one run at a time. */
static struct {
	bool armed;
	enum fault fault;
	unsigned at, calls;
	unsigned long met;
} plan;

static struct shared {
	uint64_t acknowledged, signed_size;
	bool met;
} * shared;

/* True when this call is the one. FAULT_KILL and FAULT_POWER do not come back. */
static bool fault_now(void)
{
	if (!plan.armed || (plan.fault == FAULT_DEAD ? plan.calls++ < plan.at : plan.calls++ != plan.at))
		return false;
	shared->met = true;
	if (plan.fault == FAULT_POWER)
		power_fail();
	if (plan.fault == FAULT_KILL || plan.fault == FAULT_POWER)
		_exit(99);
	errno = plan.fault == FAULT_ENOSPC ? ENOSPC : plan.fault == FAULT_EINTR ? EINTR : EIO;
	return true;
}

/* Of an error, too, comes what comes of a power failure when it is not heeded. */
static bool powered(void)
{
	return plan.armed && (plan.fault == FAULT_POWER || plan.fault == FAULT_EIO || plan.fault == FAULT_LATER);
}

/* `before` is told to the power supply before the call, `after` when it has succeeded. */
#define WRAP(ret, name, params, args, before, after) \
	ret __real_##name params;                    \
	ret __wrap_##name params;                    \
	ret __wrap_##name params                     \
	{                                            \
		if (fault_now())                     \
			return (ret)-1;              \
		if (powered())                       \
			before;                      \
		ret r = __real_##name args;          \
		if (powered() && r == 0)             \
			after;                       \
		return r;                            \
	}
#define NOTHING ((void)0)

/* clang-format off */
WRAP(int, renameat, (int d1, const char *from, int d2, const char *to), (d1, from, d2, to),
     power_rename(d1, from, to), NOTHING)
WRAP(int, mkdirat, (int d, const char *path, mode_t mode), (d, path, mode), power_create(d, path, false), NOTHING)
WRAP(int, ftruncate, (int fd, off_t len), (fd, len), power_resize(fd), NOTHING)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), NOTHING, NOTHING)
/* clang-format on */

/* Reading goes on when nothing can be written any more. */
#define WRAP_READ(name, params, args)                        \
	int __real_##name params;                            \
	int __wrap_##name params;                            \
	int __wrap_##name params                             \
	{                                                    \
		if (plan.fault != FAULT_DEAD && fault_now()) \
			return -1;                           \
		return __real_##name args;                   \
	}
WRAP_READ(fstat, (int fd, struct stat *st), (fd, st))
WRAP_READ(fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags))

int __real_syncfs(int fd);
int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	bool fault = fault_now();
	int r = fault ? -1 : __real_syncfs(fd);

	if (powered() && fault)
		power_unsynced_all();
	if (powered() && r == 0)
		power_synced_all();
	return r;
}

static int sync_one(int fd, int (*real)(int fd))
{
	bool fault = fault_now();
	int r = fault ? -1 : real(fd);

	if (powered() && fault)
		power_unsynced(fd);
	if (powered() && r == 0)
		power_synced(fd);
	return r;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return sync_one(fd, __real_fsync);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return sync_one(fd, __real_fdatasync);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	bool writing = (flags & O_ACCMODE) != O_RDONLY;

	if ((writing || plan.fault != FAULT_DEAD) && fault_now())
		return -1;
	if (powered() && flags & O_CREAT)
		power_create(dir, path, flags & O_TRUNC);
	return __real_openat(dir, path, flags, 0600);
}

ssize_t __real_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at)
{
	unsigned call = plan.calls;

	if (plan.armed && call == plan.at && (plan.fault == FAULT_SHORT || plan.fault == FAULT_KILL) && len > 1)
		len = __real_pwrite(fd, p, len / 2, at) > 0 ? len / 2 : len;
	if (plan.fault == FAULT_SHORT && plan.armed && call == plan.at) {
		plan.calls++;
		shared->met = true;
		return (ssize_t)len;
	}
	if (fault_now())
		return -1;
	if (powered())
		power_write(fd, at, len);
	return __real_pwrite(fd, p, len, at);
}

/* ---- the work ---- */

/* 0 or what failed. Like sign() of the fixture, but an error is an answer. */
static int try_sign(struct fixture *f)
{
	struct checkpoint cp = {.origin = span_str(f->key.name), .size = ledger_size(f->l)};
	struct merkle_proof proof;
	uint8_t sig[NOTE_SIG_BYTES];
	char text[512], note[LEDGER_NOTE_MAX];
	size_t len, note_len;

	int r = ledger_prepare(f->l, f->signed_size, &cp.root, &proof);
	if (r)
		return r;
	if (checkpoint_format(&cp, text, sizeof(text), &len))
		return -EINVAL;
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, len, f->secret);
	if (note_format(span_of(text, len), &f->key, sig, note, sizeof(note), &note_len))
		return -EINVAL;
	r = ledger_write_key(f->l, &f->key);
	if (!r)
		r = ledger_publish(f->l, span_of(note, note_len), &f->key, cp.size, &cp.root);
	if (!r)
		ledger_published(f->l, cp.size, &cp.root);
	if (!r)
		f->signed_size = shared->signed_size = cp.size;
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

	if (r || f->l->unwritable)
		_exit(97);
	shared->acknowledged = f->seq = ledger_size(f->l);
	shared->signed_size = f->signed_size = f->l->published.size;
	for (unsigned round = 0; round < 4 && !r; round++) {
		ledger_batch_clear(&f->batch);
		for (unsigned i = 0; i < 40; i++)
			add(f);
		r = append(f);
	}
	return r ? r : try_sign(f);
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

/* Commits of changing size over several segments, a checkpoint now and then. Ends at the first failure, as auditd does.
 */
static void work(struct fixture *f)
{
	int r = reopen(f);

	if (!r)
		r = f->l->unwritable;
	for (unsigned round = 0; round < 9 && !r; round++) {
		ledger_batch_clear(&f->batch);
		for (unsigned i = 0; i < 10 + round * 17; i++)
			add(f);
		r = append(f);
		if (!r && round == 5)
			r = ledger_turn(f->l); /* what recovery then begins with is less than a tile behind */
		if (!r && (round % 3 == 1 || round == 5 || round == 6))
			r = try_sign(f);
	}
	if (r && plan.fault == FAULT_LATER)
		r = later(f);
	if (r && plan.fault == FAULT_DEAD)
		read_only(f);
	if (powered())
		power_fail();
	_exit(r ? 1 : 0);
}

static void after(struct fixture *f, enum fault fault, unsigned n)
{
	struct verify_report report;

	int r = reopen(f);
	if (r)
		fail_msg("fault %d at call %u: not opened again: %s", fault, n, r > 0 ? f->l->why : strerror(-r));
	assert_int_equal(f->l->unwritable, 0);
	uint64_t size = ledger_size(f->l);
	if (size < shared->acknowledged)
		fail_msg("fault %d at call %u: %" PRIu64 " acknowledged, %" PRIu64 " there", fault, n,
			 shared->acknowledged, size);
	assert_true(size <= 702 + 160);
	assert_int_equal(size > 0 ? f->l->sources.all[0].last_seq : 0, size);
	f->signed_size = f->l->published.size;
	assert_true(f->signed_size >= shared->signed_size);
	f->seq = size;
	commit(f, 3);
	sign(f);
	if (!verifies(f, f->dir, &report))
		fail_msg("fault %d at call %u: %s", fault, n, report.why);
	assert_int_equal(report.entries, size + 3);
}

static void empty(struct fixture *f)
{
	f->l = ledger_close(f->l);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	f->seq = f->signed_size = 0;
	*shared = (struct shared){0};
}

static void run_all(struct fixture *f, enum fault fault)
{
	unsigned n = 0;

	for (; n < FAULT_CALLS_MAX; n++) {
		int status;
		empty(f);
		pid_t child = fork();
		if (child == 0) {
			if (!freopen("/dev/null", "w", stderr))
				_exit(98);
			plan.armed = true;
			plan.fault = fault;
			plan.at = n;
			work(f);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) > 90 && WEXITSTATUS(status) < 99)
			fail_msg("fault %d at call %u: %d", fault, n, WEXITSTATUS(status));
		after(f, fault, n);
		if (!shared->met)
			break;
	}
	assert_true(n > 100 && n < FAULT_CALLS_MAX);
	print_message("%u calls\n", n);
}

#define FAULT_TEST(name, fault)           \
	static void name(void **state)    \
	{                                 \
		run_all(*state, (fault)); \
	}
FAULT_TEST(test_eio, FAULT_EIO)
FAULT_TEST(test_enospc, FAULT_ENOSPC)
FAULT_TEST(test_eintr, FAULT_EINTR)
FAULT_TEST(test_short_writes, FAULT_SHORT)
FAULT_TEST(test_kill, FAULT_KILL)
FAULT_TEST(test_power, FAULT_POWER)
FAULT_TEST(test_power_after_an_error, FAULT_LATER)
FAULT_TEST(test_a_dead_disk, FAULT_DEAD)

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_eio),
		CASE(test_enospc),
		CASE(test_eintr),
		CASE(test_short_writes),
		CASE(test_kill),
		CASE(test_power),
		CASE(test_power_after_an_error),
		CASE(test_a_dead_disk),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED || sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
