/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed credentials in the store: a row for each version that is live, and for a credential that was removed its last
 * version without bytes. The bytes are opaque here; what is exchanged in a rotation is compared by digest first, so
 * that neither a row that was replaced meanwhile nor one that another hand has written is overwritten.
 */
#include <assert.h>
#include <sodium.h>

#include "authd/store_sqlite.h"

static int credential_write(struct store *s, const struct store_credential *c)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_PUT);
	uint64_t others, last;
	int r = store_number_of(s, STORE_CREDENTIAL_COUNT, span_str(c->id), &others);

	if (r)
		return r;
	if (others >= STORE_CREDENTIALS_MAX)
		return STORE_E_FULL;
	r = store_number_of(s, STORE_CREDENTIAL_VERSION, span_str(c->id), &last);
	if (r == 0 && last >= c->version)
		return STORE_E_STALE_VERSION;
	if (r && r != STORE_E_NOT_FOUND)
		return r;
	store_bind(q, 1, span_str(c->id));
	store_bind(q, 2, span_str(c->provider));
	store_bind(q, 3, span_str(c->tenant));
	store_bind_u64(q, 4, c->version);
	store_bind_u64(q, 5, c->created_s);
	store_bind_blob(q, 6, c->blob);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, sqlite3_sql(q));
}

/* Versions below `since`; a removed one is always below the one that follows it. */
static int credential_forget(struct store *s, struct span id, uint64_t since)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_FORGET);

	store_bind(q, 1, id);
	store_bind_u64(q, 2, since);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, sqlite3_sql(q));
}

int store_credential_put(struct store *s, const struct store_credential *c)
{
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	r = credential_write(s, c);
	return store_end(s, r ? r : credential_forget(s, span_str(c->id), c->since ? c->since : c->version));
}

int store_credential_version(struct store *s, struct span id, uint64_t *ret_version)
{
	return store_number_of(s, STORE_CREDENTIAL_VERSION, id, ret_version);
}

static int credential_clear(struct store *s, struct span id)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_REMOVE);

	store_bind(q, 1, id);
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
}

int store_credential_remove(struct store *s, struct span id)
{
	uint64_t last;
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	r = credential_clear(s, id);
	if (!r)
		r = store_number_of(s, STORE_CREDENTIAL_VERSION, id, &last);
	return store_end(s, r ? r : credential_forget(s, id, last));
}

int store_credential_retire(struct store *s, struct span id, uint64_t version)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_RETIRE);

	store_bind(q, 1, id);
	store_bind_u64(q, 2, version);
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
}

/* ---- compare and swap ---- */

/* The row as it shall be, in `to`. False when it is not what it must be. */
static int credential_splice(struct store *s, const struct store_swap *swap, uint8_t to[STORE_BLOB_BYTES_MAX],
			     size_t *ret_len)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_GET);
	uint8_t digest[STORE_DIGEST_BYTES];

	assert(swap->old.len == STORE_DIGEST_BYTES);
	store_bind(q, 1, swap->id);
	store_bind_u64(q, 2, swap->version);
	int step = sqlite3_step(q);
	if (step == SQLITE_DONE)
		return STORE_E_NOT_FOUND;
	if (step != SQLITE_ROW)
		return store_failed(s, sqlite3_sql(q));
	struct span blob = span_of(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0));
	if (!blob.p || blob.len > STORE_BLOB_BYTES_MAX || swap->at > blob.len || swap->part.len > blob.len - swap->at)
		return STORE_E_NOT_FOUND;
	(void)crypto_generichash(digest, sizeof(digest), blob.p, blob.len, NULL, 0);
	if (!span_eq(span_of(digest, sizeof(digest)), swap->old))
		return STORE_E_NOT_FOUND;
	memcpy(to, blob.p, blob.len);
	memcpy(to + swap->at, swap->part.p, swap->part.len);
	*ret_len = blob.len;
	return 0;
}

static int credential_swap(struct store *s, const struct store_swap *swap)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_SWAP);
	uint8_t blob[STORE_BLOB_BYTES_MAX];
	size_t len = 0;
	int r = credential_splice(s, swap, blob, &len);

	if (r)
		return r;
	store_bind(q, 1, swap->id);
	store_bind_u64(q, 2, swap->version);
	store_bind_blob(q, 3, span_of(blob, len));
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, sqlite3_sql(q));
}

static int credential_synchronous(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_failed(s, sql);
}

static int credential_swap_all(struct store *s, const struct store_swap *swaps, size_t n, uint8_t *done)
{
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	for (size_t i = 0; i < n && r != STORE_E_GONE; i++) {
		r = credential_swap(s, &swaps[i]);
		done[i] = r == 0;
	}
	return store_end(s, r == STORE_E_GONE ? r : 0);
}

/*
 * Batches follow each other without waiting for the disk, until store_credential_sync(): neither is one on disk when it
 * is committed, nor is the log folded back meanwhile. Rows lie in the order in which they were added, so a batch
 * changes about as many pages as rows, and folding back every STORE_WAL_PAGES had the disk wait twice for each four
 * batches.
 */
int store_credential_swap(struct store *s, const struct store_swap *swaps, size_t n, uint8_t *done)
{
	int r = credential_synchronous(s, "PRAGMA synchronous = NORMAL");

	(void)sqlite3_wal_autocheckpoint(s->db, 0);
	if (!r)
		r = credential_swap_all(s, swaps, n, done);
	(void)sqlite3_wal_autocheckpoint(s->db, STORE_WAL_PAGES);
	return credential_synchronous(s, "PRAGMA synchronous = FULL") ? STORE_E_GONE : r;
}

int store_credential_sync(struct store *s)
{
	return credential_synchronous(s, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/* ---- all of them ---- */

static bool credential_read(sqlite3_stmt *q, struct store_credential *c)
{
	c->blob = span_of(sqlite3_column_blob(q, 5), (size_t)sqlite3_column_bytes(q, 5));
	bool sealed = c->blob.len >= STORE_BLOB_BYTES_MIN && c->blob.len <= STORE_BLOB_BYTES_MAX;

	return (sealed || sqlite3_column_type(q, 5) == SQLITE_NULL) && store_u64(q, 3, UINT32_MAX, &c->version) &&
	       c->version > 0 && store_u64(q, 4, INT64_MAX, &c->created_s) && store_text(q, 0, c->id, sizeof(c->id)) &&
	       c->id[0] && store_text(q, 1, c->provider, sizeof(c->provider)) && c->provider[0] &&
	       store_text(q, 2, c->tenant, sizeof(c->tenant)) && c->tenant[0];
}

int store_credential_each(struct store *s, store_each_credential *each, void *ctx)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_CREDENTIAL_EACH);
	struct store_credential c = {.since = 0};
	int step;

	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		if (!credential_read(q, &c))
			return store_failed(s, "a credential's row is out of bounds");
		if (each(ctx, &c))
			return 0;
	}
	return step == SQLITE_DONE ? 0 : store_failed(s, sqlite3_sql(q));
}
