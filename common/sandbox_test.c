/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox on the real kernel: each case runs in a child that enters a role and then does one thing.
 * tests/privileges tries far more; these show that the two steps work and in which way they fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sandbox.h"

static const char *folder;

static int enter(enum role role)
{
	const struct sandbox_path paths[] = {{.path = folder, .write = true}};
	char text[256];

	if (sandbox_prepare() != 0)
		return -1;
	return sandbox_enter(role, paths, folder ? 1 : 0, text, sizeof(text));
}

/* The child's wait status after entering `role` and doing `act`, whose value it exits with. */
static int confined(enum role role, int (*act)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(enter(role) != 0 ? 99 : act());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int act_nothing(void)
{
	return 42;
}

static int act_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 1 : 2;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int act_sort(void)
{
	enum { N = 65536 };
	uint64_t *numbers = malloc(N * sizeof(*numbers));

	if (!numbers)
		return 1;
	for (uint64_t i = 0; i < N; i++)
		numbers[i] = i * 40503 % N;
	qsort(numbers, N, sizeof(*numbers), compare);
	bool sorted = true;
	for (uint64_t i = 0; i < N; i++)
		sorted = sorted && numbers[i] == i;
	free(numbers);
	return sorted ? 42 : 2;
}

static int act_abort(void)
{
	abort();
}

static int act_open_outside(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ? 1 : errno == EACCES ? 2 : 3;
}

static int act_open_inside(void)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/new", folder);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0 ? 1 : 2;
}

static int act_describe(void)
{
	struct rlimit core = {1, 1};

	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
		return 2;
	return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == ENOSYS ? 0 : 3;
}

#define assert_killed(status)                               \
	do {                                                \
		assert_true(WIFSIGNALED(status));           \
		assert_int_equal(WTERMSIG(status), SIGSYS); \
	} while (0)

/* An instrumented build has no filter to test (common/sandbox.c says why). */
static void only_confined(void)
{
#ifdef BULKHEAD_INSTRUMENTED
	skip();
#endif
}

static void every_role_can(int (*act)(void))
{
	for (enum role role = ROLE_ROUTER; role <= ROLE_CLASSIFIER; role++) {
		int status = confined(role, act);

		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 42);
	}
}

static void test_every_role_can_enter_and_leave(void **state)
{
	(void)state;
	every_role_can(act_nothing);
}

/* Ours and the libraries': classifier and auditd sort what clients sent, and libc has calls of its own for it. */
static void test_every_role_can_sort(void **state)
{
	(void)state;
	every_role_can(act_sort);
}

static void test_prepare_alone(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	only_confined();
	if (pid == 0)
		_exit(sandbox_prepare() != 0 ? 99 : act_describe());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_forbidden_call_kills_with_sigsys(void **state)
{
	(void)state;
	only_confined();
	assert_killed(confined(ROLE_KEYVAULT, act_socket));
	assert_killed(confined(ROLE_EGRESS, act_socket));
	assert_killed(confined(ROLE_ROUTER, act_open_outside));
}

static void test_failed_assertion_shows_as_sigabrt(void **state)
{
	int status = confined(ROLE_KEYVAULT, act_abort);

	(void)state;
	only_confined();
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_files_only_in_the_folder(void **state)
{
	char made[] = "/tmp/sandbox_test.XXXXXX", path[300];
	int status;

	(void)state;
	only_confined();
	folder = mkdtemp(made);
	status = confined(ROLE_AUTHD, act_open_inside);
	assert_int_equal(WEXITSTATUS(status), 1);
	status = confined(ROLE_AUTHD, act_open_outside);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0)
		assert_int_equal(WEXITSTATUS(status), 2);
	(void)snprintf(path, sizeof(path), "%s/new", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	folder = NULL;
}

static void test_a_missing_path_is_an_error(void **state)
{
	(void)state;
	only_confined();
	folder = "/nonexistent/folder";
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0)
		assert_int_equal(WEXITSTATUS(confined(ROLE_AUTHD, act_nothing)), 99);
	folder = NULL;
}

/* The child's exit code: what connecting to each of two listeners on loopback came to, the first one's port listed. */
static int dial_two(const struct sockaddr_in *to, size_t n_listed)
{
	uint16_t port = ntohs(to[0].sin_port);
	int outcome[2];
	char text[256];

	if (sandbox_prepare() != 0 || sandbox_enter_dialing(&port, n_listed, text, sizeof(text)) != 0)
		return 99;
	for (size_t i = 0; i < 2; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		outcome[i] = connect(fd, (const struct sockaddr *)&to[i], sizeof(to[i])) == 0 ? 1
			     : errno == EACCES                                                ? 2
											      : 3;
	}
	return 10 * outcome[0] + outcome[1];
}

static void test_the_dialer_reaches_its_ports_only(void **state)
{
	struct sockaddr_in to[2];
	int status;

	(void)state;
	only_confined();
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 4)
		skip();
	for (size_t i = 0; i < 2; i++) {
		socklen_t len = sizeof(to[i]);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		to[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		assert_int_equal(bind(fd, (struct sockaddr *)&to[i], len), 0);
		assert_int_equal(listen(fd, 1), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&to[i], &len), 0);
	}
	for (size_t n_listed = 0; n_listed < 2; n_listed++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(dial_two(to, n_listed));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), n_listed ? 12 : 22);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_role_can_enter_and_leave),
		cmocka_unit_test(test_every_role_can_sort),
		cmocka_unit_test(test_prepare_alone),
		cmocka_unit_test(test_forbidden_call_kills_with_sigsys),
		cmocka_unit_test(test_failed_assertion_shows_as_sigabrt),
		cmocka_unit_test(test_files_only_in_the_folder),
		cmocka_unit_test(test_a_missing_path_is_an_error),
		cmocka_unit_test(test_the_dialer_reaches_its_ports_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
