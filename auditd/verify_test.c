/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tamper matrix: a small good log, and everything that somebody with the disk can do to it. The verifier, with the
 * key pinned, must refuse all of it, and the same log untouched must be good before and after.
 *
 * What it cannot see: an older but once genuine copy of the whole folder. That is the signer's to notice (it remembers
 * the size that it signed last), and the integration tests' to prove.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/test_log.h"

#define TAMPER_ENTRIES       9
#define TAMPER_SEGMENT_BYTES 10240

struct file {
	char path[160];
	uint8_t *bytes;
	size_t len;
};

static void load(const struct fixture *f, const char *name, struct file *file)
{
	int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(file->path, sizeof(file->path), "%s/%s", f->dir, name);
	assert_int_equal(tile_slurp(dir, name, 1U << 20, &file->bytes, &file->len), 0);
	(void)close(dir);
}

static void store(const struct file *file, const uint8_t *bytes, size_t len)
{
	int fd = open(file->path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	(void)close(fd);
}

static void make_log(struct fixture *f)
{
	assert_int_equal(ledger_open(f->dir, TAMPER_SEGMENT_BYTES, 0, &f->l), 0);
	commit(f, 2);
	sign(f);
	commit(f, TAMPER_ENTRIES - 2);
	sign(f);
	f->l = ledger_close(f->l);
}

static void expect(const struct fixture *f, bool good, const char *what, size_t at)
{
	struct verify_report report;

	if (verifies(f, f->dir, &report) != good)
		fail_msg("%s, at %zu: %s", what, at, good ? report.why : "accepted");
}

/* Flips bits in place, through one descriptor: rewriting whole files would take minutes. */
static void flip_all(const struct fixture *f, const char *name, size_t from, size_t to, size_t step)
{
	struct file file;

	load(f, name, &file);
	int fd = open(file.path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t bit = from * 8; bit < MIN(to, file.len) * 8; bit += step) {
		uint8_t changed = file.bytes[bit / 8] ^ (uint8_t)(1 << bit % 8);
		assert_int_equal(pwrite(fd, &changed, 1, (off_t)(bit / 8)), 1);
		expect(f, false, name, bit);
		assert_int_equal(pwrite(fd, &file.bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
	}
	(void)close(fd);
	free(file.bytes);
}

#define SEGMENT "seg/00000000000000000000.seg"

/* Every file of the log but vkey, which is not looked at where a key is pinned. */
static const char *const all_files[] = {
	SEGMENT, "checkpoint", "tile/0/000.p/2", "tile/0/000.p/9", "tile/entries/000.p/2", "tile/entries/000.p/9",
};

static void test_every_bit(void **state)
{
	struct fixture *f = *state;

	make_log(f);
	expect(f, true, "untouched", 0);
	for (size_t i = 0; i < ARRAY_LEN(all_files); i++)
		flip_all(f, all_files[i], 0, SIZE_MAX, 1);
	expect(f, true, "untouched", 1);
}

static void test_every_length(void **state)
{
	struct fixture *f = *state;
	struct file file;

	make_log(f);
	for (size_t i = 0; i < ARRAY_LEN(all_files); i++) {
		load(f, all_files[i], &file);
		for (size_t len = file.len; len-- > 0;) {
			assert_int_equal(truncate(file.path, (off_t)len), 0);
			/* What an earlier checkpoint left may be cut short: auditd/strays.h says why. */
			expect(f, strstr(all_files[i], ".p/2") != NULL, all_files[i], len);
		}
		uint8_t *longer = calloc(1, file.len + 8);
		memcpy(longer, file.bytes, file.len);
		for (size_t more = 1; more <= 8; more++) {
			store(&file, longer, file.len + more);
			expect(f, false, all_files[i], file.len + more);
		}
		store(&file, file.bytes, file.len);
		free(longer);
		free(file.bytes);
	}
	expect(f, true, "untouched", 0);
}

/* Any two entries change places. */
static void test_every_swap(void **state)
{
	struct fixture *f = *state;
	struct file file;
	size_t at[TAMPER_ENTRIES + 1] = {SEGMENT_HEAD_BYTES};
	struct entry entry;

	make_log(f);
	load(f, SEGMENT, &file);
	for (size_t i = 0; i < TAMPER_ENTRIES; i++) {
		assert_int_equal(entry_read(span_of(file.bytes + at[i], file.len - at[i]), i, &entry), 0);
		at[i + 1] = at[i] + entry.bytes;
	}
	uint8_t *mixed = malloc(file.len);
	for (size_t i = 0; i < TAMPER_ENTRIES; i++) {
		for (size_t j = i + 1; j < TAMPER_ENTRIES; j++) {
			uint8_t *to = mixed + SEGMENT_HEAD_BYTES;
			memcpy(mixed, file.bytes, file.len);
			for (size_t k = 0; k < TAMPER_ENTRIES; k++) {
				size_t from = k == i ? j : k == j ? i : k;
				/* As a forger would: each with the index and CRC of its new place. */
				size_t bytes = at[from + 1] - at[from];
				memcpy(to, file.bytes + at[from], bytes);
				assert_int_equal(entry_read(span_of(to, bytes), from, &entry), 0);
				to += entry_seal(to, entry.leaf.len, k, 0);
			}
			store(&file, mixed, file.len);
			expect(f, false, "swapped", i * TAMPER_ENTRIES + j);
		}
	}
	store(&file, file.bytes, file.len);
	expect(f, true, "untouched", 0);
	free(mixed);
	free(file.bytes);
}

/* Entries rewritten with everything that needs no key: CRCs, tiles, bundles. */
static void test_a_rewritten_history(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	struct file genuine;

	make_log(f);
	load(f, "checkpoint", &genuine);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	f->signed_size = 0;
	f->seq = 0;
	f->request = "another"; /* and nothing else that could be noticed */
	assert_int_equal(reopen(f), 0);
	ledger_batch_clear(&f->batch);
	for (size_t i = 0; i < TAMPER_ENTRIES; i++)
		add(f);
	assert_int_equal(ledger_append(f->l, &f->batch), 0);
	sign(f);
	assert_true(verifies(f, f->dir, &report));
	store(&genuine, genuine.bytes, genuine.len);
	assert_false(verifies(f, f->dir, &report));
	assert_non_null(strstr(report.why, "not those that were signed"));
	free(genuine.bytes);
}

/* What the key signed for another log: a genuine signature, and of the right size and root. */
static void test_another_log(void **state)
{
	struct fixture *f = *state;
	struct checkpoint cp;
	struct file file;
	struct span text;
	uint8_t sig[NOTE_SIG_BYTES];
	char other[512], note[1024];
	size_t len, note_len;

	make_log(f);
	load(f, "checkpoint", &file);
	assert_int_equal(note_verify(span_of(file.bytes, file.len), &f->key, &text), 0);
	assert_int_equal(checkpoint_parse(text, &cp), 0);
	cp.origin = SPAN_LIT("bulkhead.other/audit");
	assert_int_equal(checkpoint_format(&cp, other, sizeof(other), &len), 0);
	crypto_sign_detached(sig, NULL, (const uint8_t *)other, len, f->secret);
	assert_int_equal(note_format(span_of(other, len), &f->key, sig, note, sizeof(note), &note_len), 0);
	store(&file, (const uint8_t *)note, note_len);
	expect(f, false, "another origin", 0);
	free(file.bytes);
}

/* Entries where no commit could have put them; their leaves, and so the tree, are as they were. */
static void test_every_place(void **state)
{
	struct fixture *f = *state;
	struct file file;
	struct entry entry;
	size_t at = SEGMENT_HEAD_BYTES;

	make_log(f);
	load(f, SEGMENT, &file);
	uint8_t *moved = malloc(file.len);
	for (uint64_t i = 0; i < TAMPER_ENTRIES; i++, at += entry.bytes) {
		assert_int_equal(entry_read(span_of(file.bytes + at, file.len - at), i, &entry), 0);
		for (uint32_t place = 1; place <= i; place++) {
			memcpy(moved, file.bytes, file.len);
			(void)entry_seal(moved + at, entry.leaf.len, i, place);
			store(&file, moved, file.len);
			expect(f, place == entry.place, "place", i * TAMPER_ENTRIES + place);
		}
	}
	free(moved);
	free(file.bytes);
}

/* A later segment's head says what the tree and the producers were before it. */
static void test_heads(void **state)
{
	struct fixture *f = *state;
	struct segment_head head;
	struct file file;
	char name[SEGMENT_NAME_BYTES + 4] = "seg/";

	assert_int_equal(reopen(f), 0);
	while (f->l->segments < 2)
		commit(f, 50);
	sign(f);
	(void)snprintf(name + 4, sizeof(name) - 4, "%s", f->l->segment.name);
	f->l = ledger_close(f->l);
	expect(f, true, "untouched", 0);
	load(f, name, &file);
	for (int what = 0; what < 5; what++) {
		uint8_t *changed = malloc(file.len);
		memcpy(changed, file.bytes, file.len);
		assert_int_equal(segment_head_read(span_of(changed, file.len), &head), 0);
		head.root.b[0] ^= what == 0;
		head.last_leaf.b[0] ^= what == 1;
		head.log_id[0] ^= what == 2;
		head.sources.all[0].last_seq += what == 3;
		head.sources.n -= what == 4;
		segment_head_write(&head, changed);
		store(&file, changed, file.len);
		expect(f, false, "head", (size_t)what);
		free(changed);
	}
	free(file.bytes);
}

static void test_another_key(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	struct note_key genuine = f->key;

	make_log(f);
	f->key.public[3] ^= 1;
	assert_false(verifies(f, f->dir, &report));
	crypto_sign_keypair(f->public, f->secret);
	assert_int_equal(note_key_init(&f->key, span_str(genuine.name), f->public), 0);
	assert_false(verifies(f, f->dir, &report));
	assert_int_equal(note_key_init(&f->key, SPAN_LIT("bulkhead.other/audit"), genuine.public), 0);
	assert_false(verifies(f, f->dir, &report));
	f->key = genuine;
	assert_true(verifies(f, f->dir, &report));
}

/* A hole in a producer's sequence that no gap record covers, although everything is signed. */
static void test_a_silent_loss(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;

	assert_int_equal(reopen(f), 0);
	commit(f, 3);
	f->seq++;
	commit(f, 3);
	sign(f);
	assert_false(verifies(f, f->dir, &report));
	assert_non_null(strstr(report.why, "without a gap record"));
}

/* Without a pinned key: one that is not the signer's, or not a key. */
static void test_every_bit_of_the_key(void **state)
{
	struct fixture *f = *state;
	const struct verify_options options = {0};
	struct verify_report report;
	struct file file;

	make_log(f);
	assert_int_equal(verify_log(f->dir, &options, &report), 0);
	assert_true(report.good);
	load(f, "vkey", &file);
	for (size_t bit = 0; bit < file.len * 8; bit++) {
		file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		store(&file, file.bytes, file.len);
		assert_int_equal(verify_log(f->dir, &options, &report), 0);
		if (report.good)
			fail_msg("bit %zu of vkey may be changed", bit);
		file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(file.bytes);
}

/* Full tiles, a second level, and what is left of the partial ones before them: a bit now and then: the files
 * of the small log have every one. */
static void test_full_tiles(void **state)
{
	static const char *const names[] = {
		"tile/0/000",       "tile/entries/000",       "tile/1/000.p/1",        "tile/0/001.p/44",
		"tile/0/000.p/200", "tile/entries/000.p/200", "tile/entries/001.p/44",
	};
	struct fixture *f = *state;

	assert_int_equal(ledger_open(f->dir, 131072, 0, &f->l), 0);
	commit(f, 200);
	sign(f);
	commit(f, 100);
	sign(f);
	f->l = ledger_close(f->l);
	expect(f, true, "untouched", 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		flip_all(f, names[i], 0, SIZE_MAX, 521);
	expect(f, true, "untouched", 1);
}

/* Files that no log of ours has. */
static void test_strangers(void **state)
{
	static const char *const names[] = {
		"tile/0/000.p/02",       "tile/0/0",    "tile/0/x000/000",   "tile/9",
		"tile/entries/000.p/1x", "tile/README", "tile/entries/0000", "tile/0/00a",
	};
	struct fixture *f = *state;
	struct file file = {.bytes = (uint8_t *)(uintptr_t) "stranger", .len = 8};
	char folder[160];

	make_log(f);
	(void)snprintf(folder, sizeof(folder), "%s/tile/0/x000", f->dir);
	assert_int_equal(mkdir(folder, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(file.path, sizeof(file.path), "%s/%s", f->dir, names[i]);
		store(&file, file.bytes, file.len);
		expect(f, false, names[i], 0);
		assert_int_equal(unlink(file.path), 0);
	}
	expect(f, true, "untouched", 0);
}

/* What somebody has who kept a checkpoint: the same log must contain it. */
static bool contains(const struct fixture *f, uint64_t size, const struct merkle_hash *root)
{
	struct verify_report report;
	struct consistency c;

	if (!verifies(f, f->dir, &report) || report.signed_size < size)
		return false;
	return proof_consistency(f->dir, size, report.signed_size, &c) == 0 &&
	       merkle_verify_consistency(size, root, report.signed_size, &report.root, c.proof.hashes, c.proof.n) == 0;
}

/* A genuine copy of an earlier day, and a genuine history that took another turn: good in themselves, and nobody who
 * kept a checkpoint takes them for this log. */
static void test_an_old_copy_and_a_fork(void **state)
{
	struct fixture *f = *state;
	struct merkle_hash kept;
	struct verify_report report;

	for (int run = 0; run < 3; run++) {
		f->l = ledger_close(f->l);
		(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		assert_int_equal(mkdir(f->dir, 0700), 0);
		f->seq = f->signed_size = 0;
		f->request = NULL;
		assert_int_equal(reopen(f), 0);
		commit(f, 5);
		sign(f);
		f->request = run == 2 ? "fork" : NULL; /* 0: the log; 1: its old copy; 2: a fork, longer than it */
		if (run != 1) {
			commit(f, run == 2 ? 9 : 4);
			sign(f);
		}
		assert_true(verifies(f, f->dir, &report));
		if (run == 0)
			kept = report.root;
		assert_true(contains(f, 9, &kept) == (run == 0));
	}
}

static void test_missing_files(void **state)
{
	static const char *const names[] = {SEGMENT, "checkpoint", "tile/0/000.p/9", "tile/entries/000.p/9"};
	struct fixture *f = *state;
	struct file file;

	make_log(f); /* of what an earlier checkpoint left, nothing need be there */
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		load(f, names[i], &file);
		assert_int_equal(unlink(file.path), 0);
		expect(f, false, names[i], 0);
		assert_int_equal(mkfifo(file.path, 0600), 0); /* which nobody ever writes to */
		(void)alarm(60);
		expect(f, false, names[i], 1);
		(void)alarm(0);
		assert_int_equal(unlink(file.path), 0);
		store(&file, file.bytes, file.len);
		free(file.bytes);
	}
	expect(f, true, "untouched", 0);
}

/* A copy without the folder tile/ is told from one whose tiles are wrong. */
static void test_no_tiles_at_all(void **state)
{
	struct fixture *f = *state;
	struct verify_report report;
	char tiles[160], away[160];

	make_log(f);
	(void)snprintf(tiles, sizeof(tiles), "%s/tile", f->dir);
	(void)snprintf(away, sizeof(away), "%s/away", f->dir);
	assert_int_equal(rename(tiles, away), 0);
	assert_false(verifies(f, f->dir, &report));
	assert_non_null(strstr(report.why, "the folder tile/ is missing, and with it the hashes"));
	assert_non_null(strstr(report.why, "auditd makes it again from seg/ when it starts"));
	assert_int_equal(mkdir(tiles, 0700), 0);
	assert_false(verifies(f, f->dir, &report));
	assert_string_equal(report.why, "a tile or bundle in tile/ is missing: one of the entries up to 8");
	assert_int_equal(rmdir(tiles), 0);
	assert_int_equal(rename(away, tiles), 0);
	expect(f, true, "untouched", 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_every_bit),           CASE(test_every_length),    CASE(test_every_swap),
		CASE(test_a_rewritten_history), CASE(test_another_key),     CASE(test_a_silent_loss),
		CASE(test_missing_files),       CASE(test_no_tiles_at_all), CASE(test_another_log),
		CASE(test_every_place),         CASE(test_heads),           CASE(test_every_bit_of_the_key),
		CASE(test_full_tiles),          CASE(test_strangers),       CASE(test_an_old_copy_and_a_fork),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
