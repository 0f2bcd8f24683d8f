/* SPDX-License-Identifier: Apache-2.0 */
/* The page outlives its process, and what cannot be a count is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/tally.h"

static const uint8_t boot_a[16] = "aaaaaaaaaaaaaaa", boot_b[16] = "bbbbbbbbbbbbbbb";

/* The launcher's; each process gets a duplicate. */
static int page(void)
{
	int fd = memfd_create("tally", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(struct tally)), 0);
	return fd;
}

static struct tally *open_page(int fd, const uint8_t boot[16])
{
	struct tally *t = NULL;

	assert_int_equal(tally_open(dup(fd), boot, &t), 0);
	return t;
}

static void test_goes_on_after_a_death(void **state)
{
	int fd = page(), status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct tally *t;
		if (tally_open(dup(fd), boot_a, &t))
			_exit(1);
		for (uint64_t n = 1; n <= 4711; n++)
			tally_set(t, n);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	struct tally *t = open_page(fd, boot_b);
	assert_int_equal(t->made, 4711);
	assert_memory_equal(t->sequence, boot_a, 16);
	tally_leave(t, boot_b);
	tally_close(t);
	t = open_page(fd, boot_a);
	assert_int_equal(t->made, 4711);
	assert_memory_equal(t->sequence, boot_b, 16);
	tally_close(t);
	(void)close(fd);
}

static void test_what_is_no_count(void **state)
{
	int fd = page();
	struct tally *t = open_page(fd, boot_a);

	(void)state;
	tally_set(t, TALLY_MADE_MAX);
	struct tally *next = open_page(fd, boot_b);
	assert_int_equal(next->made, TALLY_MADE_MAX);
	assert_memory_equal(next->sequence, boot_a, 16);
	tally_close(next);
	tally_set(t, TALLY_MADE_MAX + 1);
	next = open_page(fd, boot_b);
	assert_int_equal(next->made, 0);
	assert_memory_equal(next->sequence, boot_b, 16);
	tally_set(next, 5);
	memset(t->sequence, 0, sizeof(t->sequence));
	tally_close(next);
	next = open_page(fd, boot_b);
	assert_int_equal(next->made, 0);
	assert_memory_equal(next->sequence, boot_b, 16);
	tally_close(next);
	tally_close(t);
	(void)close(fd);
}

static void test_without_a_launcher(void **state)
{
	struct tally *t = NULL;

	(void)state;
	assert_int_equal(tally_open(-1, boot_a, &t), 0);
	assert_int_equal(t->made, 0);
	assert_memory_equal(t->sequence, boot_a, 16);
	tally_close(t);
	tally_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on_after_a_death),
		cmocka_unit_test(test_what_is_no_count),
		cmocka_unit_test(test_without_a_launcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
