/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment that cannot be read to its end: a bad sector, or a file that is cut while it is read. Whoever meets it says
 * where, and goes on living: recovery, verification, retention and the commands that read a folder. pread() is
 * replaced by the linker (--wrap): one byte of each segment is bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/entries.h"
#include "auditd/view.h"
#include "tests/support/test_prune.h"

#define SECTOR_BYTES 512

/* The wrapper has no context to be given. UINT64_MAX: every byte is good. */
static uint64_t bad_at = UINT64_MAX;

ssize_t __real_pread(int fd, void *to, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at)
{
	struct stat st;
	bool segment = fstat(fd, &st) == 0 && st.st_size == TEST_SEGMENT_BYTES;

	if (segment && (uint64_t)at + len > bad_at && (uint64_t)at <= bad_at)
		len = (size_t)(bad_at - (uint64_t)at); /* as the kernel does it: what is before, then the error */
	if (len > 0)
		return __real_pread(fd, to, len, at);
	errno = EIO;
	return -1;
}

static void open_log(struct fixture *f)
{
	bad_at = UINT64_MAX;
	pruned_make_log(f);
	assert_true(f->l->n_firsts > 3);
}

static void expect_where(const char *why, uint64_t first, uint64_t at, const char *what)
{
	char expected[VIEW_WHY_BYTES];

	(void)snprintf(expected, sizeof(expected), "seg/%020" PRIu64 ".seg cannot be read at byte %" PRIu64 ": %s",
		       first, at, what);
	assert_string_equal(why, expected);
}

/* What recovery reads begins with the segment of the checkpoint: the last. */
static void test_recovery_of_a_bad_sector(void **state)
{
	static const uint64_t places[] = {0, 512, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_BYTES + 1024,
					  TEST_SEGMENT_BYTES - 512};
	struct fixture *f = *state;

	open_log(f);
	uint64_t last = f->l->firsts[f->l->n_firsts - 1], size = ledger_size(f->l);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		bad_at = places[i];
		assert_int_equal(reopen(f), LEDGER_E_DAMAGED);
		expect_where(f->l->why, last, places[i], "Input/output error");
		assert_true(f->l->unwritable < 0);
	}
	bad_at = UINT64_MAX; /* the disk was mended, or the log copied: nothing was changed meanwhile */
	assert_int_equal(reopen(f), 0);
	assert_int_equal(f->l->unwritable, 0);
	assert_int_equal(ledger_size(f->l), size);
}

static void test_verify_of_a_bad_sector(void **state)
{
	struct verify_report report;
	struct fixture *f = *state;

	open_log(f);
	bad_at = SEGMENT_HEAD_BYTES + 3 * SECTOR_BYTES;
	assert_false(verifies(f, f->dir, &report));
	expect_where(report.why, 0, bad_at, "Input/output error");
	bad_at = UINT64_MAX;
	assert_true(verifies(f, f->dir, &report));
}

static void test_retention_of_a_bad_sector(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	open_log(f);
	bad_at = SEGMENT_HEAD_BYTES + 3 * SECTOR_BYTES;
	assert_int_equal(pruned_look(f, &l, UINT64_MAX / 4), PRUNE_E_DAMAGED);
	assert_int_equal(l.end, 0);
	expect_where(l.where, 0, bad_at, "Input/output error");
	prune_look_deinit(&l);
}

static void test_readers_of_a_bad_sector(void **state)
{
	struct entries_page page = ENTRIES_PAGE_NULL;
	struct fixture *f = *state;
	struct entries e;

	open_log(f);
	uint64_t last = f->l->firsts[f->l->n_firsts - 1];
	assert_int_equal(entries_open(f->dir, &e), 0);
	bad_at = SEGMENT_HEAD_BYTES + SECTOR_BYTES;
	assert_int_equal(entries_page(&e, e.end - 1, &page), ENTRIES_E_UNREADABLE);
	expect_where(e.why, last, bad_at, "Input/output error");
	entries_page_deinit(&page);
	entries_close(&e);
	assert_int_equal(entries_open(f->dir, &e), ENTRIES_E_UNREADABLE);
	expect_where(e.why, last, bad_at, "Input/output error");
}

/* As mmap() answered with SIGBUS. */
static void test_a_file_that_is_cut_meanwhile(void **state)
{
	struct fixture *f = *state;
	char why[VIEW_WHY_BYTES], path[160];
	struct span rest;
	struct view v;
	uint8_t *copy;
	enum tail tail;
	size_t bytes;

	open_log(f);
	assert_int_equal(view_open(&v, f->l->dir, 0), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, v.path);
	assert_return_code(chmod(path, 0600), 0);
	assert_return_code(truncate(path, SEGMENT_HEAD_BYTES + 100), 0);
	assert_int_equal(view_read(&v, 0, &rest), VIEW_E_UNREADABLE);
	assert_int_equal(view_copy(&v, SEGMENT_HEAD_BYTES, 200, &copy), VIEW_E_UNREADABLE);
	assert_int_equal(view_tail(&v, SEGMENT_HEAD_BYTES, 0, &tail, &bytes), VIEW_E_UNREADABLE);
	view_why(&v, why);
	expect_where(why, 0, SEGMENT_HEAD_BYTES + 100, "the file ends there");
	view_close(&v);
	assert_int_equal(view_open(&v, f->l->dir, 4711), VIEW_E_MISSING);
	view_why(&v, why);
	expect_where(why, 4711, 0, "No such file or directory");
}

/* Larger than a window: whatever is asked for, an entry of the largest kind is there as a whole. */
static void test_windows(void **state)
{
	const uint64_t size = 3 * (uint64_t)VIEW_WINDOW_BYTES + 4096;
	struct fixture *f = *state;
	uint8_t *bytes = malloc(size), *copy;
	struct span rest;
	enum tail tail;
	size_t len;
	struct view v;
	char path[160];

	open_log(f);
	(void)snprintf(path, sizeof(path), "%s/seg/%020d.seg", f->dir, 99999);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_non_null(bytes);
	randombytes_buf(bytes, size);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	assert_int_equal(view_open(&v, f->l->dir, 99999), 0);
	for (uint64_t at = 0; at < size; at += 8 * 1237) {
		assert_int_equal(view_read(&v, at, &rest), 0);
		assert_true(rest.len >= MIN((uint64_t)entry_bytes(ENTRY_LEAF_MAX), size - at) && rest.len <= size - at);
		assert_memory_equal(rest.p, bytes + at, rest.len);
	}
	assert_int_equal(view_read(&v, 16, &rest), 0); /* back */
	assert_memory_equal(rest.p, bytes + 16, rest.len);
	assert_int_equal(view_read(&v, size, &rest), 0);
	assert_int_equal(rest.len, 0);
	assert_int_equal(view_copy(&v, 4000, 2 * VIEW_WINDOW_BYTES, &copy), 0);
	assert_memory_equal(copy, bytes + 4000, 2 * VIEW_WINDOW_BYTES);
	free(copy);
	/* One byte, far behind zeros. */
	memset(bytes, 0, size);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	view_refresh(&v);
	assert_int_equal(view_tail(&v, 8192, 0, &tail, &len), 0);
	assert_true(tail == TAIL_CLEAN && len == 0);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)size - 5), 1);
	view_refresh(&v);
	assert_int_equal(view_tail(&v, 8192, 0, &tail, &len), 0);
	assert_true(tail == TAIL_TORN && len == size - 8192 - 4);
	view_close(&v);
	(void)close(fd);
	free(bytes);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_recovery_of_a_bad_sector),     CASE(test_verify_of_a_bad_sector),
		CASE(test_retention_of_a_bad_sector),    CASE(test_readers_of_a_bad_sector),
		CASE(test_a_file_that_is_cut_meanwhile), CASE(test_windows),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
