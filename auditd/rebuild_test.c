/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What recovery does with tiles, which are derived from entries but tell what these were: it writes none before the
 * whole log was found good, so that a log that it refuses is left as it was, evidence and all; and where tiles are
 * missing or damaged it makes them again if the signed root follows from the entries that are kept, and only then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_prune.h"

#define FILES_MAX 512

/* ---- what a folder holds ---- */

/* nftw() has no context to be given. */
static struct files {
	size_t n;
	struct {
		char path[160];
		uint8_t digest[crypto_hash_sha256_BYTES];
	} all[FILES_MAX];
} * looking;

static int look_at_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	uint8_t *bytes = malloc((size_t)st->st_size + 1);

	(void)ftw;
	if (type == FTW_F) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(looking->n < FILES_MAX && pread(fd, bytes, (size_t)st->st_size, 0) == st->st_size);
		(void)snprintf(looking->all[looking->n].path, sizeof(looking->all[0].path), "%s", path);
		(void)crypto_hash_sha256(looking->all[looking->n++].digest, bytes, (unsigned long long)st->st_size);
		(void)close(fd);
	}
	free(bytes);
	return 0;
}

static struct files *look(const char *dir)
{
	looking = calloc(1, sizeof(*looking));
	assert_int_equal(nftw(dir, look_at_one, 8, FTW_PHYS), 0);
	return looking;
}

static void assert_same(struct files *before, struct files *after)
{
	assert_int_equal(before->n, after->n);
	for (size_t i = 0, k; i < before->n; i++) {
		for (k = 0; k < after->n && strcmp(before->all[i].path, after->all[k].path) != 0; k++)
			;
		if (k == after->n || memcmp(before->all[i].digest, after->all[k].digest, crypto_hash_sha256_BYTES))
			fail_msg("%s is not what it was", before->all[i].path);
	}
	free(before);
	free(after);
}

static void assert_refused(struct fixture *f, const char *why)
{
	f->l = ledger_close(f->l);
	struct files *before = look(f->dir);

	assert_int_equal(ledger_open(f->dir, TEST_SEGMENT_BYTES, 0, &f->l), LEDGER_E_DAMAGED);
	if (!strstr(f->l->why, why))
		fail_msg("%s", f->l->why);
	assert_same(before, look(f->dir));
}

/* ---- what is done to it ---- */

static void cut_tile(const struct fixture *f, int level, uint64_t n, unsigned width)
{
	char path[TILE_PATH_MAX];

	tile_path(path, level, n, width);
	int fd = openat(f->l->dir, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	(void)close(fd);
}

/* Entry `index` is another, and whole; of the segments after it, each knows nothing of it. */
static void alter_entry(const struct fixture *f, uint64_t index)
{
	char path[160];
	size_t which = f->l->n_firsts - 1;
	uint8_t *bytes = malloc(TEST_SEGMENT_BYTES);
	struct entry entry;
	size_t at = SEGMENT_HEAD_BYTES;

	while (f->l->firsts[which] > index)
		which--;
	(void)snprintf(path, sizeof(path), "%s/seg/%020" PRIu64 ".seg", f->dir, f->l->firsts[which]);
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, bytes, TEST_SEGMENT_BYTES, 0), TEST_SEGMENT_BYTES);
	for (uint64_t i = f->l->firsts[which];; i++) {
		assert_int_equal(entry_read(span_of(bytes + at, TEST_SEGMENT_BYTES - at), i, &entry), 0);
		if (i == index)
			break;
		at += entry.bytes;
	}
	uint8_t *digit = memmem(bytes + at, entry.bytes, "request-", 8);
	assert_non_null(digit);
	digit[8] = digit[8] == '1' ? '2' : '1';
	(void)entry_seal(bytes + at, entry.leaf.len, index, entry.place);
	assert_int_equal(pwrite(fd, bytes, TEST_SEGMENT_BYTES, 0), TEST_SEGMENT_BYTES);
	(void)close(fd);
	free(bytes);
}

static void remove_all_tiles(const struct fixture *f)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/tile", f->dir);
	assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* The last segment that begins before what was signed, where recovery begins; within a tile. */
static uint64_t make_log(struct fixture *f)
{
	assert_int_equal(reopen(f), 0);
	pruned_fill(f, 1400);
	uint64_t first = f->l->firsts[f->l->n_firsts - 1];
	assert_true(f->l->n_firsts >= 5 && first < f->signed_size && first % TILE_WIDTH > 1);
	return first;
}

static void assert_good(struct fixture *f, uint64_t first, uint64_t end)
{
	uint64_t size = f->seq + f->own_seq;

	assert_int_equal(reopen(f), 0);
	assert_int_equal(f->l->unwritable, 0);
	assert_int_equal(f->l->made_again, first);
	assert_int_equal(f->l->made_again_end, end);
	assert_int_equal(ledger_size(f->l), size);
	pruned_good(f, f->l->firsts[0]);
	assert_int_equal(reopen(f), 0); /* it is done */
	assert_int_equal(f->l->made_again_end, 0);
	pruned_fill(f, 40);
	pruned_good(f, f->l->firsts[0]);
}

/* ---- tests ---- */

/* An entry that is read anyway, in a full tile: that still says what it was. */
static void test_what_is_refused_is_left_as_it_was(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(reopen(f), 0);
	commit(f, TILE_WIDTH + 4);
	sign(f);
	assert_int_equal(f->l->n_firsts, 1);
	alter_entry(f, 20);
	assert_refused(f, "are not those that were signed");
}

static void test_tiles_are_made_again(void **state)
{
	struct fixture *f = *state;
	uint64_t first = make_log(f), before = f->l->firsts[f->l->n_firsts - 2];

	cut_tile(f, 0, first / TILE_WIDTH, (unsigned)(first % TILE_WIDTH));
	assert_good(f, before, first);
}

static void test_a_damaged_tile_is_made_again(void **state)
{
	struct fixture *f = *state;
	uint64_t first = make_log(f), before = f->l->firsts[f->l->n_firsts - 2];

	cut_tile(f, TILE_ENTRIES, first / TILE_WIDTH, (unsigned)(first % TILE_WIDTH));
	assert_good(f, before, first);
}

static void test_all_tiles_are_made_again(void **state)
{
	struct fixture *f = *state;
	uint64_t first = make_log(f);

	remove_all_tiles(f);
	assert_good(f, 0, first);
}

/* The tiles are gone, and a segment that they would have spoken of is not what was signed. */
static void test_nothing_is_made_of_what_was_not_signed(void **state)
{
	struct fixture *f = *state;

	(void)make_log(f);
	alter_entry(f, f->l->firsts[1] + 3);
	remove_all_tiles(f);
	assert_refused(f, "does not continue the one before");
}

static int remove_partial(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return type == FTW_F && strstr(path, ".p/") ? remove_one(path, st, type, ftw) : 0;
}

/* Of what retention removed there are no entries, but their hashes: what is above those follows. */
static void test_tiles_of_removed_entries_are_made_again(void **state)
{
	struct fixture *f = *state;
	uint64_t first = make_log(f);
	char tiles[96];

	pruned_prune(f, f->l->firsts[2] + KEEP_NS + 1);
	uint64_t kept = f->l->firsts[0], last = f->l->firsts[f->l->n_firsts - 1];
	cut_tile(f, 0, first / TILE_WIDTH, (unsigned)(first % TILE_WIDTH));
	assert_good(f, f->l->firsts[f->l->n_firsts - 2], first);
	assert_true(f->l->firsts[0] == kept && f->l->firsts[f->l->n_firsts - 1] == last);
	(void)snprintf(tiles, sizeof(tiles), "%s/tile", f->dir);
	assert_int_equal(nftw(tiles, remove_partial, 8, FTW_PHYS), 0);
	assert_good(f, 0, last);
}

/* Without those nothing follows, nor of others. */
static void test_hashes_of_removed_entries_are_not_made_again(void **state)
{
	struct fixture *f = *state;
	char path[TILE_PATH_MAX];

	(void)make_log(f);
	pruned_prune(f, f->l->firsts[4] + KEEP_NS + 1);
	assert_true(f->l->firsts[0] > 2 * TILE_WIDTH);
	char tiles[96];
	(void)snprintf(tiles, sizeof(tiles), "%s/tile", f->dir);
	assert_int_equal(nftw(tiles, remove_partial, 8, FTW_PHYS), 0);
	tile_path(path, 0, 1, TILE_WIDTH);
	int fd = openat(f->l->dir, path, O_RDWR | O_CLOEXEC);
	uint8_t byte;
	assert_int_equal(pread(fd, &byte, 1, 77), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 77), 1);
	assert_refused(f, "the tiles before it do not give its root");
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 77), 1);
	(void)close(fd);
	assert_int_equal(reopen(f), 0);
	remove_all_tiles(f);
	assert_refused(f, "the tiles before it do not give its root");
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_what_is_refused_is_left_as_it_was),
		CASE(test_tiles_are_made_again),
		CASE(test_a_damaged_tile_is_made_again),
		CASE(test_all_tiles_are_made_again),
		CASE(test_nothing_is_made_of_what_was_not_signed),
		CASE(test_tiles_of_removed_entries_are_made_again),
		CASE(test_hashes_of_removed_entries_are_not_made_again),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
