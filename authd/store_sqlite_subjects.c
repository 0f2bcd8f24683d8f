/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects in the SQLite store. What is destroyed here must be gone from the files: secure_delete overwrites it in the
 * database, and the write-ahead log, which still has the pages as they were, is taken over and cut to nothing. What a
 * file system or a disk keeps of bytes that were overwritten is not ours to say.
 */
#include <assert.h>

#include "authd/store_sqlite.h"
#include "authd/store_subjects.h"

#define STORE_DAY_MAX 65535

static bool subject_read(sqlite3_stmt *q, struct store_subject *ret)
{
	const void *chain = sqlite3_column_blob(q, 5);
	size_t len = (size_t)sqlite3_column_bytes(q, 5);
	uint64_t day = 0;
	bool known = store_u64(q, 2, INT64_MAX, &ret->created_s) && store_u64(q, 3, INT64_MAX, &ret->erased_s) &&
		     store_u64(q, 4, STORE_DAY_MAX, &day);

	ret->has_chain = chain != NULL;
	if (chain && len != sizeof(ret->chain))
		return false;
	if (chain)
		memcpy(ret->chain, chain, len);
	ret->day = (uint32_t)day;
	return known && store_text(q, 0, ret->id, sizeof(ret->id)) && ret->id[0] &&
	       store_text(q, 1, ret->tenant, sizeof(ret->tenant));
}

int store_subject_find(struct store *s, struct span id, struct store_subject *ret_subject)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECT_FIND);
	struct store_subject found;

	store_bind(q, 1, id);
	switch (sqlite3_step(q)) {
	case SQLITE_DONE:
		return STORE_E_NOT_FOUND;
	case SQLITE_ROW:
		if (!subject_read(q, &found))
			return store_failed(s, "a subject's row is out of bounds");
		*ret_subject = found;
		return 0;
	default:
		return store_failed(s, sqlite3_sql(q));
	}
}

int store_subject_put(struct store *s, const struct store_subject *subject)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECT_PUT);

	assert(subject->has_chain);
	store_bind(q, 1, span_str(subject->id));
	store_bind_u64(q, 2, subject->day);
	store_bind_blob(q, 3, span_of(subject->chain, sizeof(subject->chain)));
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
}

int store_subjects_put(struct store *s, const struct store_subject *subjects, size_t n)
{
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	for (size_t i = 0; i < n && r != STORE_E_GONE; i++)
		r = store_subject_put(s, &subjects[i]);
	return store_end(s, r == STORE_E_GONE ? r : 0);
}

int store_subjects_before(struct store *s, uint32_t day, struct span after, struct store_subject *subjects, size_t cap,
			  size_t *ret_n)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECTS_BEFORE);
	size_t n = 0;
	int step;

	store_bind_u64(q, 1, day);
	store_bind_u64(q, 2, cap);
	store_bind(q, 3, after);
	while ((step = sqlite3_step(q)) == SQLITE_ROW && n < cap)
		if (!subject_read(q, &subjects[n++]))
			return store_failed(s, "a subject's row is out of bounds");
	if (step != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	*ret_n = n;
	return 0;
}

static int subject_forget_names(struct store *s, struct span id)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECT_FORGET_NAMES);

	store_bind(q, 1, id);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, sqlite3_sql(q));
}

static int subject_erase(struct store *s, struct span id, uint64_t now_s)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECT_ERASE);

	assert(now_s > 0);
	store_bind(q, 1, id);
	store_bind_u64(q, 2, now_s);
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
}

int store_subject_erase(struct store *s, struct span id, uint64_t now_s)
{
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	r = subject_erase(s, id, now_s);
	r = store_end(s, r ? r : subject_forget_names(s, id));
	return r ? r : store_credential_sync(s);
}
