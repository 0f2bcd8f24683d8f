/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/retained.h"
#include "tests/support/test_log.h"

static void test_the_file(void **state)
{
	const struct retained what = {
		.clock_ns = 5, .newest_ns = UINT64_MAX, .first = 1, .end = 7, .index = 9, .time_ns = 8, .keep = "24h"};
	static const char *const bad[] = {
		"",
		"bulkhead-retention/2\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 05\nnewest 1\nprune 1 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 8 7 9 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 6 8 24h\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 0123456789abcdef\nstate done\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate none\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done\nmore\n",
		"bulkhead-retention/1\nclock 5\nnewest 1\nprune 1 7 9 8 24h\nstate done",
	};
	struct fixture *f = *state;
	struct retained read;

	assert_int_equal(reopen(f), 0);
	assert_int_equal(retained_read(f->l->dir, &read), RETAINED_E_NONE);
	assert_true(read.done && read.end == 0);
	assert_int_equal(retained_write(f->l->dir, &what), 0);
	assert_int_equal(retained_read(f->l->dir, &read), 0);
	assert_int_equal(memcmp(&read.clock_ns, &what.clock_ns, offsetof(struct retained, keep)), 0);
	assert_true(!read.done && strcmp(read.keep, "24h") == 0);
	assert_int_equal(retained_write(f->l->dir, &RETAINED_NULL), 0);
	assert_int_equal(retained_read(f->l->dir, &read), 0);
	assert_true(read.done && read.end == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(tree_write_durable(f->l->dir, RETAINED_FILE, span_str(bad[i])), 0);
		assert_int_equal(retained_read(f->l->dir, &read), RETAINED_E_NONE);
		assert_true(read.done && read.end == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_file, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
