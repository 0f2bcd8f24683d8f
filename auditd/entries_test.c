/* SPDX-License-Identifier: Apache-2.0 */
/* Every record of a log that grows, under every index, from bundles and from the last segment; then from a copy without
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/entries.h"
#include "auditd/segment.h"
#include "tests/support/test_log.h"

static void expect_record(struct entries *e, uint64_t index, struct entries_page *page)
{
	struct proto_leaf leaf;

	assert_int_equal(entries_page(e, index, page), 0);
	assert_true(page->first <= index && index < page->first + page->n);
	assert_true(page->first % TILE_WIDTH == 0 || page->first == e->first);
	assert_int_equal(leaf_unpack(page->leaves[index - page->first], &leaf), 0);
	assert_int_equal(leaf.seq, index + 1);
}

static void expect_all(const struct fixture *f, uint64_t first, uint64_t end)
{
	struct entries_page page = ENTRIES_PAGE_NULL;
	struct entries e;

	assert_int_equal(entries_open(f->dir, &e), 0);
	assert_int_equal(e.first, first);
	assert_int_equal(e.end, end);
	for (uint64_t i = first; i < end; i += 1 + i % 37)
		expect_record(&e, i, &page);
	for (uint64_t i = end; i-- > first;)
		if (i % 41 == 0 || i + 3 > end)
			expect_record(&e, i, &page);
	entries_page_deinit(&page);
	entries_close(&e);
}

static void move(const struct fixture *f, const char *from, const char *to)
{
	char was[160], is[160];

	(void)snprintf(was, sizeof(was), "%s/%s", f->dir, from);
	(void)snprintf(is, sizeof(is), "%s/%s", f->dir, to);
	assert_int_equal(rename(was, is), 0);
}

static void test_a_log_that_grows(void **state)
{
	static const size_t commits[] = {1, 2, 200, 52, 1, 1, 255, 300, 700, 3};
	struct fixture *f = *state;
	uint64_t size = 0;

	assert_int_equal(reopen(f), 0);
	expect_all(f, 0, 0);
	for (size_t i = 0; i < ARRAY_LEN(commits); i++) {
		commit(f, commits[i]);
		size += commits[i];
		expect_all(f, 0, size);
		if (i % 3 == 2)
			sign(f);
		expect_all(f, 0, size);
	}
	assert_true(f->l->segments > 3);
	sign(f);
	commit(f, 5);
	f->l = ledger_close(f->l);
	expect_all(f, 0, size + 5);
	move(f, "seg", "away");
	expect_all(f, 0, size); /* as it is served: to the checkpoint */
	move(f, "tile/entries/000", "gone");
	expect_all(f, TILE_WIDTH, size);
}

/* Retention took the first segment, and the second begins within a bundle. */
static void test_a_beginning_that_was_removed(void **state)
{
	struct fixture *f = *state;
	struct entries e;
	uint64_t first = 0, size = 0;
	char name[SEGMENT_NAME_BYTES], path[SEGMENT_NAME_BYTES + 8];

	assert_int_equal(reopen(f), 0);
	for (; f->l->segments < 4; size += 50)
		commit(f, 50);
	sign(f);
	f->l = ledger_close(f->l);
	for (uint64_t at = 0; at <= size; at++) { /* where the second one really begins */
		segment_name(name, at);
		(void)snprintf(path, sizeof(path), "seg/%s", name);
		int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		bool there = faccessat(dir, path, F_OK, 0) == 0;
		(void)close(dir);
		if (there && at > 0) {
			first = at;
			break;
		}
	}
	assert_true(first % TILE_WIDTH != 0);
	move(f, "seg/00000000000000000000.seg", "gone");
	assert_int_equal(entries_open(f->dir, &e), 0);
	entries_close(&e);
	expect_all(f, first, size);
}

static void test_damage(void **state)
{
	struct fixture *f = *state;
	struct entries_page page = ENTRIES_PAGE_NULL;
	struct entries e;

	assert_int_equal(entries_open("/nonexistent", &e), -ENOENT);
	assert_int_equal(entries_open(f->dir, &e), ENTRIES_E_NONE);
	assert_int_equal(reopen(f), 0);
	for (int i = 0; i < 6; i++)
		commit(f, 200);
	sign(f);
	f->l = ledger_close(f->l);
	move(f, "tile/entries/001", "gone");
	assert_int_equal(entries_open(f->dir, &e), 0);
	assert_int_equal(entries_page(&e, 300, &page), ENTRIES_E_DAMAGED);
	expect_record(&e, 255, &page);
	expect_record(&e, 512, &page);
	move(f, "tile/entries/000", "tile/entries/001"); /* another bundle's bytes: as many, not these */
	assert_int_equal(entries_page(&e, 300, &page), 0);
	entries_page_deinit(&page);
	entries_close(&e);
}

static void write_checkpoint(const struct fixture *f, const char *text)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/checkpoint", f->dir);
	FILE *to = fopen(path, "we");
	assert_non_null(to);
	assert_true(fputs(text, to) >= 0);
	assert_int_equal(fclose(to), 0);
}

/* A copy from nobody knows where: a size that nothing follows from, and what never ends where a file should be. */
static void test_a_copy_that_lies(void **state)
{
	static const char *const names[] = {"checkpoint", "seg/00000000000000000000.seg"};
	struct fixture *f = *state;
	struct entries e;
	char path[160];

	(void)alarm(10);
	write_checkpoint(f, "log\n18446744073709551615\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n");
	assert_int_equal(entries_open(f->dir, &e), 0);
	assert_true(e.first == UINT64_MAX && e.end == UINT64_MAX);
	entries_close(&e);
	(void)snprintf(path, sizeof(path), "%s/seg", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		(void)unlink(path);
		assert_int_equal(mkfifo(path, 0600), 0);
		assert_int_equal(entries_open(f->dir, &e), i ? 0 : ENTRIES_E_NONE);
		if (i)
			entries_close(&e);
	}
	(void)alarm(0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {CASE(test_a_log_that_grows), CASE(test_a_beginning_that_was_removed),
					   CASE(test_damage), CASE(test_a_copy_that_lies)};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
