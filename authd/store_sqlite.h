/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the SQLite store share. For nobody else. */
#pragma once

#include <sqlite3.h>

#include "authd/store.h"

#define STORE_WAL_PAGES 256 /* then the write-ahead log is folded back */

enum store_statement {
#define SQL(NAME, text) STORE_##NAME,
#include "authd/store_sqlite.def"
#undef SQL
	N_STORE_STATEMENTS,
};

struct store {
	const struct log *log;
	sqlite3 *db;
	sqlite3_stmt *statements[N_STORE_STATEMENTS];
};

/* The one place where SQLite's codes end. STORE_E_GONE. */
int store_failed(struct store *s, const char *what);
/* For CLEANUP: ends the statement's transaction and forgets what was bound. */
void store_done(sqlite3_stmt **statement);
sqlite3_stmt *store_use(struct store *s, enum store_statement which);
void store_bind(sqlite3_stmt *q, int i, struct span text);
void store_bind_blob(sqlite3_stmt *q, int i, struct span bytes);
void store_bind_u64(sqlite3_stmt *q, int i, uint64_t value);
/* False when the column is longer than its bound, or has a NUL: somebody else wrote this row. */
MUST_USE bool store_text(sqlite3_stmt *q, int column, char *to, size_t cap);
/* The same of a number that is negative or more than `max`. */
MUST_USE bool store_u64(sqlite3_stmt *q, int column, uint64_t max, uint64_t *ret);
/* Runs a statement that returns no rows. 0 or STORE_E_GONE. */
MUST_USE int store_run(struct store *s, enum store_statement which);
/* A statement that returns a number for an id. 0, STORE_E_NOT_FOUND or STORE_E_GONE. */
MUST_USE int store_number_of(struct store *s, enum store_statement which, struct span id, uint64_t *ret);
/* Ends a transaction: commit when `r` is 0, else roll back and keep `r`. */
MUST_USE int store_end(struct store *s, int r);
