/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/power.h"

struct faults faults;

void faults_begin(enum fault fault, unsigned at, bool *met)
{
	if (!freopen("/dev/null", "w", stderr))
		_exit(98);
	faults.armed = true;
	faults.fault = fault;
	faults.at = at;
	faults.met = met;
}

void faults_cut_power(void)
{
	if (faults.seed)
		power_fail_some(faults.seed);
	else
		power_fail();
}

/* True when this call is the one. FAULT_KILL and FAULT_POWER do not come back. */
static bool faults_now(void)
{
	if (!faults.armed || (faults.fault == FAULT_DEAD ? faults.calls++ < faults.at : faults.calls++ != faults.at))
		return false;
	*faults.met = true;
	if (faults.fault == FAULT_POWER)
		faults_cut_power();
	if (faults.fault == FAULT_KILL || faults.fault == FAULT_POWER)
		_exit(99);
	errno = faults.fault == FAULT_ENOSPC ? ENOSPC : faults.fault == FAULT_EINTR ? EINTR : EIO;
	return true;
}

/* Of an error, too, comes what comes of a power failure when it is not heeded. */
bool faults_need_power(void)
{
	return faults.armed &&
	       (faults.fault == FAULT_POWER || faults.fault == FAULT_EIO || faults.fault == FAULT_LATER);
}

/* `before` is told to the power supply before the call, `after` when it has succeeded. */
#define WRAP(ret, name, params, args, before, after) \
	ret __real_##name params;                    \
	ret __wrap_##name params;                    \
	ret __wrap_##name params                     \
	{                                            \
		if (faults_now())                    \
			return (ret)-1;              \
		if (faults_need_power())             \
			before;                      \
		ret r = __real_##name args;          \
		if (faults_need_power() && r == 0)   \
			after;                       \
		return r;                            \
	}
#define NOTHING ((void)0)

/* clang-format off */
WRAP(int, renameat, (int d1, const char *from, int d2, const char *to), (d1, from, d2, to),
     power_rename(d1, from, to), NOTHING)
WRAP(int, mkdirat, (int d, const char *path, mode_t mode), (d, path, mode), power_create(d, path, false), NOTHING)
WRAP(int, ftruncate, (int fd, off_t len), (fd, len), power_resize(fd, len), NOTHING)
WRAP(int, unlinkat, (int d, const char *path, int flags), (d, path, flags), power_remove(d, path, flags), NOTHING)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), NOTHING, NOTHING)
/* clang-format on */

/* Reading goes on when nothing can be written any more. */
#define WRAP_READ(name, params, args)                           \
	int __real_##name params;                               \
	int __wrap_##name params;                               \
	int __wrap_##name params                                \
	{                                                       \
		if (faults.fault != FAULT_DEAD && faults_now()) \
			return -1;                              \
		return __real_##name args;                      \
	}
WRAP_READ(fstat, (int fd, struct stat *st), (fd, st))
WRAP_READ(fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags))

struct dirent *__real_readdir(DIR *folder);
struct dirent *__wrap_readdir(DIR *folder);
struct dirent *__wrap_readdir(DIR *folder)
{
	return faults.fault != FAULT_DEAD && faults_now() ? NULL : __real_readdir(folder);
}

/* Nothing is synced for real: by the tens of thousands that these tests have, a disk would be what they measure, and
 * nobody but the power supply could tell. The number must be a file's. */
static int faults_synced(int fd)
{
	struct stat st;

	return __real_fstat(fd, &st);
}

/* As Linux has it since 5.8: what could not be written is told once to each open file, by its own syncfs(). */
int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	static int told = -1;
	bool fault = faults_now(), owed = told >= 0 && told != fd;
	int r = fault || owed ? -1 : faults_synced(fd);

	if (faults_need_power() && fault)
		power_unsynced_all();
	if (faults_need_power() && r == 0)
		power_synced_all();
	told = fault ? fd : owed ? -1 : told;
	errno = owed ? EIO : errno;
	return r;
}

static int faults_sync(int fd)
{
	bool fault = faults_now();
	int r = fault ? -1 : faults_synced(fd);

	if (faults_need_power() && fault)
		power_unsynced(fd);
	if (faults_need_power() && r == 0)
		power_synced(fd);
	return r;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return faults_sync(fd);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return faults_sync(fd);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	bool writing = (flags & O_ACCMODE) != O_RDONLY;

	if ((writing || faults.fault != FAULT_DEAD) && faults_now())
		return -1;
	if (faults_need_power() && flags & O_CREAT)
		power_create(dir, path, flags & O_TRUNC);
	return __real_openat(dir, path, flags, 0600);
}

ssize_t __real_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t len, off_t at)
{
	unsigned call = faults.calls;

	if (faults.armed && call == faults.at && (faults.fault == FAULT_SHORT || faults.fault == FAULT_KILL) && len > 1)
		len = __real_pwrite(fd, p, len / 2, at) > 0 ? len / 2 : len;
	if (faults.fault == FAULT_SHORT && faults.armed && call == faults.at) {
		faults.calls++;
		*faults.met = true;
		return (ssize_t)len;
	}
	if (faults_now())
		return -1;
	if (faults_need_power())
		power_write(fd, at, len);
	return __real_pwrite(fd, p, len, at);
}
