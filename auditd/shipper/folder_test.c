/* SPDX-License-Identifier: Apache-2.0 */
/* The log's folder, read by somebody who believes nothing of it: good logs of every shape, and one thing wrong each. */
#include "auditd/shipper/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_log.h"

struct reading {
	struct folder folder;
	struct folder_rows rows;
};

static struct reading *reading_of(const struct fixture *f, int expected)
{
	struct reading *r = calloc(1, sizeof(*r));

	assert_int_equal(folder_open(&r->folder, f->dir, &f->key), 0);
	assert_int_equal(folder_refresh(&r->folder), expected);
	return r;
}

static void reading_end(struct reading *r)
{
	folder_rows_free(&r->rows);
	folder_close(&r->folder);
	free(r);
}

static void grow(struct fixture *f, size_t n)
{
	while (n > 0) {
		size_t part = MIN(n, (size_t)500);
		commit(f, part);
		n -= part;
	}
	sign(f);
}

/* All of it in batches of `max`; 0, or what went wrong first. */
static int read_all(struct reading *r, size_t max)
{
	uint64_t next = 0;

	while (next < r->folder.size) {
		int e = folder_read(&r->folder, next, max, &r->rows);
		if (e)
			return e;
		assert_true(r->rows.n > 0 && r->rows.n <= max);
		for (size_t i = 0; i < r->rows.n; i++) {
			assert_int_equal(r->rows.rows[i].index, next + i);
			assert_int_equal(r->rows.rows[i].leaf.seq, next + i + 1);
		}
		next += r->rows.n;
	}
	assert_int_equal(next, r->folder.size);
	return 0;
}

static void every_size_is_read(void **state)
{
	static const size_t steps[] = {1, 1, 5, 248, 1, 1, 255, 257, 700};
	struct fixture *f = *state;

	assert_int_equal(reopen(f), 0);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		grow(f, steps[i]);
		struct reading *r = reading_of(f, 0);
		assert_int_equal(r->folder.size, f->signed_size);
		assert_int_equal(read_all(r, 256), 0);
		assert_int_equal(read_all(r, 7), 0);
		assert_int_equal(folder_refresh(&r->folder), FOLDER_E_NONE);
		reading_end(r);
	}
}

static void growth_is_proven(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(reopen(f), 0);
	grow(f, 300);
	struct reading *r = reading_of(f, 0);
	struct merkle_hash root = r->folder.root, other = root;
	other.b[5] ^= 1;
	for (size_t n = 1; n < 1000; n = 3 * n + 1) {
		grow(f, n);
		assert_int_equal(folder_refresh(&r->folder), 0);
		assert_int_equal(folder_grew(&r->folder, 300, &root), 0);
		assert_int_equal(folder_grew(&r->folder, 0, &root), 0);
		assert_int_equal(folder_grew(&r->folder, 300, &other), FOLDER_E_FORKED);
		assert_int_equal(folder_grew(&r->folder, 299, &root), FOLDER_E_FORKED);
		assert_int_equal(folder_grew(&r->folder, r->folder.size + 1, &root), FOLDER_E_FORKED);
		assert_non_null(strstr(r->folder.why, "set back"));
		assert_int_equal(folder_grew(&r->folder, r->folder.size, &r->folder.root), 0);
		assert_int_equal(folder_grew(&r->folder, r->folder.size, &root), FOLDER_E_FORKED);
	}
	reading_end(r);
}

static void nothing_signed_is_nothing_new(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(reopen(f), 0);
	commit(f, 3);
	reading_end(reading_of(f, FOLDER_E_NONE));
}

static void another_key_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct note_key own = f->key;

	assert_int_equal(reopen(f), 0);
	grow(f, 3);
	assert_int_equal(note_key_init(&f->key, SPAN_LIT("bulkhead.other/audit"), own.public), 0);
	reading_end(reading_of(f, FOLDER_E_BAD));
	uint8_t public[32];
	memcpy(public, own.public, sizeof(public));
	public[0] ^= 1;
	assert_int_equal(note_key_init(&f->key, span_str(own.name), public), 0);
	reading_end(reading_of(f, FOLDER_E_BAD));
	f->key = own;
	struct reading *r = calloc(1, sizeof(*r)); /* the one beside the log, from the first look on */
	assert_int_equal(folder_open(&r->folder, f->dir, NULL), 0);
	assert_int_equal(folder_refresh(&r->folder), 0);
	assert_true(r->folder.pinned);
	reading_end(r);
}

static void damage(const struct fixture *f, const char *name, off_t at)
{
	char path[200];
	uint8_t byte = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

/* Each byte of a bundle and of its tile: not one record of it is believed then. */
static void an_altered_byte_is_seen(void **state)
{
	static const struct {
		const char *name;
		off_t bytes;
	} files[] = {{"tile/entries/000", 2000},
		     {"tile/0/000", 8192},
		     {"tile/entries/001.p/44", 2000},
		     {"tile/0/001.p/44", 44 * 32},
		     {"tile/1/000.p/1", 32}};
	struct fixture *f = *state;

	assert_int_equal(reopen(f), 0);
	grow(f, 300);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		for (off_t at = 0; at < files[i].bytes; at += 37) {
			damage(f, files[i].name, at);
			struct reading *r = reading_of(f, 0);
			if (read_all(r, 256) != FOLDER_E_BAD)
				fail_msg("%s at %d", files[i].name, (int)at);
			reading_end(r);
			damage(f, files[i].name, at);
		}
	}
	struct reading *r = reading_of(f, 0);
	assert_int_equal(read_all(r, 256), 0);
	reading_end(r);
}

/* Two genuine files, each other's: both exist, neither belongs there. */
static void a_bundle_of_another_place_is_seen(void **state)
{
	struct fixture *f = *state;
	char a[200], b[200];

	assert_int_equal(reopen(f), 0);
	grow(f, 600);
	(void)snprintf(a, sizeof(a), "%s/tile/entries/000", f->dir);
	(void)snprintf(b, sizeof(b), "%s/tile/entries/001", f->dir);
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
	struct reading *r = reading_of(f, 0);
	assert_int_equal(folder_read(&r->folder, 0, 256, &r->rows), FOLDER_E_BAD);
	assert_int_equal(folder_read(&r->folder, 256, 256, &r->rows), FOLDER_E_BAD);
	assert_int_equal(folder_read(&r->folder, 512, 256, &r->rows), 0);
	reading_end(r);
}

static void pruned_records_leave_their_hashes(void **state)
{
	struct fixture *f = *state;
	char path[200];

	assert_int_equal(reopen(f), 0);
	grow(f, 600);
	struct reading *r = reading_of(f, 0);
	assert_int_equal(folder_read(&r->folder, 250, 3, &r->rows), 0);
	struct merkle_hash hash = r->rows.rows[2].hash;
	(void)snprintf(path, sizeof(path), "%s/tile/entries/000", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(folder_read(&r->folder, 250, 3, &r->rows), FOLDER_E_PRUNED);
	assert_true(r->rows.pruned && r->rows.n == 3 && r->rows.rows[2].index == 252);
	assert_memory_equal(&r->rows.rows[2].hash, &hash, sizeof(hash));
	assert_int_equal(folder_read(&r->folder, 256, 256, &r->rows), 0);
	assert_false(r->rows.pruned);
	reading_end(r);
}

/* As a power failure leaves it until auditd has made the tiles again: the records are where they were. */
static void what_is_missing_elsewhere_was_not_pruned(void **state)
{
	struct fixture *f = *state;
	char path[200];

	assert_int_equal(reopen(f), 0);
	grow(f, 600);
	struct reading *r = reading_of(f, 0);
	(void)snprintf(path, sizeof(path), "%s/tile/entries/002.p/88", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(folder_read(&r->folder, 512, 256, &r->rows), FOLDER_E_BAD);
	(void)snprintf(path, sizeof(path), "%s/tile/entries/001", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(folder_read(&r->folder, 256, 256, &r->rows), FOLDER_E_BAD);
	assert_int_equal(folder_read(&r->folder, 512, 256, &r->rows), FOLDER_E_BAD);
	assert_int_equal(folder_read(&r->folder, 0, 256, &r->rows), 0);
	(void)snprintf(path, sizeof(path), "%s/tile/entries/000", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(folder_read(&r->folder, 0, 256, &r->rows), FOLDER_E_PRUNED);
	assert_int_equal(folder_read(&r->folder, 256, 256, &r->rows), FOLDER_E_PRUNED);
	assert_int_equal(folder_read(&r->folder, 512, 256, &r->rows), FOLDER_E_BAD);
	reading_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_size_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(growth_is_proven, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_signed_is_nothing_new, setup, teardown),
		cmocka_unit_test_setup_teardown(another_key_does_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(an_altered_byte_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bundle_of_another_place_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(pruned_records_leave_their_hashes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_elsewhere_was_not_pruned, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
