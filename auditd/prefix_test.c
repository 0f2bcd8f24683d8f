/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tamper matrix of a log whose beginning retention removed: what is gone without a word, or with a false one, is
 * refused; so is each change to what is left, and to the hashes of what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "tests/support/test_prune.h"

static void unlink_segment(const struct fixture *f, uint64_t first)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/seg/%020" PRIu64 ".seg", f->dir, first);
	assert_int_equal(unlink(path), 0);
}

static void test_a_removal_that_no_record_covers(void **state)
{
	struct fixture *f = *state;

	pruned_make_log(f);
	unlink_segment(f, 0);
	assert_true(pruned_refused(f, "no signed record says"));
}

static void test_more_than_the_record_says(void **state)
{
	struct fixture *f = *state;

	pruned_make_log(f);
	uint64_t end = f->l->firsts[2];
	pruned_prune(f, end + KEEP_NS + 1);
	pruned_good(f, end);
	unlink_segment(f, end);
	assert_true(pruned_refused(f, "no signed record says"));
}

static void test_a_hole_behind_the_pruned_beginning(void **state)
{
	struct fixture *f = *state;

	pruned_make_log(f);
	uint64_t end = f->l->firsts[1], later = f->l->firsts[3];
	pruned_prune(f, end + KEEP_NS + 1);
	unlink_segment(f, later);
	assert_true(pruned_refused(f, "are missing"));
}

static void test_an_unsigned_record_covers_nothing(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	pruned_make_log(f);
	uint64_t end = f->l->firsts[1];
	assert_int_equal(pruned_look(f, &l, end + KEEP_NS + 1), 0);
	(void)pruned_announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	unlink_segment(f, 0);
	assert_true(pruned_refused(f, "no signed record says"));
	sign(f);
	pruned_good(f, end);
}

/* A record that names another root, as one of another log or of somebody who does not know this one would. */
static void test_a_record_of_other_entries(void **state)
{
	struct fixture *f = *state;
	struct prune_look l;

	pruned_make_log(f);
	assert_int_equal(pruned_look(f, &l, f->l->firsts[1] + KEEP_NS + 1), 0);
	l.root.b[5] ^= 1;
	(void)pruned_announce(f, l.end, &l.root);
	prune_look_deinit(&l);
	sign(f);
	assert_true(pruned_refused(f, "log.prune does not speak"));
}

static void test_a_hash_tile_is_missing(void **state)
{
	struct fixture *f = *state;
	char path[160];

	pruned_make_log(f);
	pruned_prune(f, f->l->firsts[3] + KEEP_NS + 1);
	(void)snprintf(path, sizeof(path), "%s/tile/0/000", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_true(pruned_refused(f, "hashes in tile/"));
}

static void put_bundle(const struct fixture *f, struct span bytes)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/tile/entries/000", f->dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, bytes.p, bytes.len), bytes.len);
	(void)close(fd);
}

/* One that came back must be what was hashed: a whole bundle of other entries is not, nor is half a one. */
static void test_bundles_that_are_left_must_be_right(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes, *genuine;
	size_t len, genuine_len;

	pruned_make_log(f);
	uint64_t end = f->l->firsts[3];
	assert_int_equal(tile_read_bundle(f->l->dir, 0, TILE_WIDTH, &genuine, &genuine_len), 0);
	pruned_prune(f, end + KEEP_NS + 1);
	put_bundle(f, span_of("\0\1x", 3));
	assert_true(pruned_refused(f, "hashes in tile/"));
	assert_int_equal(tile_read_bundle(f->l->dir, end / TILE_WIDTH, TILE_WIDTH, &bytes, &len), 0);
	put_bundle(f, span_of(bytes, len));
	assert_true(pruned_refused(f, "hashes in tile/"));
	put_bundle(f, span_of(genuine, genuine_len));
	pruned_good(f, end);
	free(bytes);
	free(genuine);
}

/* Of each file that a pruned log stands on: a bit now and then, and its end. */
static void tamper(const struct fixture *f, const char *name)
{
	char path[160];
	uint8_t *bytes;
	size_t len;

	assert_int_equal(tile_slurp(f->l->dir, name, 1U << 20, &bytes, &len), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(chmod(path, 0600), 0); /* whoever is root needs no leave */
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t bit = 3; bit < len * 8; bit += 1 + len * 8 / 40) {
		uint8_t changed = bytes[bit / 8] ^ (uint8_t)(1 << bit % 8);
		assert_int_equal(pwrite(fd, &changed, 1, (off_t)(bit / 8)), 1);
		if (!pruned_refused(f, ""))
			fail_msg("%s, bit %zu: accepted", name, bit);
		assert_int_equal(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
	}
	assert_int_equal(ftruncate(fd, (off_t)len - 1), 0);
	assert_true(pruned_refused(f, ""));
	assert_int_equal(pwrite(fd, &bytes[len - 1], 1, (off_t)len - 1), 1);
	(void)close(fd);
	free(bytes);
}

static void test_every_file(void **state)
{
	struct fixture *f = *state;
	char segment[64], bundle[TILE_PATH_MAX], level[TILE_PATH_MAX];

	pruned_make_log(f);
	uint64_t end = f->l->firsts[3];
	pruned_prune(f, end + KEEP_NS + 1);
	f->signed_size = ledger_size(f->l);
	(void)snprintf(segment, sizeof(segment), "seg/%020" PRIu64 ".seg", end);
	tile_path(bundle, TILE_ENTRIES, end / TILE_WIDTH, TILE_WIDTH);
	tile_path(level, 1, 0, (unsigned)(f->signed_size / TILE_WIDTH));
	const char *const names[] = {segment, bundle, level, "checkpoint", "tile/0/000", "tile/0/001"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		tamper(f, names[i]);
	pruned_good(f, end);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_a_removal_that_no_record_covers),     CASE(test_more_than_the_record_says),
		CASE(test_a_hole_behind_the_pruned_beginning),  CASE(test_an_unsigned_record_covers_nothing),
		CASE(test_a_record_of_other_entries),           CASE(test_a_hash_tile_is_missing),
		CASE(test_bundles_that_are_left_must_be_right), CASE(test_every_file),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
