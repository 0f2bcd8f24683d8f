/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RUNDIR_BACKLOG 64

/* Fills the address of `<name>.sock` in the folder. */
static void rundir_address(int run_fd, const char *name, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/%.60s.sock", run_fd, name);
}

int rundir_connect(int run_fd, const char *name, int *ret_fd)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	rundir_address(run_fd, name, &address);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

void rundir_remove(int run_fd, const char *name)
{
	char file[80];

	snprintf(file, sizeof(file), "%.60s.sock", name);
	(void)unlinkat(run_fd, file, 0);
}

/* Nobody can connect before owner and mode are right: the socket listens last. */
static int rundir_bind(int run_fd, const char *name, uid_t uid, gid_t gid, int fd)
{
	struct sockaddr_un address;
	char file[80];

	rundir_address(run_fd, name, &address);
	snprintf(file, sizeof(file), "%.60s.sock", name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || fchmodat(run_fd, file, 0660, 0) ||
	    fchownat(run_fd, file, uid, gid, AT_SYMLINK_NOFOLLOW) || listen(fd, RUNDIR_BACKLOG))
		return -errno;
	return 0;
}

int rundir_listen(int run_fd, const char *name, uid_t uid, gid_t gid, int *ret_fd)
{
	int fd, r = rundir_connect(run_fd, name, &fd);

	if (r == 0) {
		close(fd);
		return -EADDRINUSE;
	}
	if (r == -ECONNREFUSED)
		rundir_remove(run_fd, name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = rundir_bind(run_fd, name, uid, gid, fd);
	if (r)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}
