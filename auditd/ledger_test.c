/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger on a real file system: what was acknowledged is there after any crash, what is there is what was recorded,
 * and nothing that somebody changed is taken for it. The signer of these tests is a key pair of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_log.h"

/* ---- growing ---- */

static void test_grows_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	struct merkle_hash before, after;

	assert_int_equal(reopen(f), 0);
	for (size_t round = 0; round < 60; round++) {
		commit(f, 1 + round * 7 % 61);
		if (round % 5 == 0)
			sign(f);
		merkle_tree_root(&f->l->tree.merkle, &before);
		uint64_t size = ledger_size(f->l);
		if (round % 3 == 0) {
			assert_int_equal(reopen(f), 0);
			assert_int_equal(f->l->cut_bytes, 0);
		}
		merkle_tree_root(&f->l->tree.merkle, &after);
		assert_true(merkle_hash_eq(&before, &after));
		assert_int_equal(ledger_size(f->l), size);
		assert_int_equal(f->l->sources.n, 1);
		assert_int_equal(f->l->sources.all[0].last_seq, f->seq);
	}
	sign(f);
	if (!verifies(f, f->dir, &report))
		fail_msg("%s", report.why);
	assert_int_equal(report.entries, f->seq);
	assert_int_equal(report.signed_size, f->seq);
	assert_true(report.segments > 3);
	print_message("%" PRIu64 " entries in %" PRIu64 " segments\n", report.entries, report.segments);
}

/* One batch that is larger than several segments. */
static void test_a_batch_over_segments(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;

	assert_int_equal(reopen(f), 0);
	commit(f, 2000);
	sign(f);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(ledger_size(f->l), 2000);
	if (!verifies(f, f->dir, &report))
		fail_msg("%s", report.why);
	assert_true(report.segments > 4);
}

static void test_proofs(void **state)
{
	struct fixture *f = *state;
	struct proof *proof = malloc(sizeof(*proof));
	struct buf text;

	assert_int_equal(reopen(f), 0);
	commit(f, 700);
	sign(f);
	commit(f, 10);
	buf_init(&text, PROOF_BYTES_MAX);
	for (uint64_t i = 0; i < 700; i += 41) {
		buf_reset(&text);
		assert_int_equal(proof_make(f->dir, i, &text), 0);
		struct span all = buf_span(&text);
		assert_int_equal(proof_check(all, &f->key, proof), 0);
		assert_int_equal(proof->index, i);
		assert_int_equal(proof->size, 700);
		for (size_t bit = i % 8; bit < all.len * 8; bit += 7) {
			((uint8_t *)(uintptr_t)all.p)[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (proof_check(all, &f->key, proof) == 0)
				fail_msg("bit %zu of the proof of %" PRIu64 " may be changed", bit, i);
			((uint8_t *)(uintptr_t)all.p)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	assert_int_equal(proof_make(f->dir, 700, &text), PROOF_E_MISSING);
	buf_deinit(&text);
	free(proof);
}

/* ---- tiles ---- */

static void cut_tile(const struct fixture *f, int level, uint64_t n, unsigned width, off_t bytes)
{
	char tile[TILE_PATH_MAX], path[sizeof(f->dir) + TILE_PATH_MAX];

	tile_path(tile, level, n, width);
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, tile);
	assert_int_equal(truncate(path, bytes), 0);
}

/* A crash left tiles of a segment that is still read unfinished: those that were signed, and a later one. */
static void test_unfinished_tiles_are_written_again(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;

	assert_int_equal(reopen(f), 0);
	while (ledger_size(f->l) % TILE_WIDTH != 200 || f->l->segment.end > TEST_SEGMENT_BYTES / 4)
		commit(f, 1);
	uint64_t n = ledger_size(f->l) / TILE_WIDTH;
	sign(f);
	commit(f, 60);
	cut_tile(f, 0, n, TILE_WIDTH, 32);
	assert_true(verifies(f, f->dir, &report)); /* nobody signed it yet */
	cut_tile(f, 0, n, 200, 32);
	assert_false(verifies(f, f->dir, &report));
	cut_tile(f, TILE_ENTRIES, n, 200, 0);
	assert_int_equal(reopen(f), 0);
	if (!verifies(f, f->dir, &report))
		fail_msg("%s", report.why);
	sign(f);
	if (!verifies(f, f->dir, &report))
		fail_msg("%s", report.why);
}

/* ---- tails ---- */

static int open_segment(const struct fixture *f)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/seg/%s", f->dir, f->l->segment.name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* The last commit torn in every way that loses some of its 8-byte words: it is cut, and everything before it stays. */
static void test_a_torn_commit_is_cut(void **state)
{
	struct fixture *f = *state;
	static const uint64_t zero;

	assert_int_equal(reopen(f), 0);
	commit(f, 20);
	sign(f);
	for (size_t round = 0; round < 150; round++) {
		uint64_t before = ledger_size(f->l), begin = f->l->segment.end, seq = f->seq;
		commit(f, 4);
		uint64_t end = f->l->segment.end;
		if (ledger_size(f->l) != before + 4 || end < begin)
			continue; /* a new segment was begun */
		int fd = open_segment(f);
		srandom((unsigned)round);
		bool torn = false;
		for (uint64_t at = begin; at < end; at += 8) {
			uint64_t word;
			bool lose = round < 40 ? at >= begin + (end - begin) * round / 40 : random() % 3 == 0;
			assert_int_equal(pread(fd, &word, 8, (off_t)at), 8);
			torn |= lose && word != 0;
			if (lose)
				assert_int_equal(pwrite(fd, &zero, 8, (off_t)at), 8);
		}
		(void)close(fd);
		assert_int_equal(reopen(f), 0);
		uint64_t kept = ledger_size(f->l) - before;
		assert_true(kept <= 4 && (kept < 4) == torn);
		f->seq = seq + kept;
		assert_int_equal(f->l->sources.all[0].last_seq, f->seq);
	}
}

/* The same damage with one more commit after it: what was durable is gone, so nothing is touched. */
static void test_damage_before_a_later_commit_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;

	assert_int_equal(reopen(f), 0);
	commit(f, 5);
	uint64_t begin = f->l->segment.end;
	commit(f, 3);
	uint64_t end = f->l->segment.end;
	commit(f, 3);
	for (uint64_t at = begin; at < end; at += 5) {
		int fd = open_segment(f);
		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		assert_int_equal(reopen(f), LEDGER_E_DAMAGED);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		(void)close(fd);
		assert_int_equal(reopen(f), 0);
		assert_int_equal(ledger_size(f->l), 11);
	}
}

static void test_below_the_checkpoint_is_refused(void **state)
{
	struct fixture *f = *state;
	char zeros[4096] = {0};

	assert_int_equal(reopen(f), 0);
	commit(f, 5);
	uint64_t begin = f->l->segment.end;
	commit(f, 3);
	sign(f);
	int fd = open_segment(f);
	assert_int_equal(pwrite(fd, zeros, f->l->segment.end - begin, (off_t)begin), f->l->segment.end - begin);
	(void)close(fd);
	assert_int_equal(reopen(f), LEDGER_E_DAMAGED);
	assert_non_null(strstr(f->l->why, "were signed"));
}

static void test_an_unlinked_segment_is_noticed(void **state)
{
	struct fixture *f = *state;
	char path[128], aside[160];

	assert_int_equal(reopen(f), 0);
	commit(f, 5);
	(void)snprintf(path, sizeof(path), "%s/seg/%s", f->dir, f->l->segment.name);
	(void)snprintf(aside, sizeof(aside), "%s.aside", path);
	assert_int_equal(rename(path, aside), 0);
	ledger_batch_clear(&f->batch);
	add(f);
	assert_true(ledger_append(f->l, &f->batch) < 0);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* another in its place */
	(void)close(fd);
	assert_int_equal(ledger_append(f->l, &f->batch), -ESTALE);
}

/* Whatever is done to the file or to a folder above it: nothing is acknowledged after it. */
static void test_a_log_that_was_moved_or_cut_is_noticed(void **state)
{
	struct fixture *f = *state;
	char seg[128], name[192], aside[192];

	assert_int_equal(reopen(f), 0);
	commit(f, 5);
	(void)snprintf(seg, sizeof(seg), "%s/seg", f->dir);
	(void)snprintf(name, sizeof(name), "%s/%s", seg, f->l->segment.name);
	for (int what = 0; what < 3; what++) {
		const char *moved = what == 0 ? seg : f->dir;
		(void)snprintf(aside, sizeof(aside), "%s.aside", moved);
		if (what < 2) {
			assert_int_equal(rename(moved, aside), 0);
			assert_int_equal(mkdir(moved, 0700), 0);
		} else {
			assert_int_equal(truncate(name, (off_t)f->l->segment.end), 0);
		}
		ledger_batch_clear(&f->batch);
		add(f);
		f->seq--;
		assert_true(ledger_append(f->l, &f->batch) < 0);
		if (what < 2) {
			assert_int_equal(rmdir(moved), 0);
			assert_int_equal(rename(aside, moved), 0);
			commit(f, 1); /* it had not been written to */
		}
	}
	assert_int_equal(reopen(f), LEDGER_E_DAMAGED);
	assert_non_null(strstr(f->l->why, "length"));
	assert_int_equal(truncate(name, TEST_SEGMENT_BYTES), 0);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(ledger_size(f->l), 7);
}

static void test_wrong_checkpoints_are_not_published(void **state)
{
	struct fixture *f = *state;
	struct merkle_hash root;
	struct merkle_proof proof;

	assert_int_equal(reopen(f), 0);
	commit(f, 5);
	sign(f);
	assert_int_equal(ledger_prepare(f->l, 5, &root, &proof), 0);
	uint8_t *note;
	size_t len;
	assert_int_equal(tile_slurp(f->l->dir, "checkpoint", LEDGER_NOTE_MAX, &note, &len), 0);
	assert_int_equal(ledger_publish(f->l, span_of(note, len), &f->key, 5, &root), 0);
	assert_int_equal(ledger_publish(f->l, span_of(note, len), &f->key, 6, &root), LEDGER_E_INVALID);
	root.b[0] ^= 1;
	assert_int_equal(ledger_publish(f->l, span_of(note, len), &f->key, 5, &root), LEDGER_E_INVALID);
	root.b[0] ^= 1;
	note[len - 20] ^= 1;
	assert_int_equal(ledger_publish(f->l, span_of(note, len), &f->key, 5, &root), LEDGER_E_INVALID);
	free(note);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_grows_and_comes_back),
		CASE(test_a_batch_over_segments),
		CASE(test_proofs),
		CASE(test_unfinished_tiles_are_written_again),
		CASE(test_a_torn_commit_is_cut),
		CASE(test_damage_before_a_later_commit_is_refused),
		CASE(test_below_the_checkpoint_is_refused),
		CASE(test_an_unlinked_segment_is_noticed),
		CASE(test_a_log_that_was_moved_or_cut_is_noticed),
		CASE(test_wrong_checkpoints_are_not_published),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
