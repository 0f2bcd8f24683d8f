/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditd for which time passes as a test says: a file `aging` beside the program holds four numbers of 64 bits: how far
 * the wall clock and how far the steady clock are ahead of the machine's, in nanoseconds; at which removal of a file
 * from now on the process dies (0: at none); and which of the calls by which files are removed, named and made durable
 * fails from now on (0: none; -1: the next syncfs()). Everything else is the real program, linked again with these
 * calls wrapped (tests/module.mk).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000

struct aging {
	int64_t wall_ns, steady_ns, deaths, failure;
};

/* The wrappers have no context to be given. */
static volatile struct aging *aging;

/* Before the sandbox. */
__attribute__((constructor)) static void find_aging(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

	if (!slash)
		return;
	(void)snprintf(slash + 1, 32, "aging");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*aging), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		aging = p;
	if (fd >= 0)
		(void)close(fd);
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = __real_clock_gettime(clock, ret);
	int64_t ahead = 0;

	if (aging && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ahead = aging->wall_ns;
	else if (aging && clock == CLOCK_BOOTTIME)
		ahead = aging->steady_ns;
	int64_t ns = (int64_t)ret->tv_sec * SECOND_NS + ret->tv_nsec + ahead;
	ret->tv_sec = ns / SECOND_NS;
	ret->tv_nsec = ns % SECOND_NS;
	return r;
}

/* Of two threads that come at once, one may miss it. */
static bool aging_fails(bool syncs_all)
{
	if (!aging ||
	    (aging->failure < 0 ? !syncs_all || ++aging->failure != 0 : aging->failure == 0 || --aging->failure != 0))
		return false;
	errno = EIO;
	return true;
}

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags)
{
	if (aging && aging->deaths > 0 && --aging->deaths == 0)
		_exit(99);
	return aging_fails(false) ? -1 : __real_unlinkat(dir, path, flags);
}

int __real_renameat(int d1, const char *from, int d2, const char *to);
int __wrap_renameat(int d1, const char *from, int d2, const char *to);
int __wrap_renameat(int d1, const char *from, int d2, const char *to)
{
	return aging_fails(false) ? -1 : __real_renameat(d1, from, d2, to);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return aging_fails(false) ? -1 : __real_fsync(fd);
}

int __real_syncfs(int fd);
int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	return aging_fails(true) ? -1 : __real_syncfs(fd);
}
