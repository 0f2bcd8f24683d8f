/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ruleset names what it handles, which is denied from then on, and rules give pieces back. Bits that a kernel does
 * not know are an error (EINVAL), so what is handled is cut to the kernel's ABI version. The numbers below are the
 * kernel's; they are spelled out because distributions ship headers older than the kernels they boot.
 */
#include "common/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"

struct landlock_attr {
	uint64_t fs, net, scoped;
};

struct landlock_port {
	uint64_t allowed, port;
};

#define RULE_NET_PORT 2

#define FS_WRITE_FILE   BIT(1)
#define FS_READ_FILE    BIT(2)
#define FS_READ_DIR     BIT(3)
#define FS_REMOVE_DIR   BIT(4)
#define FS_REMOVE_FILE  BIT(5)
#define FS_MAKE_DIR     BIT(7)
#define FS_MAKE_REG     BIT(8)
#define FS_REFER        BIT(13)
#define FS_TRUNCATE     BIT(14)
#define NET_BIND_TCP    BIT(0)
#define NET_CONNECT_TCP BIT(1)
#define SCOPE_ABSTRACT  BIT(0)
#define SCOPE_SIGNAL    BIT(1)

/* File rights known to each ABI: all bits below this one. */
static const uint8_t landlock_fs_bits[] = {0, 13, 14, 15, 15, 16};
#define ABI_NET   4
#define ABI_SCOPE 6

#define READ_RIGHTS  (FS_READ_FILE | FS_READ_DIR)
#define WRITE_RIGHTS (FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_FILE | FS_MAKE_REG | FS_MAKE_DIR | FS_REFER)
#define FILE_RIGHTS  (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

static void landlock_fd_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static struct landlock_attr landlock_handled(int abi)
{
	size_t row = MIN((size_t)abi, ARRAY_LEN(landlock_fs_bits) - 1);
	struct landlock_attr attr = {.fs = BIT(landlock_fs_bits[row]) - 1};

	if (abi >= ABI_NET)
		attr.net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= ABI_SCOPE)
		attr.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	return attr;
}

static int landlock_add_path(int ruleset, const struct sandbox_path *path, uint64_t handled)
{
	struct landlock_path_beneath_attr rule = {0};
	CLEANUP(landlock_fd_close) int fd = -1;
	uint64_t rights = READ_RIGHTS | (path->write ? WRITE_RIGHTS : 0) | (path->remove_folders ? FS_REMOVE_DIR : 0);
	struct stat st;

	fd = open(path->path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_origin(-errno);
	if (!S_ISDIR(st.st_mode))
		rights &= FILE_RIGHTS;
	rule.allowed_access = rights & handled;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_origin(-errno);
	return 0;
}

static int landlock_add_ports(int ruleset, const struct landlock_rules *rules)
{
	for (size_t i = 0; i < rules->n_tcp_ports; i++) {
		const struct landlock_port rule = {NET_CONNECT_TCP, rules->tcp_ports[i]};

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) < 0)
			return err_origin(-errno);
	}
	return 0;
}

int landlock_enter(const struct landlock_rules *rules, int *ret_abi)
{
	CLEANUP(landlock_fd_close) int ruleset = -1;
	struct landlock_attr attr;
	long abi;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi <= 0) { /* not built in, or switched off at boot */
		*ret_abi = 0;
		return 0;
	}
	attr = landlock_handled((int)abi);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr),
			       0); /* zeros beyond what it knows are fine */
	if (ruleset < 0)
		return err_origin(-errno);
	for (size_t i = 0; i < rules->n_paths; i++) {
		int r = landlock_add_path(ruleset, &rules->paths[i], attr.fs);

		if (r < 0)
			return r;
	}
	if (abi >= ABI_NET) {
		int r = landlock_add_ports(ruleset, rules);

		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return err_origin(-errno);
	*ret_abi = (int)abi;
	return 0;
}
