/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed credentials in the real database: versions, limits, compare and swap, and a file of the first schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sodium.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/store.h"
#include "tests/support/store_fixture.h"

static struct store_credential sample_credential(uint64_t version, struct span blob)
{
	return (struct store_credential){
		.id = "openai", .provider = "openai", .tenant = "*", .version = version, .created_s = 5, .blob = blob};
}

struct seen {
	unsigned n;
	uint64_t version;
	uint8_t blob[STORE_BLOB_BYTES_MAX];
	size_t blob_len;
};

static int see(void *ctx, const struct store_credential *c)
{
	struct seen *seen = ctx;

	seen->n++;
	seen->version = c->version;
	if (c->blob.len)
		memcpy(seen->blob, c->blob.p, c->blob.len);
	seen->blob_len = c->blob.len;
	return 0;
}

static void test_versions_of_a_credential_only_grow(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[STORE_BLOB_BYTES_MAX] = {0}; /* a blob is bytes, NUL among them */
	struct store_credential c = sample_credential(3, span_of(blob, sizeof(blob)));
	struct seen seen = {0};
	uint64_t version;

	assert_int_equal(store_credential_put(f->store, &c), 0);
	blob[0] = 1;
	assert_int_equal(store_credential_put(f->store, &c), STORE_E_STALE_VERSION);
	c.version = 2;
	assert_int_equal(store_credential_put(f->store, &c), STORE_E_STALE_VERSION);
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.blob[0], 0);
	c.version = 4;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	store_reopen(f);
	seen = (struct seen){0};
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.version, 4);
	assert_int_equal(seen.blob_len, sizeof(blob));
	assert_memory_equal(seen.blob, blob, sizeof(blob));
	assert_int_equal(store_credential_version(f->store, SPAN_LIT("openai"), &version), 0);
	assert_int_equal(version, 4);
}

static void test_a_removed_credential_is_gone_but_not_its_version(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[64] = {0};
	struct store_credential c = sample_credential(3, span_of(blob, sizeof(blob)));
	struct seen seen = {0};
	uint64_t version;

	assert_int_equal(store_credential_put(f->store, &c), 0);
	assert_int_equal(store_credential_remove(f->store, SPAN_LIT("openai")), 0);
	assert_int_equal(store_credential_remove(f->store, SPAN_LIT("openai")), STORE_E_NOT_FOUND);
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.blob_len, 0);
	assert_int_equal(store_credential_version(f->store, SPAN_LIT("openai"), &version), 0);
	assert_int_equal(version, 3);
	assert_int_equal(store_credential_version(f->store, SPAN_LIT("nobody"), &version), STORE_E_NOT_FOUND);
	assert_int_equal(store_credential_put(f->store, &c), STORE_E_STALE_VERSION);
	c.version = 4;
	assert_int_equal(store_credential_put(f->store, &c), 0);
}

static int count_one(void *ctx, const struct store_credential *c)
{
	(void)c;
	++*(unsigned *)ctx;
	return 0;
}

/* What the core could not be told, or an operator, is not taken from a row. */
static void test_a_row_beyond_its_bounds_is_refused(void **state)
{
	static const char *const rows[] = {
		"'p', 'p', '*', 4294967296, 5, zeroblob(64)",
		"'p', 'p', '*', 0, 5, zeroblob(64)",
		"'p', 'p', '*', -1, 5, zeroblob(64)",
		"'p', 'p', '*', 1, -5, zeroblob(64)",
		"'p', 'p', '*', 1, 5, zeroblob(63)",
		"'p', 'p', '*', 1, 5, x''",
		"'p', 'p', '*', 1, 5, zeroblob(8193)",
		"'', 'p', '*', 1, 5, zeroblob(64)",
		"'p', '', '*', 1, 5, zeroblob(64)",
		"'p', 'p', '', 1, 5, zeroblob(64)",
		"'p' || char(0) || 'q', 'p', '*', 1, 5, zeroblob(64)",
	};
	struct store_fixture *f = *state;
	unsigned n = 0;
	char sql[160];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void)snprintf(sql, sizeof(sql), "DELETE FROM credentials; INSERT INTO credentials VALUES(%s)",
			       rows[i]);
		store_execute(f, sql);
		assert_int_equal(store_credential_each(f->store, count_one, &n), STORE_E_GONE);
	}
	assert_int_equal(n, 0);
}

static void test_credentials_are_limited(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[64] = {0};
	struct store_credential c = sample_credential(2, span_of(blob, sizeof(blob)));
	char sql[256];

	(void)snprintf(sql, sizeof(sql),
		       "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		       "INSERT INTO credentials SELECT 'p' || i, 'p', '*', 1, 5, zeroblob(64) FROM n",
		       STORE_CREDENTIALS_MAX);
	store_execute(f, sql);
	strcpy(c.id, "p7");
	assert_int_equal(store_credential_put(f->store, &c), 0); /* replacing is not adding */
	strcpy(c.id, "one-more");
	assert_int_equal(store_credential_put(f->store, &c), STORE_E_FULL);
	assert_int_equal(store_credential_remove(f->store, SPAN_LIT("p7")), 0);
	assert_int_equal(store_credential_put(f->store, &c), 0); /* what was removed takes nobody's place */
	strcpy(c.id, "p8");
	c.since = 1;
	assert_int_equal(store_credential_put(f->store, &c), 0); /* nor does a second version */
	strcpy(c.id, "two-more");
	assert_int_equal(store_credential_put(f->store, &c), STORE_E_FULL);
	assert_int_equal(store_credential_remove(f->store, SPAN_LIT("p9")), 0);
	assert_int_equal(store_credential_put(f->store, &c), 0);
}

static void test_two_versions_live_side_by_side(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[64] = {0};
	struct store_credential c = sample_credential(1, span_of(blob, sizeof(blob)));
	struct seen seen = {0};
	uint64_t version;

	c.since = 1;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	c.version = 2;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.version, 2); /* the older one came first */
	assert_int_equal(store_credential_retire(f->store, SPAN_LIT("openai"), 2), STORE_E_NOT_FOUND); /* the last */
	assert_int_equal(store_credential_retire(f->store, SPAN_LIT("openai"), 1), 0);
	assert_int_equal(store_credential_retire(f->store, SPAN_LIT("openai"), 1), STORE_E_NOT_FOUND);
	c.version = 3;
	c.since = 2;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	c.version = c.since = 4; /* an end to both */
	assert_int_equal(store_credential_put(f->store, &c), 0);
	seen.n = 0;
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	c.version = 5;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	assert_int_equal(store_credential_remove(f->store, SPAN_LIT("openai")), 0);
	seen.n = 0;
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.blob_len, 0);
	assert_int_equal(store_credential_version(f->store, SPAN_LIT("openai"), &version), 0);
	assert_int_equal(version, 5);
}

/* A part of the bytes is exchanged only where the whole is what it must be. */
static void test_compare_and_swap(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[100] = {0}, digest[32], done[4];
	struct store_credential c = sample_credential(1, span_of(blob, sizeof(blob)));
	struct seen seen = {0};

	assert_int_equal(store_credential_put(f->store, &c), 0);
	(void)crypto_generichash(digest, sizeof(digest), blob, sizeof(blob), NULL, 0);
	struct store_swap swap = {.id = SPAN_LIT("openai"),
				  .version = 1,
				  .old = span_of(digest, sizeof(digest)),
				  .at = 10,
				  .part = SPAN_LIT("new")};
	struct store_swap swaps[4] = {swap, swap, swap, swap};
	swaps[0].version = 2;
	swaps[1].id = SPAN_LIT("nobody");
	swaps[2].at = 98; /* beyond its end */
	assert_int_equal(store_credential_swap(f->store, swaps, 4, done), 0);
	assert_memory_equal(done, ((uint8_t[]){0, 0, 0, 1}), 4);
	assert_int_equal(store_credential_swap(f->store, &swap, 1, done), 0); /* it is not any more what it was */
	assert_int_equal(done[0], 0);
	assert_int_equal(store_credential_sync(f->store), 0);
	store_reopen(f);
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	memcpy(blob + 10, "new", 3);
	assert_int_equal(seen.blob_len, sizeof(blob));
	assert_memory_equal(seen.blob, blob, sizeof(blob));
	assert_int_equal(seen.version, 1);
}

static off_t wal_bytes(const struct store_fixture *f)
{
	struct stat st;
	char path[128];

	store_path(f, "authd.db-wal", path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* The write-ahead log is not folded back between batches of a rotation; it is when they are to be on disk, and when
 * others' changes are. */
static void test_batches_do_not_wait_for_the_disk(void **state)
{
	struct store_fixture *f = *state;
	uint8_t blob[STORE_BLOB_BYTES_MAX] = {0}, digest[32], done;
	struct store_credential c = sample_credential(1, span_of(blob, sizeof(blob)));
	off_t before = 0;

	assert_int_equal(store_credential_put(f->store, &c), 0);
	for (uint8_t i = 1; i <= 200; i++) { /* some pages each */
		(void)crypto_generichash(digest, sizeof(digest), blob, sizeof(blob), NULL, 0);
		memset(blob, i, sizeof(blob));
		struct store_swap swap = {.id = SPAN_LIT("openai"),
					  .version = 1,
					  .old = span_of(digest, sizeof(digest)),
					  .part = span_of(blob, sizeof(blob))};
		assert_int_equal(store_credential_swap(f->store, &swap, 1, &done), 0);
		assert_int_equal(done, 1);
		assert_true(wal_bytes(f) > before);
		before = wal_bytes(f);
	}
	assert_true(before > 256 * 4096);
	c.version = c.since = 2;
	assert_int_equal(store_credential_put(f->store, &c), 0); /* this one waits, and folds */
	c.version = c.since = 3;
	assert_int_equal(store_credential_put(f->store, &c), 0);
	assert_true(wal_bytes(f) < before && wal_bytes(f) <= 1048576); /* store_prepare() has it cut */
	assert_int_equal(store_credential_sync(f->store), 0);
	assert_int_equal(wal_bytes(f), 0);
}

static void test_a_database_of_the_first_schema(void **state)
{
	struct store_fixture *f = *state;
	struct seen seen = {0};

	store_execute(
		f,
		"DROP INDEX keys_by_subject; DROP TABLE subjects; ALTER TABLE keys DROP COLUMN subject;"
		"ALTER TABLE keys DROP COLUMN concurrent;"
		"DROP TABLE credentials; CREATE TABLE credentials(id TEXT PRIMARY KEY, provider TEXT NOT NULL, tenant "
		"TEXT NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL, blob BLOB) STRICT;"
		"INSERT INTO credentials VALUES('openai', 'openai', '*', 7, 5, zeroblob(64)), "
		"('gone', 'gone', '*', 2, 5, NULL); PRAGMA user_version = 1");
	assert_int_equal(store_credential_each(f->store, see, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.version, 7);
	assert_int_equal(seen.blob_len, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		T(test_versions_of_a_credential_only_grow), T(test_a_removed_credential_is_gone_but_not_its_version),
		T(test_a_row_beyond_its_bounds_is_refused), T(test_credentials_are_limited),
		T(test_two_versions_live_side_by_side),     T(test_compare_and_swap),
		T(test_batches_do_not_wait_for_the_disk),   T(test_a_database_of_the_first_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
