/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program, unchanged and in its sandbox, and makes one of its system calls fail: the FAULT_AT-th (from 0) of
 * those by which a log is written, over all its threads.
 *
 *   FAULT          EIO, ENOSPC, EINTR; SHORT: a write of half of it; KILL: SIGKILL instead of the call
 *   FAULT_PROGRAM  what is run
 *   FAULT_REPORT   a file that gets, at the end, how many such calls there were (with KILL: nothing)
 *   AUDIT_LIFE     only life 0 meets the fault
 *
 * By ptrace. A call that shall fail becomes getpid(), which every sandbox permits: with an invalid number the program's
 * own filter would kill it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__)
int main(void)
{
	return 77; /* registers have other names here */
}
#else

#define TRACER_THREADS_MAX 64

struct tracer {
	const char *fault;
	unsigned long at, calls;
	pid_t child;
	bool armed; /* the program itself runs: its first write was seen */
	struct {
		pid_t tid;
		bool inside, fails;
	} threads[TRACER_THREADS_MAX];
	size_t n;
};

/* For the handler. */
static volatile pid_t traced;

/* In the handler: one that only left word for the loop could come just before waitpid() blocks. */
static void on_term(int number)
{
	(void)kill(traced, number);
}

static bool writes(long nr)
{
	switch (nr) {
	case SYS_pwrite64:
	case SYS_fdatasync:
	case SYS_fsync:
	case SYS_syncfs:
	case SYS_openat:
	case SYS_newfstatat:
	case SYS_fstat:
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_unlinkat:
	case SYS_mkdirat:
	case SYS_fchmod:
	case SYS_pread64:
		return true;
	default:
		return false;
	}
}

static int error_of(const char *fault)
{
	return strcmp(fault, "ENOSPC") == 0 ? ENOSPC : strcmp(fault, "EINTR") == 0 ? EINTR : EIO;
}

/* At the entry of a call; true when its result is to be replaced. */
static bool enter(struct tracer *t, pid_t tid)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs))
		return false;
	long nr = (long)regs.orig_rax;
	bool is_short = strcmp(t->fault, "SHORT") == 0;
	t->armed |= nr == SYS_pwrite64 || nr == SYS_mkdirat;
	if (!t->armed || !writes(nr) || (is_short && (nr != SYS_pwrite64 || regs.rdx < 2)) || t->calls++ != t->at)
		return false;
	if (strcmp(t->fault, "KILL") == 0) {
		(void)kill(t->child, SIGKILL);
		return false;
	}
	if (is_short)
		regs.rdx /= 2;
	else
		regs.orig_rax = SYS_getpid;
	(void)ptrace(PTRACE_SETREGS, tid, NULL, &regs);
	return !is_short;
}

static void leave(const struct tracer *t, pid_t tid)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs))
		return;
	regs.rax = (unsigned long long)-error_of(t->fault);
	(void)ptrace(PTRACE_SETREGS, tid, NULL, &regs);
}

static void on_call(struct tracer *t, pid_t tid)
{
	size_t i = 0;

	while (i < t->n && t->threads[i].tid != tid)
		i++;
	if (i == TRACER_THREADS_MAX)
		abort();
	if (i == t->n)
		t->threads[t->n++].tid = tid;
	t->threads[i].inside = !t->threads[i].inside;
	if (t->threads[i].inside)
		t->threads[i].fails = enter(t, tid);
	else if (t->threads[i].fails)
		leave(t, tid);
}

static int finish(const struct tracer *t, int status)
{
	FILE *f = fopen(getenv("FAULT_REPORT"), "w");

	if (f) {
		(void)fprintf(f, "%lu\n", t->calls);
		(void)fclose(f);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int trace(struct tracer *t)
{
	int status;

	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			return 127;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (tid == t->child)
				return finish(t, status);
			continue;
		}
		int number = WSTOPSIG(status);
		if (number == (SIGTRAP | 0x80))
			on_call(t, tid);
		bool ours = number == (SIGTRAP | 0x80) || number == SIGTRAP || number == SIGSTOP;
		(void)ptrace(PTRACE_SYSCALL, tid, NULL, ours ? 0 : (long)number);
	}
}

int main(void)
{
	const char *program = getenv("FAULT_PROGRAM"), *life = getenv("AUDIT_LIFE"), *at = getenv("FAULT_AT");
	struct tracer t = {.fault = getenv("FAULT"), .at = at ? strtoul(at, NULL, 10) : 0};
	int status;

	if (!program || !life || !t.fault)
		return 127;
	if (strcmp(life, "0") != 0) {
		(void)execl(program, program, (char *)NULL);
		return 127;
	}
	traced = t.child = fork();
	if (t.child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) || raise(SIGSTOP))
			_exit(127);
		(void)execl(program, program, (char *)NULL);
		_exit(127);
	}
	(void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
	(void)close_range(3, ~0U, 0); /* who hangs up, hangs up */
	if (waitpid(t.child, &status, 0) != t.child ||
	    ptrace(PTRACE_SETOPTIONS, t.child, NULL,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) ||
	    ptrace(PTRACE_SYSCALL, t.child, NULL, 0))
		return 127;
	return trace(&t);
}
#endif
