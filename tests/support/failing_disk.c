/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditd on a disk that takes nothing: while a file `disk-fails` lies beside the program, whatever is written fails
 * with EIO. Everything else is the real program, linked again with these calls wrapped (tests/module.mk).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The wrappers have no context to be given. */
static char flag[4096];

__attribute__((constructor)) static void find_flag(void)
{
	ssize_t n = readlink("/proc/self/exe", flag, sizeof(flag) - 32);
	char *slash = n > 0 ? memrchr(flag, '/', (size_t)n) : NULL;

	if (slash)
		(void)snprintf(slash + 1, 32, "disk-fails");
}

static int fails(void)
{
	struct stat st;

	if (fstatat(AT_FDCWD, flag, &st, 0) != 0)
		return 0;
	errno = EIO;
	return 1;
}

#define WRAP(ret, name, params, args)                          \
	ret __real_##name params;                              \
	ret __wrap_##name params;                              \
	ret __wrap_##name params                               \
	{                                                      \
		return fails() ? (ret)-1 : __real_##name args; \
	}
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t len, off_t at), (fd, p, len, at))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, syncfs, (int fd), (fd))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
