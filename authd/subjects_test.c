/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects over the real store: what can be read, by when, and what no file of the store has any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/subjects.h"
#include "tests/support/store_fixture.h"

#define DAY 20000

struct world {
	struct store_fixture *files;
	struct secret_arena *arena;
	struct subjects *subjects;
	char text[FIELDS_ADDRESS_BYTES];
};

static const uint8_t vault_key[FIELDS_KEY_BYTES] = {5};

static void add_key(struct world *w, const char *id, const char *subject)
{
	struct store_key key = {.tenant = "acme", .models = "*", .created_s = 1};

	(void)snprintf(key.id, sizeof(key.id), "%s", id);
	(void)snprintf(key.subject, sizeof(key.subject), "%s", subject);
	(void)snprintf(key.name, sizeof(key.name), "Alice's laptop");
	memcpy(key.prefix, "bh_sk_aaaaaaaaa", sizeof(key.prefix));
	randombytes_buf(key.hmac, sizeof(key.hmac));
	assert_int_equal(store_key_add(w->files->store, &key), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	void *files;

	if (store_setup(&files))
		return -1;
	w->files = files;
	*state = w;
	add_key(w, "key_a", "sub_alice");
	add_key(w, "key_b", "sub_bob");
	return secret_arena_new(65536, &w->arena) || subjects_new(w->files->store, w->arena, &w->subjects) ||
	       subjects_open(w->subjects, span_of(vault_key, sizeof(vault_key)));
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *files = w->files;

	w->subjects = subjects_free(w->subjects);
	assert_int_equal(secret_arena_used(w->arena), 0);
	w->arena = secret_arena_free(w->arena);
	free(w);
	return store_teardown(&files);
}

/* A new process: nothing in its tables. */
static void restart(struct world *w)
{
	w->subjects = subjects_free(w->subjects);
	store_reopen(w->files);
	assert_int_equal(subjects_new(w->files->store, w->arena, &w->subjects), 0);
	assert_int_equal(subjects_open(w->subjects, span_of(vault_key, sizeof(vault_key))), 0);
}

struct sealed {
	uint8_t bytes[FIELDS_SEALED_BYTES];
};

static struct sealed seal(struct world *w, const char *subject, const char *address, uint32_t day, uint64_t ms)
{
	struct span s =
		subjects_seal(w->subjects, span_str(subject), span_str(address), (struct subjects_now){ms, day});
	struct sealed ret;

	assert_int_equal(s.len, sizeof(ret.bytes));
	memcpy(ret.bytes, s.p, s.len);
	return ret;
}

static int reveal(struct world *w, const char *subject, const struct sealed *s)
{
	return subjects_reveal(w->subjects, span_str(subject), span_of(s->bytes, sizeof(s->bytes)), w->text);
}

static size_t files_have(struct world *w, const void *what, size_t len)
{
	static const char *const names[] = {"authd.db", "authd.db-wal"};
	char path[128];
	size_t found = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		store_path(w->files, names[i], path);
		FILE *f = fopen(path, "re");
		if (!f)
			continue;
		static char all[1U << 20];
		size_t n = fread(all, 1, sizeof(all), f);
		assert_true(n < sizeof(all));
		found += memmem(all, n, what, len) != NULL;
		assert_int_equal(fclose(f), 0);
	}
	return found;
}

static void test_it_comes_back_after_a_restart(void **state)
{
	struct world *w = *state;
	struct sealed old = seal(w, "sub_alice", "192.0.2.7", DAY, 0), later;

	restart(w);
	later = seal(w, "sub_alice", "2001:db8::1", DAY + 40, 0);
	assert_int_equal(reveal(w, "sub_alice", &old), 0);
	assert_string_equal(w->text, "192.0.2.7");
	assert_int_equal(reveal(w, "sub_alice", &later), 0);
	assert_string_equal(w->text, "2001:db8::1");
	assert_int_equal(reveal(w, "sub_bob", &old), SUBJECTS_E_EXPIRED); /* who never had a key */
	(void)seal(w, "sub_bob", "192.0.2.7", DAY, 0);
	assert_int_equal(reveal(w, "sub_bob", &old), SUBJECTS_E_FORGED);
	assert_int_equal(reveal(w, "sub_carol", &old), SUBJECTS_E_UNKNOWN);
}

static void test_one_sealing_serves_for_a_while(void **state)
{
	struct world *w = *state;
	struct sealed first = seal(w, "sub_alice", "192.0.2.7", DAY, 1000);
	struct sealed again = seal(w, "sub_alice", "192.0.2.7", DAY, 1000 + SUBJECTS_SEAL_MS - 1);
	struct sealed after = seal(w, "sub_alice", "192.0.2.7", DAY, 1000 + SUBJECTS_SEAL_MS);
	struct sealed bob = seal(w, "sub_bob", "192.0.2.7", DAY, 1000);
	struct sealed tomorrow = seal(w, "sub_alice", "192.0.2.7", DAY + 1, 1001 + SUBJECTS_SEAL_MS);

	assert_memory_equal(&first, &again, sizeof(first));
	assert_memory_not_equal(&first, &after, sizeof(first));
	assert_memory_not_equal(&first, &bob, sizeof(first));
	assert_memory_not_equal(&after, &tomorrow, sizeof(first));
	assert_int_equal(reveal(w, "sub_alice", &tomorrow), 0);
}

/* Thousands of addresses and subjects that push each other out: each gets its own back. */
static void test_no_mix_up_in_the_tables(void **state)
{
	enum { N = 600 };
	struct world *w = *state;
	struct sealed *all = calloc(N, sizeof(*all));
	char subject[33], address[32];

	for (size_t i = 0; i < N; i++) {
		(void)snprintf(subject, sizeof(subject), "sub_%zu", i);
		(void)snprintf(address, sizeof(address), "key_%zu", i);
		add_key(w, address, subject);
	}
	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < N; i++) {
			(void)snprintf(subject, sizeof(subject), "sub_%zu", i);
			(void)snprintf(address, sizeof(address), "10.0.%zu.%zu", i / 250, i % 250);
			all[i] = seal(w, subject, address, DAY, round * 2 * SUBJECTS_SEAL_MS);
		}
	for (size_t i = 0; i < N; i++) {
		(void)snprintf(subject, sizeof(subject), "sub_%zu", i);
		(void)snprintf(address, sizeof(address), "10.0.%zu.%zu", i / 250, i % 250);
		assert_int_equal(reveal(w, subject, &all[i]), 0);
		assert_string_equal(w->text, address);
	}
	free(all);
}

/* More addresses of one subject than there are places. */
static void test_addresses_of_one_subject(void **state)
{
	struct world *w = *state;
	char address[32];

	for (size_t i = 0; i < 2 * SUBJECTS_SEALS; i++) {
		(void)snprintf(address, sizeof(address), "10.1.%zu.%zu", i / 250, i % 250);
		const struct sealed s = seal(w, "sub_alice", address, DAY, 0);
		assert_int_equal(reveal(w, "sub_alice", &s), 0);
		assert_string_equal(w->text, address);
	}
}

static void test_what_is_erased_is_in_no_file(void **state)
{
	struct world *w = *state;
	struct sealed alice = seal(w, "sub_alice", "192.0.2.7", DAY, 0), bob = seal(w, "sub_bob", "192.0.2.8", DAY, 0);
	struct store_subject row;
	struct store_key key;

	assert_int_equal(store_subject_find(w->files->store, SPAN_LIT("sub_alice"), &row), 0);
	assert_true(files_have(w, row.chain, sizeof(row.chain)) > 0);
	assert_int_equal(subjects_erase(w->subjects, SPAN_LIT("sub_alice"), 77), 0);
	for (size_t at = 0; at + 16 <= sizeof(row.chain); at++) /* no part of it either */
		assert_int_equal(files_have(w, row.chain + at, 16), 0);
	assert_int_equal(reveal(w, "sub_alice", &alice), SUBJECTS_E_ERASED);
	assert_int_equal(reveal(w, "sub_bob", &bob), 0);
	assert_int_equal(
		subjects_seal(w->subjects, SPAN_LIT("sub_alice"), SPAN_LIT("192.0.2.7"), (struct subjects_now){1, DAY})
			.len,
		0);
	restart(w);
	assert_int_equal(reveal(w, "sub_alice", &alice), SUBJECTS_E_ERASED);
	assert_int_equal(subjects_erase(w->subjects, SPAN_LIT("sub_alice"), 78), STORE_E_NOT_FOUND);
	assert_int_equal(store_key_find_id(w->files->store, SPAN_LIT("key_a"), &key), 0);
	assert_string_equal(key.name, "");
	assert_int_equal(store_key_find_id(w->files->store, SPAN_LIT("key_b"), &key), 0);
	assert_string_equal(key.name, "Alice's laptop");
}

/* Who asked before the erasure, and was recorded behind it: the name would stay for ever. */
static void test_no_key_for_who_is_erased(void **state)
{
	struct world *w = *state;
	struct store_key key = {
		.id = "key_c", .tenant = "acme", .name = "Alice's phone", .models = "*", .subject = "sub_alice"};

	memcpy(key.prefix, "bh_sk_aaaaaaaaa", sizeof(key.prefix));
	assert_int_equal(subjects_erase(w->subjects, SPAN_LIT("sub_alice"), 77), 0);
	assert_int_equal(store_key_add(w->files->store, &key), STORE_E_NOT_FOUND);
	strcpy(key.subject, "sub_bob");
	strcpy(key.tenant, "rival");
	assert_int_equal(store_key_add(w->files->store, &key), STORE_E_NOT_FOUND);
	strcpy(key.tenant, "acme");
	assert_int_equal(store_key_add(w->files->store, &key), 0);
}

static void test_days_are_forgotten(void **state)
{
	struct world *w = *state;
	struct sealed days[4];
	struct store_subject before;
	char cursor[STORE_SUBJECT_BYTES] = "";
	bool done = false;
	size_t n = 0;

	for (uint32_t i = 0; i < 4; i++)
		days[i] = seal(w, "sub_alice", "192.0.2.7", DAY + i, i);
	assert_int_equal(store_subject_find(w->files->store, SPAN_LIT("sub_alice"), &before), 0);
	assert_int_equal(subjects_expire(w->subjects, DAY + 2, cursor, &n, &done), 0);
	assert_true(done && n == 1);
	assert_int_equal(files_have(w, before.chain, sizeof(before.chain)), 0);
	assert_int_equal(reveal(w, "sub_alice", &days[0]), SUBJECTS_E_EXPIRED);
	assert_int_equal(reveal(w, "sub_alice", &days[1]), SUBJECTS_E_EXPIRED);
	assert_int_equal(reveal(w, "sub_alice", &days[2]), 0);
	assert_int_equal(reveal(w, "sub_alice", &days[3]), 0);
	cursor[0] = 0;
	assert_int_equal(subjects_expire(w->subjects, DAY + 2, cursor, &n, &done), 0);
	assert_true(done && n == 0);
}

/* By a clock that was set back: there is no key of that day any more, in memory neither. */
static void test_what_is_forgotten_is_in_no_table(void **state)
{
	static const char *const addresses[] = {"192.0.2.7", "192.0.2.8"}; /* sealed a moment ago, and another */
	struct world *w = *state;
	char cursor[STORE_SUBJECT_BYTES] = "";
	bool done = false;
	size_t n = 0;

	(void)seal(w, "sub_alice", addresses[0], DAY, 0);
	assert_int_equal(subjects_expire(w->subjects, DAY + 2, cursor, &n, &done), 0);
	assert_true(done && n == 1);
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		assert_int_equal(subjects_seal(w->subjects, SPAN_LIT("sub_alice"), span_str(addresses[i]),
					       (struct subjects_now){1, DAY})
					 .len,
				 0);
	(void)seal(w, "sub_alice", addresses[0], DAY + 2, SUBJECTS_SEAL_MS);
}

static void test_expiry_comes_to_an_end(void **state)
{
	struct world *w = *state;
	char cursor[STORE_SUBJECT_BYTES] = "", id[33];
	struct store_subject damaged;
	size_t n = 0, total = 0, rounds = 0;
	bool done = false;

	for (size_t i = 0; i < 200; i++) {
		(void)snprintf(id, sizeof(id), "sub_%zu", i);
		add_key(w, id, id);
		(void)seal(w, id, "192.0.2.7", DAY, 0);
	}
	assert_int_equal(store_subject_find(w->files->store, SPAN_LIT("sub_17"), &damaged), 0);
	damaged.chain[40] ^= 1;
	assert_int_equal(store_subject_put(w->files->store, &damaged), 0);
	for (; !done; rounds++, total += n)
		assert_int_equal(subjects_expire(w->subjects, DAY + 5, cursor, &n, &done), 0);
	assert_int_equal(total, 199);
	assert_true(rounds > 2 && rounds < 10);
}

static void test_nothing_without_the_vault(void **state)
{
	struct world *w = *state;
	struct sealed s = seal(w, "sub_alice", "192.0.2.7", DAY, 0);
	static const uint8_t other[FIELDS_KEY_BYTES] = {6};
	char cursor[STORE_SUBJECT_BYTES] = "";
	bool done;
	size_t n;

	subjects_close(w->subjects);
	assert_int_equal(
		subjects_seal(w->subjects, SPAN_LIT("sub_alice"), SPAN_LIT("192.0.2.7"), (struct subjects_now){0, DAY})
			.len,
		0);
	assert_int_equal(reveal(w, "sub_alice", &s), SUBJECTS_E_CLOSED);
	assert_int_equal(subjects_expire(w->subjects, DAY + 1, cursor, &n, &done), SUBJECTS_E_CLOSED);
	assert_int_equal(subjects_open(w->subjects, span_of(other, sizeof(other))), 0);
	assert_int_equal(reveal(w, "sub_alice", &s), SUBJECTS_E_FORGED);
	assert_int_equal(subjects_open(w->subjects, span_of(vault_key, sizeof(vault_key))), 0);
	assert_int_equal(reveal(w, "sub_alice", &s), 0);
}

/* Of a release that knew no subjects: each key becomes one. */
static void test_a_database_of_the_second_schema(void **state)
{
	struct world *w = *state;
	struct store_key a, b;
	char path[128];
	sqlite3 *db;

	store_path(w->files, "authd.db", path);
	w->files->store = store_close(w->files->store);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "DROP INDEX keys_by_subject; DROP TABLE subjects;"
				      "ALTER TABLE keys DROP COLUMN subject; ALTER TABLE keys DROP COLUMN "
				      "concurrent; PRAGMA user_version = 2",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	restart(w);
	assert_int_equal(store_key_find_id(w->files->store, SPAN_LIT("key_a"), &a), 0);
	assert_int_equal(store_key_find_id(w->files->store, SPAN_LIT("key_b"), &b), 0);
	assert_string_not_equal(a.subject, b.subject);
	const struct sealed s = seal(w, a.subject, "192.0.2.7", DAY, 0);
	assert_int_equal(reveal(w, a.subject, &s), 0);
	assert_int_equal(reveal(w, b.subject, &s), SUBJECTS_E_EXPIRED);
}

static void test_nobody_in_particular(void **state)
{
	struct world *w = *state;
	struct sealed s = seal(w, STORE_SUBJECT_UNKNOWN, "192.0.2.7", DAY, 0);

	assert_int_equal(reveal(w, STORE_SUBJECT_UNKNOWN, &s), 0);
	assert_int_equal(
		subjects_seal(w->subjects, SPAN_NULL, SPAN_LIT("192.0.2.7"), (struct subjects_now){0, DAY}).len, 0);
	assert_int_equal(
		subjects_seal(w->subjects, SPAN_LIT("sub_alice"), SPAN_LIT("localhost"), (struct subjects_now){0, DAY})
			.len,
		0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_it_comes_back_after_a_restart),    T(test_one_sealing_serves_for_a_while),
		T(test_no_mix_up_in_the_tables),          T(test_addresses_of_one_subject),
		T(test_what_is_erased_is_in_no_file),     T(test_days_are_forgotten),
		T(test_expiry_comes_to_an_end),           T(test_nothing_without_the_vault),
		T(test_a_database_of_the_second_schema),  T(test_nobody_in_particular),
		T(test_what_is_forgotten_is_in_no_table), T(test_no_key_for_who_is_erased),
	};

	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
