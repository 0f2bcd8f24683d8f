/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

const struct log store_log = {.daemon = "test"};

void store_reopen(struct store_fixture *f)
{
	f->store = store_close(f->store);
	assert_int_equal(store_open(f->folder, &store_log, &f->store), 0);
}

void store_path(const struct store_fixture *f, const char *name, char path[128])
{
	int n = snprintf(path, 128, "%s/%s", f->folder, name);

	assert_true(n > 0 && n < 128);
}

void store_execute(struct store_fixture *f, const char *sql)
{
	static const char unchecked[] = "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF";
	char path[128];
	sqlite3 *db;

	f->store = store_close(f->store);
	store_path(f, "authd.db", path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, unchecked, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	store_reopen(f);
}

int store_setup(void **state)
{
	struct store_fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	strcpy(f->folder, "/tmp/bulkhead_store_XXXXXX");
	if (!mkdtemp(f->folder) || store_open(f->folder, &store_log, &f->store))
		return -1;
	*state = f;
	return 0;
}

int store_teardown(void **state)
{
	static const char *const names[] = {"authd.db", "authd.db-wal", "authd.db-shm", "authd.db-journal"};
	struct store_fixture *f = *state;
	char path[128];

	store_close(f->store);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		store_path(f, names[i], path);
		unlink(path);
	}
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}
