/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are accepted as keys, one thing wrong at a time; each refusal names the file. */
#include "cli/key_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY       "0123456789abcdef"
#define BYTES_MAX 32
#define DAEMON    4711

static const struct key_file_owner daemon_owner = {DAEMON, DAEMON};

static int setup(void **state)
{
	char *dir = strdup("/tmp/key-file-XXXXXX");

	assert_non_null(mkdtemp(dir));
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", (char *)*state);
	assert_int_equal(system(command), 0);
	free(*state);
	return 0;
}

static const char *path_of(void **state, const char *name)
{
	static char path[2][128];
	static unsigned turn;
	char *p = path[turn++ % 2];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", (char *)*state, name);
	return p;
}

static void make(void **state, const char *name, size_t len, mode_t mode)
{
	int fd = open(path_of(state, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	char bytes[64] = KEY;

	assert_true(fd >= 0 && len <= sizeof(bytes));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, bytes, len), len);
	(void)close(fd);
}

static void accepts(void **state, const char *name)
{
	char why[KEY_FILE_WHY_BYTES] = "", bytes[64];
	int fd = -1;

	if (key_file_open(path_of(state, name), &daemon_owner, BYTES_MAX, &fd, why))
		fail_msg("%s", why);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), strlen(KEY));
	assert_memory_equal(bytes, KEY, strlen(KEY));
	(void)close(fd);
}

static void refuses(void **state, const char *name, int error, const char *because)
{
	char why[KEY_FILE_WHY_BYTES] = "";
	int fd = -1;

	assert_int_equal(key_file_open(path_of(state, name), &daemon_owner, BYTES_MAX, &fd, why), error);
	assert_int_equal(fd, -1);
	if (!strstr(why, because) || !strstr(why, *state))
		fail_msg("%s", why);
}

static void only_the_owner_may_read(void **state)
{
	make(state, "key", strlen(KEY), 0400);
	accepts(state, "key");
	assert_int_equal(chmod(path_of(state, "key"), 0600), 0);
	accepts(state, "key");
	for (mode_t bit = 01; bit <= 040; bit <<= 1) {
		assert_int_equal(chmod(path_of(state, "key"), 0400 | bit), 0);
		if (bit != 040 || geteuid() != 0)
			refuses(state, "key", -EPERM, "chmod 0400");
	}
}

/* Needs root to be somebody else. */
static void whose_it_may_be(void **state)
{
	if (geteuid() != 0)
		skip();
	make(state, "key", strlen(KEY), 0400);
	assert_int_equal(chown(path_of(state, "key"), DAEMON, DAEMON), 0);
	accepts(state, "key");
	assert_int_equal(chown(path_of(state, "key"), DAEMON + 1, 0), 0);
	refuses(state, "key", -EPERM, "belongs to uid");
	/* As systemd and Kubernetes do: root's, readable by root's group or the daemon's. */
	assert_int_equal(chmod(path_of(state, "key"), 0440), 0);
	assert_int_equal(chown(path_of(state, "key"), 0, 0), 0);
	accepts(state, "key");
	assert_int_equal(chown(path_of(state, "key"), 0, DAEMON), 0);
	accepts(state, "key");
	assert_int_equal(chown(path_of(state, "key"), 0, DAEMON + 1), 0);
	refuses(state, "key", -EPERM, "others may read it");
	assert_int_equal(chown(path_of(state, "key"), DAEMON, DAEMON), 0);
	refuses(state, "key", -EPERM, "others may read it");
}

static void links_stay_in_their_folder(void **state)
{
	make(state, "elsewhere", strlen(KEY), 0400);
	assert_int_equal(mkdir(path_of(state, "secret"), 0755), 0);
	assert_int_equal(mkdir(path_of(state, "secret/..1"), 0755), 0);
	make(state, "secret/..1/key", strlen(KEY), 0400);
	assert_int_equal(symlink("..1", path_of(state, "secret/..data")), 0);
	assert_int_equal(symlink("..data/key", path_of(state, "secret/key")), 0);
	accepts(state, "secret/key"); /* a Kubernetes secret */
	assert_int_equal(symlink("../elsewhere", path_of(state, "secret/up")), 0);
	refuses(state, "secret/up", -EXDEV, "leaves its folder");
	assert_int_equal(symlink(path_of(state, "elsewhere"), path_of(state, "absolute")), 0);
	refuses(state, "absolute", -EXDEV, "leaves its folder");
	assert_int_equal(symlink("loop", path_of(state, "loop")), 0);
	refuses(state, "loop", -ELOOP, "leaves its folder");
	assert_int_equal(symlink("/proc/self/fd/0", path_of(state, "magic")), 0);
	refuses(state, "magic", -EXDEV, "leaves its folder");
}

static void nobody_else_may_put_a_file_there(void **state)
{
	assert_int_equal(mkdir(path_of(state, "open"), 0755), 0);
	make(state, "open/key", strlen(KEY), 0400);
	accepts(state, "open/key");
	assert_int_equal(chmod(path_of(state, "open"), 0775), 0);
	refuses(state, "open/key", -EPERM, "chmod go-w");
	assert_int_equal(chmod(path_of(state, "open"), 0757), 0);
	refuses(state, "open/key", -EPERM, "chmod go-w");
	assert_int_equal(chmod(path_of(state, "open"), 01777), 0);
	accepts(state, "open/key"); /* a tmpfs of Kubernetes; /tmp */
	if (geteuid() == 0) {
		assert_int_equal(chmod(path_of(state, "open"), 0755), 0);
		assert_int_equal(chown(path_of(state, "open"), DAEMON + 1, 0), 0);
		refuses(state, "open/key", -EPERM, "chown root");
	}
}

static void what_is_no_key(void **state)
{
	char why[KEY_FILE_WHY_BYTES];
	int fd;

	refuses(state, "nothing", -ENOENT, "No such file");
	refuses(state, "no/folder", -ENOENT, "No such file");
	make(state, "empty", 0, 0400);
	refuses(state, "empty", -ENODATA, "empty");
	make(state, "long", BYTES_MAX + 1, 0400);
	refuses(state, "long", -EPERM, "33 bytes");
	assert_int_equal(mkdir(path_of(state, "folder"), 0700), 0);
	refuses(state, "folder", -EPERM, "not a regular file");
	assert_int_equal(mkfifo(path_of(state, "fifo"), 0400), 0);
	refuses(state, "fifo", -EPERM, "not a regular file"); /* and does not wait for a writer */
	assert_int_equal(key_file_open("key", &daemon_owner, BYTES_MAX, &fd, why), -EPERM);
	assert_int_equal(key_file_open("", &daemon_owner, BYTES_MAX, &fd, why), -EPERM);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(only_the_owner_may_read),
		TEST(whose_it_may_be),
		TEST(links_stay_in_their_folder),
		TEST(nobody_else_may_put_a_file_there),
		TEST(what_is_no_key),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("key_file", tests, NULL, NULL);
}
