/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the arena promises, tried from the outside: each forbidden access happens in a forked child, which reports by
 * its exit how it was stopped. Every test runs for each combination of protections that some kernel or CPU leaves us
 * with.
 */
#include "common/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ARENA_BYTES 69632 /* not a power of two: the last bank is cut short */

/* Exits of a child. */
enum { CHILD_NOT_STOPPED = 40, CHILD_FAULT = 50 };

struct fixture {
	unsigned without;
	struct secret_arena *arena;
	struct secret secret;
};

static const char pattern[] = "sk-a-secret-of-the-test";

static int setup(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(secret_arena_new_without(ARENA_BYTES, f->without, &f->arena), 0);
	assert_int_equal(secret_alloc(f->arena, sizeof(pattern), &f->secret), 0);
	secret_open(f->arena);
	memcpy(f->secret.p, pattern, sizeof(pattern));
	secret_close(f->arena);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	secret_free(f->arena, &f->secret);
	f->arena = secret_arena_free(f->arena);
	return 0;
}

static bool has(const struct fixture *f, const char *protection)
{
	return strstr(secret_arena_protection(f->arena), protection) != NULL;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	_exit(CHILD_FAULT + info->si_code);
}

/* Runs `act` in a child and tells how it ended: its exit code, or -signal. */
static int in_child(void (*act)(struct fixture *f), struct fixture *f)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
		(void)sigaction(SIGSEGV, &fault, NULL);
		(void)signal(SIGABRT, SIG_DFL);
		(void)dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		act(f);
		_exit(CHILD_NOT_STOPPED);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void touch(const volatile uint8_t *p)
{
	(void)*p;
}

/* The parent's arena does not exist in a child, so the child makes its own. */
static void own_arena(struct fixture *f)
{
	if (secret_arena_new_without(ARENA_BYTES, f->without, &f->arena) ||
	    secret_alloc(f->arena, sizeof(pattern), &f->secret))
		_exit(1);
}

static void read_closed(struct fixture *f)
{
	own_arena(f);
	touch(f->secret.p);
}

static void write_closed(struct fixture *f)
{
	own_arena(f);
	*(volatile uint8_t *)f->secret.p = 1;
}

static void read_open(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	touch(f->secret.p);
	secret_close(f->arena);
}

static void a_closed_arena_faults(void **state)
{
	struct fixture *f = *state;
	int expected = CHILD_FAULT + (has(f, "pkey") ? SEGV_PKUERR : SEGV_ACCERR);

	assert_int_equal(in_child(read_closed, f), expected);
	assert_int_equal(in_child(write_closed, f), expected);
	assert_int_equal(in_child(read_open, f), CHILD_NOT_STOPPED);
}

static void read_before(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	touch((uint8_t *)((uintptr_t)f->secret.p & ~(uintptr_t)4095) - 1);
}

static void read_behind(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	touch((uint8_t *)((uintptr_t)f->secret.p & ~(uintptr_t)4095) + secret_arena_size(f->arena));
}

static void guard_pages_fault(void **state)
{
	assert_int_equal(in_child(read_before, *state), CHILD_FAULT + SEGV_ACCERR);
	assert_int_equal(in_child(read_behind, *state), CHILD_FAULT + SEGV_ACCERR);
}

static void read_inherited(struct fixture *f)
{
	if (has(f, "pkey"))
		secret_open(f->arena);
	touch(f->secret.p);
}

static void a_forked_child_does_not_have_it(void **state)
{
	assert_int_equal(in_child(read_inherited, *state), CHILD_FAULT + SEGV_MAPERR);
}

static void opens_nest(void **state)
{
	struct fixture *f = *state;

	secret_open(f->arena);
	secret_open(f->arena);
	secret_close(f->arena);
	assert_memory_equal(f->secret.p, pattern, sizeof(pattern));
	secret_close(f->arena);
}

static void read_held(struct fixture *f)
{
	own_arena(f);
	secret_hold(f->arena);
	secret_open(f->arena);
	secret_close(f->arena);
	touch(f->secret.p);
}

static void read_released(struct fixture *f)
{
	own_arena(f);
	secret_hold(f->arena);
	secret_hold(f->arena);
	secret_open(f->arena);
	secret_close(f->arena);
	secret_release(f->arena);
	touch(f->secret.p); /* where it is stopped already, read_held() was too */
	secret_release(f->arena);
	touch(f->secret.p);
}

static void a_hold_puts_off_a_close_that_costs(void **state)
{
	struct fixture *f = *state;
	bool pkey = has(f, "pkey");

	assert_int_equal(in_child(read_held, f), pkey ? CHILD_FAULT + SEGV_PKUERR : CHILD_NOT_STOPPED);
	assert_int_equal(in_child(read_released, f), CHILD_FAULT + (pkey ? SEGV_PKUERR : SEGV_ACCERR));
	secret_hold(f->arena);
	secret_open(f->arena);
	secret_release(f->arena); /* not while it is open */
	assert_memory_equal(f->secret.p, pattern, sizeof(pattern));
	secret_close(f->arena);
}

#define LAST(f) ((uint8_t *)((uintptr_t)(f)->secret.p & ~(uintptr_t)4095) + secret_arena_size((f)->arena) - 1)

static void read_last(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	touch(LAST(f));
}

/* Taken and given back while it is open, up to the last bank. */
static void take_all(struct fixture *f)
{
	struct secret piece;

	own_arena(f);
	secret_open(f->arena);
	if (secret_alloc(f->arena, ARENA_BYTES - 1024, &piece))
		_exit(1);
	secret_free(f->arena, &piece);
	secret_close(f->arena);
}

static void read_last_closed(struct fixture *f)
{
	take_all(f);
	touch(LAST(f));
}

static void read_last_given_back(struct fixture *f)
{
	take_all(f);
	secret_open(f->arena);
	touch(LAST(f));
}

/* Where an open costs by the page; and it grows with what is taken meanwhile. */
static void banks_that_hold_nothing_stay_closed(void **state)
{
	struct fixture *f = *state;
	struct secret piece, last;

	assert_int_equal(in_child(read_last, f), has(f, "pkey") ? CHILD_NOT_STOPPED : CHILD_FAULT + SEGV_ACCERR);
	secret_open(f->arena);
	assert_int_equal(secret_alloc(f->arena, ARENA_BYTES / 2, &piece), 0);
	piece.p[0] = piece.p[piece.len - 1] = 1;
	assert_int_equal(secret_alloc(f->arena, ARENA_BYTES / 4, &last), 0);
	last.p[0] = last.p[last.len - 1] = 1;
	secret_free(f->arena, &piece);
	secret_close(f->arena);
	secret_open(f->arena);
	assert_int_equal(last.p[0] + last.p[last.len - 1], 2);
	secret_close(f->arena);
	secret_free(f->arena, &last);
	assert_int_equal(in_child(read_last_closed, f), CHILD_FAULT + (has(f, "pkey") ? SEGV_PKUERR : SEGV_ACCERR));
	assert_int_equal(in_child(read_last_given_back, f), in_child(read_last, f));
}

static void the_kernel_does_not_read_a_closed_arena(void **state)
{
	struct fixture *f = *state;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], f->secret.p, f->secret.len), -1);
	assert_int_equal(errno, EFAULT);
	secret_open(f->arena);
	assert_int_equal(write(ends[1], f->secret.p, f->secret.len), f->secret.len);
	secret_close(f->arena);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void proc_mem_does_not_show_it(void **state)
{
	struct fixture *f = *state;
	char seen[sizeof(pattern)];

	if (!has(f, "memfd_secret"))
		skip(); /* locked memory hides from swap and dumps, not from root */
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(pread(fd, seen, sizeof(seen), (off_t)(uintptr_t)f->secret.p) < 0);
	secret_open(f->arena);
	assert_true(pread(fd, seen, sizeof(seen), (off_t)(uintptr_t)f->secret.p) < 0);
	secret_close(f->arena);
	(void)close(fd);
}

static void a_sealed_mapping_stays(void **state)
{
	struct fixture *f = *state;
	void *page = (void *)((uintptr_t)f->secret.p & ~(uintptr_t)4095);

	if (!has(f, "mseal"))
		skip();
	assert_int_equal(mprotect(page, 4096, PROT_READ), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(munmap(page, 4096), -1);
	assert_int_equal(errno, EPERM);
}

static void damage_before(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	f->secret.p[-1] ^= 1;
	secret_free(f->arena, &f->secret);
}

static void damage_behind(struct fixture *f)
{
	own_arena(f);
	secret_open(f->arena);
	f->secret.p[f->secret.len] ^= 1;
	secret_free(f->arena, &f->secret);
}

static void free_twice(struct fixture *f)
{
	own_arena(f);
	struct secret again = f->secret;
	secret_free(f->arena, &f->secret);
	secret_free(f->arena, &again);
}

static void free_with_wrong_length(struct fixture *f)
{
	own_arena(f);
	f->secret.len = 200;
	secret_free(f->arena, &f->secret);
}

static void damage_aborts(void **state)
{
	assert_int_equal(in_child(damage_before, *state), -SIGABRT);
	assert_int_equal(in_child(damage_behind, *state), -SIGABRT);
	assert_int_equal(in_child(free_twice, *state), -SIGABRT);
	assert_int_equal(in_child(free_with_wrong_length, *state), -SIGABRT);
}

static void a_full_arena_refuses_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct secret pieces[2 * 65536 / 64], more; /* in pages of 64 KiB, too */
	size_t n = 0, used = secret_arena_used(f->arena), size = secret_arena_size(f->arena);

	assert_int_equal(secret_alloc(f->arena, size, &more), SECRET_E_FULL);
	assert_int_equal(secret_alloc(f->arena, SIZE_MAX - 16, &more), SECRET_E_FULL);
	while (secret_alloc(f->arena, 32, &pieces[n]) == 0)
		n++;
	assert_int_equal(n, size / 64 - used / 64);
	assert_int_equal(secret_arena_used(f->arena), size);

	/* Two neighbours make room for one of twice the size, single holes do not. */
	secret_free(f->arena, &pieces[3]);
	secret_free(f->arena, &pieces[5]);
	assert_int_equal(secret_alloc(f->arena, 96, &more), SECRET_E_FULL);
	secret_free(f->arena, &pieces[4]);
	assert_int_equal(secret_alloc(f->arena, 160, &more), 0);
	secret_free(f->arena, &more);
	for (size_t i = 0; i < n; i++)
		secret_free(f->arena, &pieces[i]);
	assert_int_equal(secret_arena_used(f->arena), used);
}

static void freed_memory_is_wiped(void **state)
{
	struct fixture *f = *state;
	uint8_t *was = f->secret.p;

	secret_free(f->arena, &f->secret);
	assert_null(f->secret.p);
	secret_free(f->arena, &f->secret);
	secret_open(f->arena);
	for (size_t i = 0; i < sizeof(pattern); i++)
		assert_int_equal(was[i], 0);
	secret_close(f->arena);
	assert_int_equal(secret_alloc(f->arena, 5000, &f->secret), 0);
	secret_open(f->arena);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(f->secret.p[i], 0);
	secret_close(f->arena);
}

/* proc(5), VmFlags: locked, not dumped, not inherited by a child. tests/support/memscan.py tells an arena by them. */
static void the_kernel_knows_what_it_is(void **state)
{
	struct fixture *f = *state;
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512];
	bool within = false, seen = false;

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		uintptr_t low, high, at = (uintptr_t)f->secret.p;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &low, &high) == 2)
			within = low <= at && at < high;
		if (!within || strncmp(line, "VmFlags:", 8) != 0)
			continue;
#ifndef BULKHEAD_INSTRUMENTED /* the sanitizers make mlock() do nothing */
		assert_true(strstr(line, " lo ") || has(f, "memfd_secret")); /* Linux 6.12 does not say it of these */
#endif
		assert_non_null(strstr(line, " dd "));
		assert_non_null(strstr(line, " dc "));
		seen = true;
	}
	assert_true(seen);
	assert_int_equal(fclose(smaps), 0);
}

#ifdef __x86_64__
/* As after a memcpy() of libc's: what was in vector registers is gone with the outermost close. */
static void close_clears_registers(void **state)
{
	struct fixture *f = *state;
	uint8_t low[16], high[16], wide[64] = {0};
	bool avx512 = __builtin_cpu_supports("avx512vl");

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
	puts("SKIPPED: registers are ThreadSanitizer's own after each call");
	skip();
#endif
#endif
	secret_open(f->arena);
	__asm__ volatile("movdqu (%0), %%xmm3\n\tmovdqu (%0), %%xmm15" ::"r"(f->secret.p) : "xmm3", "xmm15");
	if (avx512)
		__asm__ volatile("vbroadcasti32x4 (%0), %%zmm29" ::"r"(f->secret.p) : "memory");
	secret_close(f->arena);
	__asm__ volatile("movdqu %%xmm3, (%0)\n\tmovdqu %%xmm15, (%1)" ::"r"(low), "r"(high) : "memory");
	if (avx512)
		__asm__ volatile("vmovdqu32 %%zmm29, (%0)" ::"r"(wide) : "memory");
	for (size_t i = 0; i < sizeof(wide); i++)
		assert_int_equal(wide[i] | low[i % 16] | high[i % 16], 0);
}
#endif

static void comparison_sees_every_byte(void **state)
{
	uint8_t a[33] = {0}, b[33] = {0};

	(void)state;
	assert_true(secret_eq(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] = 0x80;
		assert_false(secret_eq(a, b, sizeof(a)));
		b[i] = 0;
	}
}

static int run(unsigned without)
{
	struct fixture f = {.without = without};
	struct secret_arena *a = NULL;
	/* clang-format off */
#define TEST(fn) { #fn, fn, setup, teardown, &f }
	const struct CMUnitTest tests[] = {
		TEST(a_closed_arena_faults),
		TEST(guard_pages_fault),
		TEST(a_forked_child_does_not_have_it),
		TEST(opens_nest),
		TEST(a_hold_puts_off_a_close_that_costs),
		TEST(banks_that_hold_nothing_stay_closed),
		TEST(the_kernel_does_not_read_a_closed_arena),
		TEST(proc_mem_does_not_show_it),
		TEST(a_sealed_mapping_stays),
		TEST(damage_aborts),
		TEST(a_full_arena_refuses_and_recovers),
		TEST(freed_memory_is_wiped),
		TEST(the_kernel_knows_what_it_is),
#ifdef __x86_64__
		TEST(close_clears_registers),
#endif
		TEST(comparison_sees_every_byte),
	};
	/* clang-format on */
	if (secret_arena_new_without(ARENA_BYTES, without, &a))
		return 1;
	const char *protection = secret_arena_protection(a);
	(void)fprintf(stderr, "protection: %s\n", protection);
	int failed = cmocka_run_group_tests_name(protection, tests, NULL, NULL);
	a = secret_arena_free(a);
	return failed;
}

int main(void)
{
	return run(0) + run(SECRET_WITHOUT_MEMFD) + run(SECRET_WITHOUT_PKEY) +
	       run(SECRET_WITHOUT_MEMFD | SECRET_WITHOUT_PKEY) + run(SECRET_WITHOUT_MSEAL);
}
