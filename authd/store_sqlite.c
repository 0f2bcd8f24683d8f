/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as one SQLite file. This and store_sqlite_credentials.c are the only files that know SQLite: its codes are
 * turned into STORE_E_* in store_failed().
 *
 * One connection, one process: locking_mode EXCLUSIVE, set before WAL, so that the write-ahead log needs no shared
 * memory file and a second authd on the same folder is refused. synchronous FULL: a commit is on disk when it returns.
 * A kill at any moment leaves either all or nothing of a change.
 *
 * Statements (store_sqlite.def) are prepared once; each is reset after use, so none keeps a read transaction
 * open. Tables are STRICT and carry the bounds of messages.def as CHECKs. A row that another hand has written, or a
 * disk has changed, may be beyond them all the same, and neither overrun a struct nor leave us with what no message can
 * say: store_text() and store_u64() cut nothing, they refuse the row. Credentials are in store_sqlite_credentials.c.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "authd/store_sqlite.h"
#include "authd/store_subjects.h"
#include "common/err.h"

#define STORE_FILE   "authd.db"
#define STORE_SCHEMA 4

/* as in messages.def */
#define STORE_RPM_MAX        1000000
#define STORE_CONCURRENT_MAX 100000

#define STORE_CREDENTIALS_TABLE(name)                                                      \
	"CREATE TABLE " name "("                                                           \
	"  id TEXT NOT NULL CHECK(length(CAST(id AS BLOB)) BETWEEN 1 AND 64),"             \
	"  provider TEXT NOT NULL CHECK(length(CAST(provider AS BLOB)) BETWEEN 1 AND 64)," \
	"  tenant TEXT NOT NULL CHECK(length(CAST(tenant AS BLOB)) BETWEEN 1 AND 64),"     \
	"  version INTEGER NOT NULL CHECK(version BETWEEN 1 AND 4294967295),"              \
	"  created INTEGER NOT NULL CHECK(created >= 0),"                                  \
	"  blob BLOB CHECK(blob IS NULL OR length(blob) BETWEEN 64 AND 8192),"             \
	"  PRIMARY KEY(id, version)) STRICT;"

static const char store_schema[] =
	"CREATE TABLE tenants("
	"  id TEXT PRIMARY KEY CHECK(length(CAST(id AS BLOB)) BETWEEN 1 AND 64),"
	"  created INTEGER NOT NULL) STRICT;"
	"CREATE TABLE keys("
	"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  id TEXT NOT NULL UNIQUE CHECK(length(CAST(id AS BLOB)) BETWEEN 1 AND 64),"
	"  hmac BLOB NOT NULL UNIQUE CHECK(length(hmac) = 32),"
	"  prefix TEXT NOT NULL CHECK(length(CAST(prefix AS BLOB)) = 15),"
	"  tenant TEXT NOT NULL REFERENCES tenants(id),"
	"  name TEXT NOT NULL CHECK(length(CAST(name AS BLOB)) <= 64),"
	"  models TEXT NOT NULL CHECK(length(CAST(models AS BLOB)) BETWEEN 1 AND 1024),"
	"  rpm INTEGER NOT NULL CHECK(rpm BETWEEN 0 AND 1000000),"
	"  created INTEGER NOT NULL CHECK(created >= 0),"
	"  expires INTEGER NOT NULL CHECK(expires BETWEEN 0 AND 4294967295),"
	"  revoked INTEGER NOT NULL DEFAULT 0 CHECK(revoked >= 0)) STRICT;" STORE_CREDENTIALS_TABLE("credentials");

/* Schema 1 had one version of a credential, by its id. */
static const char store_from_1[] = STORE_CREDENTIALS_TABLE(
	"credentials2") "INSERT INTO credentials2(id, provider, tenant, version, created, blob)"
			"  SELECT id, provider, tenant, version, created, blob FROM credentials;"
			"DROP TABLE credentials; ALTER TABLE credentials2 RENAME TO credentials;";

/* Schema 2 knew nobody but keys: each becomes a subject of its own. */
static const char store_from_2[] =
	"CREATE TABLE subjects("
	"  id TEXT PRIMARY KEY CHECK(length(CAST(id AS BLOB)) BETWEEN 1 AND 32),"
	"  tenant TEXT NOT NULL CHECK(length(CAST(tenant AS BLOB)) <= 64),"
	"  created INTEGER NOT NULL CHECK(created >= 0),"
	"  day INTEGER NOT NULL DEFAULT 0 CHECK(day BETWEEN 0 AND 65535),"
	"  chain BLOB CHECK(chain IS NULL OR length(chain) = 72),"
	"  erased INTEGER NOT NULL DEFAULT 0 CHECK(erased >= 0)) STRICT;"
	"ALTER TABLE keys ADD COLUMN subject TEXT NOT NULL DEFAULT '' CHECK(length(CAST(subject AS BLOB)) <= 32);"
	"UPDATE keys SET subject = 'sub_' || lower(hex(randomblob(10)));"
	"INSERT INTO subjects(id, tenant, created) SELECT subject, tenant, created FROM keys;"
	"INSERT INTO subjects(id, tenant, created) VALUES('" STORE_SUBJECT_UNKNOWN "', '', 0);"
	"CREATE INDEX keys_by_subject ON keys(subject);";

static const char store_from_3[] =
	"ALTER TABLE keys ADD COLUMN concurrent INTEGER NOT NULL DEFAULT 0 CHECK(concurrent BETWEEN 0 AND 100000);"
	"PRAGMA user_version = 4;";

static const char *const store_sql[] = {
#define SQL(NAME, text) text,
#include "authd/store_sqlite.def"
#undef SQL
};

int store_failed(struct store *s, const char *what)
{
	log_event(s->log, LOG_STORE_FAILED, LOG_STR("why", sqlite3_errmsg(s->db)), LOG_STR("at", what),
		  LOG_U64("sqlite", (uint64_t)sqlite3_extended_errcode(s->db)));
	return STORE_E_GONE;
}

sqlite3_stmt *store_use(struct store *s, enum store_statement which)
{
	return s->statements[which];
}

void store_done(sqlite3_stmt **statement)
{
	sqlite3_reset(*statement);
	sqlite3_clear_bindings(*statement);
}

void store_bind(sqlite3_stmt *q, int i, struct span text)
{
	int r = sqlite3_bind_text(q, i, text.p ? (const char *)text.p : "", (int)text.len, SQLITE_STATIC);

	assert(r == SQLITE_OK || r == SQLITE_NOMEM);
}

void store_bind_blob(sqlite3_stmt *q, int i, struct span bytes)
{
	int r = sqlite3_bind_blob(q, i, bytes.p, (int)bytes.len, SQLITE_STATIC);

	assert(r == SQLITE_OK || r == SQLITE_NOMEM);
}

void store_bind_u64(sqlite3_stmt *q, int i, uint64_t value)
{
	int r = sqlite3_bind_int64(q, i, (sqlite3_int64)MIN(value, (uint64_t)INT64_MAX));

	assert(r == SQLITE_OK || r == SQLITE_NOMEM);
}

bool store_text(sqlite3_stmt *q, int column, char *to, size_t cap)
{
	const unsigned char *text = sqlite3_column_text(q, column);
	int n = sqlite3_column_bytes(q, column);

	if (!text || n < 0 || (size_t)n >= cap || memchr(text, 0, (size_t)n))
		return false;
	memcpy(to, text, (size_t)n);
	to[n] = 0;
	return true;
}

bool store_u64(sqlite3_stmt *q, int column, uint64_t max, uint64_t *ret)
{
	sqlite3_int64 value = sqlite3_column_int64(q, column);

	*ret = (uint64_t)value;
	return value >= 0 && *ret <= max;
}

int store_run(struct store *s, enum store_statement which)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, which);

	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, store_sql[which]);
}

int store_end(struct store *s, int r)
{
	if (r == 0)
		r = store_run(s, STORE_COMMIT);
	if (r != 0 && !sqlite3_get_autocommit(s->db) && store_run(s, STORE_ROLLBACK))
		return STORE_E_GONE;
	return r;
}

/* ---- opening ---- */

static int store_exec(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_failed(s, sql);
}

static int store_user_version(struct store *s, int *ret_version)
{
	sqlite3_stmt *q;
	int r = STORE_E_GONE;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
		return store_failed(s, "user_version");
	if (sqlite3_step(q) == SQLITE_ROW) {
		*ret_version = sqlite3_column_int(q, 0);
		r = 0;
	}
	sqlite3_finalize(q);
	return r;
}

/* A new file gets the schema in one transaction; a file of a newer release is left alone. */
static int store_migrate(struct store *s)
{
	int version = 0, r;

	r = store_user_version(s, &version);
	if (r)
		return r;
	if (version == STORE_SCHEMA)
		return 0;
	if (version > STORE_SCHEMA || version < 0) {
		log_event(s->log, LOG_STORE_FAILED, LOG_STR("why", "it was made by a newer release"));
		return STORE_E_GONE;
	}
	r = store_exec(s, "BEGIN IMMEDIATE");
	if (version < 2)
		r = r ? r : store_exec(s, version == 0 ? store_schema : store_from_1);
	if (version < 3)
		r = r ? r : store_exec(s, store_from_2);
	r = r ? r : store_exec(s, store_from_3);
	return r ? r : store_exec(s, "COMMIT");
}

static int store_prepare(struct store *s)
{
	int r = store_exec(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
			      "PRAGMA secure_delete = ON;"
			      "PRAGMA journal_size_limit = 1048576;");

	if (sqlite3_wal_autocheckpoint(s->db, STORE_WAL_PAGES) != SQLITE_OK)
		return store_failed(s, "wal_autocheckpoint");

	r = r ? r : store_migrate(s);
	for (size_t i = 0; r == 0 && i < N_STORE_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(s->db, store_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) !=
		    SQLITE_OK)
			r = store_failed(s, store_sql[i]);
	}
	return r;
}

int store_open(const char *folder, const struct log *log, struct store **ret_store)
{
	char path[PATH_MAX];
	struct store *s;
	int n = snprintf(path, sizeof(path), "%s/" STORE_FILE, folder);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_origin(-ENAMETOOLONG);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->log = log;
	mode_t mask = umask(0077);
	int r = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (r == SQLITE_OK)
		r = store_prepare(s);
	else
		r = store_failed(s, "open");
	umask(mask);
	if (r) {
		store_close(s);
		return err_origin(-EIO);
	}
	*ret_store = s;
	return 0;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < N_STORE_STATEMENTS; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	free(s);
	return NULL;
}

/* ---- keys ---- */

static bool store_read_key(sqlite3_stmt *q, struct store_key *k)
{
	const void *hmac = sqlite3_column_blob(q, 1);

	if (!hmac || sqlite3_column_bytes(q, 1) != TOKEN_HMAC_BYTES)
		return false;
	memcpy(k->hmac, hmac, TOKEN_HMAC_BYTES);
	return store_u64(q, 6, STORE_RPM_MAX, &k->rpm) && store_u64(q, 7, INT64_MAX, &k->created_s) &&
	       store_u64(q, 8, UINT32_MAX, &k->expires_s) && store_u64(q, 9, INT64_MAX, &k->revoked_s) &&
	       store_text(q, 0, k->id, sizeof(k->id)) && k->id[0] && store_text(q, 2, k->prefix, sizeof(k->prefix)) &&
	       strlen(k->prefix) == TOKEN_PREFIX_BYTES && store_text(q, 3, k->tenant, sizeof(k->tenant)) &&
	       k->tenant[0] && store_text(q, 4, k->name, sizeof(k->name)) &&
	       store_text(q, 5, k->models, sizeof(k->models)) && k->models[0] &&
	       store_text(q, 10, k->subject, sizeof(k->subject)) &&
	       store_u64(q, 11, STORE_CONCURRENT_MAX, &k->concurrent);
}

static int store_insert_key(struct store *s, const struct store_key *k)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_ADD);

	store_bind(q, 1, span_str(k->id));
	store_bind_blob(q, 2, span_of(k->hmac, sizeof(k->hmac)));
	store_bind(q, 3, span_str(k->prefix));
	store_bind(q, 4, span_str(k->tenant));
	store_bind(q, 5, span_str(k->name));
	store_bind(q, 6, span_str(k->models));
	store_bind_u64(q, 7, k->rpm);
	store_bind_u64(q, 8, k->created_s);
	store_bind_u64(q, 9, k->expires_s);
	store_bind(q, 10, span_str(k->subject));
	store_bind_u64(q, 11, k->concurrent);
	if (sqlite3_step(q) == SQLITE_DONE)
		return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
	if (sqlite3_extended_errcode(s->db) == SQLITE_CONSTRAINT_UNIQUE)
		return STORE_E_EXISTS;
	return store_failed(s, store_sql[STORE_KEY_ADD]);
}

static int store_insert_tenant(struct store *s, const struct store_key *k)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_TENANT_ADD);

	store_bind(q, 1, span_str(k->tenant));
	store_bind_u64(q, 2, k->created_s);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, store_sql[STORE_TENANT_ADD]);
}

static int store_insert_subject(struct store *s, const struct store_key *k)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_SUBJECT_ADD);

	store_bind(q, 1, span_str(k->subject));
	store_bind(q, 2, span_str(k->tenant));
	store_bind_u64(q, 3, k->created_s);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : store_failed(s, store_sql[STORE_SUBJECT_ADD]);
}

int store_key_add(struct store *s, const struct store_key *key)
{
	int r = store_run(s, STORE_BEGIN);

	if (r)
		return r;
	r = store_insert_tenant(s, key);
	r = r ? r : store_insert_subject(s, key);
	return store_end(s, r ? r : store_insert_key(s, key));
}

/* `q` is bound; takes its first row. */
static int store_one_key(struct store *s, sqlite3_stmt *q, struct store_key *ret_key)
{
	struct store_key key;

	switch (sqlite3_step(q)) {
	case SQLITE_DONE:
		return STORE_E_NOT_FOUND;
	case SQLITE_ROW:
		if (!store_read_key(q, &key))
			return store_failed(s, "a key's row is out of bounds");
		*ret_key = key;
		return 0;
	default:
		return store_failed(s, sqlite3_sql(q));
	}
}

int store_key_find(struct store *s, const uint8_t hmac[TOKEN_HMAC_BYTES], struct store_key *ret_key)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_FIND);

	store_bind_blob(q, 1, span_of(hmac, TOKEN_HMAC_BYTES));
	return store_one_key(s, q, ret_key);
}

int store_key_find_id(struct store *s, struct span id, struct store_key *ret_key)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_FIND_ID);

	store_bind(q, 1, id);
	return store_one_key(s, q, ret_key);
}

int store_key_revoke(struct store *s, struct span id, uint64_t now_s)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_REVOKE);

	assert(now_s > 0);
	store_bind(q, 1, id);
	store_bind_u64(q, 2, now_s);
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_failed(s, store_sql[STORE_KEY_REVOKE]);
	return sqlite3_changes(s->db) ? 0 : STORE_E_NOT_FOUND;
}

/* A single number, or NOT_FOUND. */
static int store_number(struct store *s, sqlite3_stmt *q, uint64_t *ret)
{
	switch (sqlite3_step(q)) {
	case SQLITE_DONE:
		return STORE_E_NOT_FOUND;
	case SQLITE_ROW:
		return store_u64(q, 0, UINT32_MAX, ret) ? 0 : store_failed(s, "a number is out of bounds");
	default:
		return store_failed(s, sqlite3_sql(q));
	}
}

int store_number_of(struct store *s, enum store_statement which, struct span id, uint64_t *ret)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, which);

	store_bind(q, 1, id);
	return store_number(s, q, ret);
}

/* `q` is bound; its rows go to `keys`. */
static int store_many_keys(struct store *s, sqlite3_stmt *q, struct store_key *keys, size_t cap, size_t *ret_n)
{
	size_t n = 0;
	int step;

	while ((step = sqlite3_step(q)) == SQLITE_ROW && n < cap) {
		if (!store_read_key(q, &keys[n++]))
			return store_failed(s, "a key's row is out of bounds");
	}
	if (step != SQLITE_DONE)
		return store_failed(s, sqlite3_sql(q));
	*ret_n = n;
	return 0;
}

int store_key_page(struct store *s, struct span after, struct store_key *keys, size_t cap, size_t *ret_n)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_PAGE);
	uint64_t seq = 0;
	int r = after.len ? store_number_of(s, STORE_KEY_SEQ, after, &seq) : 0;

	if (r)
		return r;
	store_bind_u64(q, 1, seq);
	store_bind_u64(q, 2, cap);
	return store_many_keys(s, q, keys, cap, ret_n);
}

int store_key_revoked_since(struct store *s, uint64_t since_s, struct store_key *keys, size_t cap, size_t *ret_n)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_REVOKED_SINCE);

	store_bind_u64(q, 1, since_s);
	store_bind_u64(q, 2, cap);
	return store_many_keys(s, q, keys, cap, ret_n);
}

int store_key_count(struct store *s, uint64_t now_s, uint64_t *ret_n)
{
	sqlite3_stmt *q CLEANUP(store_done) = store_use(s, STORE_KEY_COUNT);

	store_bind_u64(q, 1, now_s);
	return store_number(s, q, ret_n);
}
