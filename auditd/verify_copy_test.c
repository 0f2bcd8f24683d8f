/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verifier says of a log that somebody is writing, or was writing when it was copied: no good one is called
 * damaged, and nothing that was signed may be missing for it. openat() is replaced by the linker (--wrap).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_prune.h"

#define COPY_ENTRIES       9
#define COPY_SEGMENT_BYTES 10240
#define SEGMENT            "seg/00000000000000000000.seg"

struct file {
	char path[160];
	uint8_t *bytes;
	size_t len;
};

static void load(const struct fixture *f, const char *name, struct file *file)
{
	(void)snprintf(file->path, sizeof(file->path), "%s/%s", f->dir, name);
	assert_int_equal(tile_slurp(AT_FDCWD, file->path, 1U << 20, &file->bytes, &file->len), 0);
}

static void store(const struct file *file, const uint8_t *bytes, size_t len)
{
	(void)chmod(file->path, 0600); /* a sealed one is nobody's to write, but root's */
	int fd = open(file->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	(void)close(fd);
}

static void expect_copy(const struct fixture *f, bool good, const char *what, size_t at, struct verify_report *report)
{
	const struct verify_options options = {.key = &f->key, .copied = true};

	assert_int_equal(verify_log(f->dir, &options, report), 0);
	if (report->good != good)
		fail_msg("%s, at %zu: %s", what, at, good ? report->why : "accepted");
	/* For whom it is no copy, what is torn is damage. */
	struct verify_report strict;
	assert_true(verifies(f, f->dir, &strict) ==
		    (good && report->uncovered.bytes == 0 && report->uncovered.segments == 0));
}

/* Where every entry begins, and the last one ends. */
static void find_entries(const struct file *file, size_t n, size_t ret[])
{
	struct entry entry;

	ret[0] = SEGMENT_HEAD_BYTES;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(entry_read(span_of(file->bytes + ret[i], file->len - ret[i]), i, &entry), 0);
		ret[i + 1] = ret[i] + entry.bytes;
	}
}

/* How many of the entries are what they were, from the first on. */
static size_t count_whole(const struct file *file, const uint8_t *torn, const size_t at[])
{
	size_t n = 0;

	while (n < COPY_ENTRIES && memcmp(torn + at[n], file->bytes + at[n], at[n + 1] - at[n]) == 0)
		n++;
	return n;
}

/* A file was copied while it grew: zeros from any byte on, or up to any byte. Behind the checkpoint, what is whole
 * before it counts, and the rest proves nothing; in what was signed, one zero too many is damage. */
static void test_a_copy_is_torn_at_every_byte(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	struct file file;
	size_t at[COPY_ENTRIES + 1], size;

	assert_int_equal(ledger_open(f->dir, COPY_SEGMENT_BYTES, 0, &f->l), 0);
	commit(f, 4);
	sign(f);
	commit(f, 3);
	commit(f, 2);
	f->l = ledger_close(f->l);
	load(f, SEGMENT, &file);
	find_entries(&file, COPY_ENTRIES, at);
	uint8_t *torn = malloc(file.len);
	for (size_t from = SEGMENT_HEAD_BYTES; from <= at[COPY_ENTRIES]; from++) {
		memcpy(torn, file.bytes, file.len);
		memset(torn + from, 0, file.len - from);
		store(&file, torn, file.len);
		size = count_whole(&file, torn, at);
		expect_copy(f, size >= 4, "cut", from, &report);
		assert_true(!report.good || report.entries == size);
		memcpy(torn, file.bytes, file.len); /* a page that was read too early, before one with later commits */
		size_t begin = MIN(at[size], from);
		memset(torn + begin, 0, from - begin);
		store(&file, torn, file.len);
		size = count_whole(&file, torn, at);
		expect_copy(f, size >= 4, "hole", from, &report);
		if (report.good && size < COPY_ENTRIES)
			assert_true(report.entries == size && report.uncovered.bytes > at[COPY_ENTRIES] - at[size] - 8);
	}
	free(torn);
	free(file.bytes);
}

/* The log went on in other segments meanwhile. */
static void test_a_copy_without_its_middle(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	struct file file;
	char name[SEGMENT_FILE_BYTES];

	assert_int_equal(reopen(f), 0);
	commit(f, 10);
	sign(f);
	while (f->l->segments < 3)
		commit(f, 50);
	uint64_t second = f->l->firsts[1];
	f->l = ledger_close(f->l);
	expect_copy(f, true, "untouched", 0, &report);
	assert_true(report.segments == 3 && report.uncovered.segments == 0);
	load(f, SEGMENT, &file);
	uint8_t *early = calloc(1, file.len);
	memcpy(early, file.bytes, 40000);
	store(&file, early, file.len);
	expect_copy(f, true, "a first segment that was copied early", 0, &report);
	assert_true(report.uncovered.bytes > 0 && report.uncovered.segments == 2 && report.entries >= 10);
	memset(early + 9000, 0, file.len - 9000);
	store(&file, early, file.len);
	expect_copy(f, false, "signed entries are gone", 0, &report);
	store(&file, file.bytes, file.len);
	segment_file(name, second);
	struct file other;
	load(f, name, &other);
	assert_return_code(unlink(other.path), 0);
	expect_copy(f, true, "a second segment that was not there yet", 0, &report);
	assert_true(report.uncovered.bytes == 0 && report.uncovered.segments == 1 && report.entries == second);
	other.bytes[100] ^= 1; /* a head is whole before it has its name */
	store(&other, other.bytes, other.len);
	expect_copy(f, false, "a head", 0, &report);
	free(other.bytes);
	free(early);
	free(file.bytes);
}

/* The wrapper has no context to be given: before this call of openat(), retention removes something. */
static struct {
	struct fixture *f;
	unsigned calls;
} meanwhile;

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	if (meanwhile.f && meanwhile.calls-- == 0) {
		struct fixture *f = TAKE(meanwhile.f);
		pruned_prune(f, f->l->firsts[3] + KEEP_NS + 1);
	}
	return __real_openat(dir, path, flags, 0600);
}

/* All of a removal, with its record, checkpoint and files, between any two files that the verifier opens. */
static void test_retention_meanwhile(void **state)
{
	bool met = true;

	for (unsigned n = 0; met; n += n < 20 ? 1 : 13) {
		if (n > 0)
			assert_int_equal(setup(state), 0);
		struct fixture *f = *state;
		struct verify_report report;
		const struct verify_options options = {.key = &f->key, .in_use = true, .copied = true};

		pruned_make_log(f);
		uint64_t end = f->l->firsts[3];
		meanwhile.f = f;
		meanwhile.calls = n;
		assert_int_equal(verify_log(f->dir, &options, &report), 0);
		met = TAKE(meanwhile.f) == NULL;
		if (!report.good)
			fail_msg("at file %u: %s", n, report.why);
		assert_true(report.first == 0 || report.first == end);
		assert_true(n > 0 || report.first == end);
		if (met)
			assert_int_equal(teardown(state), 0);
	}
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_a_copy_is_torn_at_every_byte),
		CASE(test_a_copy_without_its_middle),
		CASE(test_retention_meanwhile),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
