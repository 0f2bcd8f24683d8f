/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "authd/store.h"
#include "authd/store_subjects.h"
#include "tests/support/store_fixture.h"

static struct store_key sample_key(unsigned n)
{
	struct store_key k = {.tenant = "acme",
			      .name = "ci",
			      .models = "gpt-*,*",
			      .rpm = 600,
			      .concurrent = 20,
			      .created_s = 1000 + n};

	(void)snprintf(k.id, sizeof(k.id), "key_%u", n);
	(void)snprintf(k.subject, sizeof(k.subject), "sub_%u", n);
	(void)snprintf(k.prefix, sizeof(k.prefix), "bh_sk_%09u", n % 1000000000);
	memcpy(k.hmac, &n, sizeof(n));
	return k;
}

static void assert_same_key(const struct store_key *a, const struct store_key *b)
{
	assert_string_equal(a->id, b->id);
	assert_memory_equal(a->hmac, b->hmac, sizeof(a->hmac));
	assert_string_equal(a->prefix, b->prefix);
	assert_string_equal(a->tenant, b->tenant);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->models, b->models);
	assert_int_equal(a->rpm, b->rpm);
	assert_int_equal(a->concurrent, b->concurrent);
	assert_int_equal(a->created_s, b->created_s);
	assert_int_equal(a->expires_s, b->expires_s);
	assert_int_equal(a->revoked_s, b->revoked_s);
	assert_string_equal(a->subject, b->subject);
}

static void test_a_key_is_found_after_a_restart(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key = sample_key(1), found;

	key.expires_s = UINT32_MAX;
	assert_int_equal(store_key_add(f->store, &key), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(store_key_find(f->store, key.hmac, &found), 0);
		assert_same_key(&found, &key);
		assert_int_equal(store_key_find_id(f->store, SPAN_LIT("key_1"), &found), 0);
		assert_same_key(&found, &key);
		store_reopen(f);
	}
}

static void test_an_unknown_key_is_not_found(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key = sample_key(1), found = {.rpm = 4711};

	assert_int_equal(store_key_find(f->store, key.hmac, &found), STORE_E_NOT_FOUND);
	assert_int_equal(store_key_find_id(f->store, SPAN_LIT("key_1"), &found), STORE_E_NOT_FOUND);
	assert_int_equal(store_key_find_id(f->store, SPAN_NULL, &found), STORE_E_NOT_FOUND);
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_1"), 5), STORE_E_NOT_FOUND);
	assert_int_equal(found.rpm, 4711);
}

static void test_neither_id_nor_hmac_twice(void **state)
{
	struct store_fixture *f = *state;
	struct store_key a = sample_key(1), b = sample_key(2), c = sample_key(3);

	assert_int_equal(store_key_add(f->store, &a), 0);
	memcpy(b.hmac, a.hmac, sizeof(b.hmac));
	assert_int_equal(store_key_add(f->store, &b), STORE_E_EXISTS);
	strcpy(c.id, a.id);
	assert_int_equal(store_key_add(f->store, &c), STORE_E_EXISTS);
	c = sample_key(4); /* and the store still works */
	assert_int_equal(store_key_add(f->store, &c), 0);
}

static void test_bounds_are_the_databases_too(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key = sample_key(1), found;

	key.rpm = 1000001;
	assert_int_equal(store_key_add(f->store, &key), STORE_E_GONE);
	key = sample_key(1);
	key.tenant[0] = 0;
	assert_int_equal(store_key_add(f->store, &key), STORE_E_GONE);
	key = sample_key(1);
	memset(key.models, 'm', sizeof(key.models) - 1);
	assert_int_equal(store_key_add(f->store, &key), 0);
	assert_int_equal(store_key_find(f->store, key.hmac, &found), 0);
	assert_same_key(&found, &key);
}

static void test_revocation_stays_and_keeps_its_first_time(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key = sample_key(1), found;
	uint64_t live;

	assert_int_equal(store_key_add(f->store, &key), 0);
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_1"), 77), 0);
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_1"), 99), 0);
	store_reopen(f);
	assert_int_equal(store_key_find(f->store, key.hmac, &found), 0);
	assert_int_equal(found.revoked_s, 77);
	assert_int_equal(store_key_count(f->store, 100, &live), 0);
	assert_int_equal(live, 0);
}

static void test_who_was_revoked_lately(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key, keys[2];
	size_t n;

	for (unsigned i = 0; i < 4; i++) {
		key = sample_key(i);
		assert_int_equal(store_key_add(f->store, &key), 0);
	}
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_1"), 100), 0);
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_3"), 300), 0);
	assert_int_equal(store_key_revoke(f->store, SPAN_LIT("key_2"), 200), 0);
	assert_int_equal(store_key_revoked_since(f->store, 200, keys, 2, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(keys[0].id, "key_3");
	assert_string_equal(keys[1].id, "key_2");
	assert_int_equal(store_key_revoked_since(f->store, 0, keys, 1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_key_revoked_since(f->store, 301, keys, 2, &n), 0);
	assert_int_equal(n, 0);
}

static void test_pages_have_every_key_once_in_order(void **state)
{
	struct store_fixture *f = *state;
	struct store_key page[4], key;
	struct span after = SPAN_NULL;
	char last[STORE_ID_BYTES];
	unsigned seen = 0;
	size_t n;

	for (unsigned i = 0; i < 10; i++) {
		key = sample_key(9 - i); /* made in another order than their names have */
		assert_int_equal(store_key_add(f->store, &key), 0);
	}
	do {
		assert_int_equal(store_key_page(f->store, after, page, ARRAY_LEN(page), &n), 0);
		for (size_t i = 0; i < n; i++, seen++) {
			key = sample_key(9 - seen);
			assert_same_key(&page[i], &key);
		}
		if (n) {
			strcpy(last, page[n - 1].id);
			after = span_str(last);
		}
	} while (n == ARRAY_LEN(page));
	assert_int_equal(seen, 10);
	assert_int_equal(store_key_page(f->store, SPAN_LIT("nobody"), page, 4, &n), STORE_E_NOT_FOUND);
}

static void test_a_second_authd_is_refused(void **state)
{
	struct store_fixture *f = *state;
	struct store *second = NULL;
	struct store_key key = sample_key(1);

	assert_int_equal(store_key_add(f->store, &key), 0);
	assert_true(store_open(f->folder, &store_log, &second) < 0);
	assert_null(second);
}

static void test_nobody_else_may_read_it(void **state)
{
	struct store_fixture *f = *state;
	struct stat st;
	char path[128];

	store_path(f, "authd.db", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A child adds keys and is killed at no particular moment; what it reported as added is there, and the file is whole.
 */
static void test_what_was_confirmed_survives_a_kill(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key, found;
	int reports[2];
	unsigned confirmed = 0, n;

	f->store = store_close(f->store);
	assert_int_equal(pipe(reports), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *s;

		if (store_open(f->folder, &store_log, &s))
			_exit(1);
		for (n = 1;; n++) {
			key = sample_key(n);
			if (store_key_add(s, &key) || write(reports[1], &n, sizeof(n)) != sizeof(n))
				_exit(1);
		}
	}
	close(reports[1]);
	while (confirmed < 50 && read(reports[0], &n, sizeof(n)) == sizeof(n))
		confirmed = n;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	while (read(reports[0], &n, sizeof(n)) == sizeof(n))
		confirmed = n;
	close(reports[0]);
	assert_true(confirmed >= 50);
	store_reopen(f);
	for (n = 1; n <= confirmed; n++) {
		key = sample_key(n);
		assert_int_equal(store_key_find(f->store, key.hmac, &found), 0);
	}
}

static void test_a_damaged_file_is_an_answer_not_a_crash(void **state)
{
	struct store_fixture *f = *state;
	struct store_key key, found;
	char path[128];
	uint8_t garbage[4096];
	int r;

	for (unsigned i = 0; i < 300; i++) {
		key = sample_key(i);
		assert_int_equal(store_key_add(f->store, &key), 0);
	}
	f->store = store_close(f->store);
	memset(garbage, 0xa5, sizeof(garbage));
	store_path(f, "authd.db", path);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (off_t at = 4096; at < 40 * 4096; at += 4096)
		assert_int_equal(pwrite(fd, garbage, sizeof(garbage), at), sizeof(garbage));
	close(fd);
	r = store_open(f->folder, &store_log, &f->store);
	if (r == 0)
		r = store_key_find(f->store, key.hmac, &found) == STORE_E_GONE ? -1 : 0;
	assert_true(r < 0);
}

/* What no message could say, and no limit count, is not taken from a row. */
static void test_a_row_beyond_its_bounds_is_an_answer_not_a_crash(void **state)
{
	static const char *const keys[] = {
		"rpm = 1000001",
		"rpm = -1",
		"concurrent = 100001",
		"concurrent = -1",
		"expires = 4294967296",
		"expires = -1",
		"revoked = -1",
		"created = -1",
		"prefix = 'bh'",
		"prefix = 'bh' || char(0) || 'sk_012345678'",
		"tenant = ''",
		"models = ''",
		"id = ''",
		"models = replace(hex(zeroblob(600)), '0', 'm')",
		"hmac = x'00'",
	};
	static const char *const subjects[] = {"day = 65536", "day = -1", "erased = -1", "created = -1", "id = ''"};
	struct store_fixture *f = *state;
	struct store_key key = sample_key(1), found;
	struct store_subject subject;
	char sql[160];
	size_t n;

	assert_int_equal(store_key_add(f->store, &key), 0);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		store_execute(f, "CREATE TABLE before AS SELECT * FROM keys");
		(void)snprintf(sql, sizeof(sql), "UPDATE keys SET %s", keys[i]);
		store_execute(f, sql);
		assert_int_equal(store_key_page(f->store, SPAN_NULL, &found, 1, &n), STORE_E_GONE);
		store_execute(f, "DELETE FROM keys; INSERT INTO keys SELECT * FROM before; DROP TABLE before");
	}
	assert_int_equal(store_key_find(f->store, key.hmac, &found), 0);
	for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
		bool named = strncmp(subjects[i], "id", 2) != 0;
		store_execute(f, "CREATE TABLE before AS SELECT * FROM subjects");
		(void)snprintf(sql, sizeof(sql), "UPDATE subjects SET %s WHERE id = 'sub_1'", subjects[i]);
		store_execute(f, sql);
		assert_int_equal(store_subject_find(f->store, named ? SPAN_LIT("sub_1") : SPAN_NULL, &subject),
				 STORE_E_GONE);
		store_execute(f, "DELETE FROM subjects; INSERT INTO subjects SELECT * FROM before; DROP TABLE before");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		T(test_a_key_is_found_after_a_restart),
		T(test_an_unknown_key_is_not_found),
		T(test_neither_id_nor_hmac_twice),
		T(test_bounds_are_the_databases_too),
		T(test_revocation_stays_and_keeps_its_first_time),
		T(test_who_was_revoked_lately),
		T(test_pages_have_every_key_once_in_order),
		T(test_a_second_authd_is_refused),
		T(test_nobody_else_may_read_it),
		T(test_what_was_confirmed_survives_a_kill),
		T(test_a_damaged_file_is_an_answer_not_a_crash),
		T(test_a_row_beyond_its_bounds_is_an_answer_not_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
