/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two streams, both by index: the log, bundle by bundle, proven; and the mirror's rows, in pages by one statement each.
 * Values are compared as text, since row.h makes them as Postgres prints them. What retention removed from the log is
 * compared by its hash alone. Blocking, and no daemon: an operator runs it, with a role that may read all rows.
 */
#include "auditd/shipper/check.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auditd/shipper/folder.h"
#include "auditd/shipper/pg_error.h"
#include "common/err.h"

#define CHECK_PAGE_ROWS "1024"
#define CHECK_NAMED_MAX 20 /* differences that are named; the others are counted */

struct check {
	struct folder folder;
	struct folder_rows rows; /* those around the index that was read last */
	PGconn *conn;
	char log[16];
	struct buf sql, value;
	struct row_column columns[ROW_COLUMNS_MAX];
	size_t n_columns;
	uint64_t next; /* the index that the next row should have */
	uint64_t compared, by_hash, gone, wrong, wrong_named;
	bool json;
};

static int check_fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "bulkhead: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

static void check_wrong(struct check *c, uint64_t index, const char *what, const char *column)
{
	c->wrong++;
	if (c->wrong_named++ < CHECK_NAMED_MAX)
		(void)fprintf(stderr, "row %" PRIu64 ": %s%s\n", index, what, column);
}

/* ---- the log ---- */

/* The mirror of a log in use may know more of it by now than we have looked at; that has grown from what we saw. */
static int check_reach(struct check *c, uint64_t size)
{
	const struct merkle_hash root = c->folder.root;
	uint64_t seen = c->folder.size;

	if (size <= seen)
		return 0;
	int r = folder_refresh(&c->folder);
	if (r == FOLDER_E_NONE)
		return 0;
	if (!r)
		r = folder_grew(&c->folder, seen, &root);
	return r > 0 ? check_fail("the log", c->folder.why) : r;
}

/* ---- one row ---- */

/* The record `index`, proven: c->rows holds its neighbours, too. */
static int check_record(struct check *c, uint64_t index, const struct row **ret)
{
	if (c->rows.n == 0 || index < c->rows.rows[0].index || index - c->rows.rows[0].index >= c->rows.n) {
		int r = folder_read(&c->folder, index - index % TILE_WIDTH, TILE_WIDTH, &c->rows);
		if (r && r != FOLDER_E_PRUNED)
			return r;
	}
	*ret = &c->rows.rows[index - c->rows.rows[0].index];
	return 0;
}

static int check_row(struct check *c, const PGresult *res, int n, const struct row *record)
{
	size_t columns = c->rows.pruned ? 2 : c->n_columns; /* index and hash */

	for (size_t i = 0; i < columns; i++) {
		struct span there = PQgetisnull(res, n, (int)i) ? SPAN_NULL : span_str(PQgetvalue(res, n, (int)i));
		buf_reset(&c->value);
		int r = row_value(record, i, &c->value);
		if (r)
			return err_fold(r);
		if (!span_eq(there, buf_span(&c->value)) || PQgetisnull(res, n, (int)i))
			check_wrong(c, record->index, "differs from the log in ", c->columns[i].name);
	}
	c->compared++;
	c->by_hash += c->rows.pruned;
	return 0;
}

/* How many of [first, end) are no longer in the log either, at its beginning. */
static int check_gone(struct check *c, uint64_t first, uint64_t end, uint64_t *ret_gone)
{
	int r = FOLDER_E_PRUNED;

	*ret_gone = 0;
	while (first + *ret_gone < end) {
		r = folder_read(&c->folder, first + *ret_gone, MIN(end - first - *ret_gone, (uint64_t)TILE_WIDTH),
				&c->rows);
		if (r != FOLDER_E_PRUNED)
			break;
		*ret_gone += c->rows.n;
	}
	return r == FOLDER_E_PRUNED ? 0 : r;
}

/* Rows [c->next, index) are not there. Of what retention removed from the log nobody can say whether they ever were. */
static int check_missing(struct check *c, uint64_t index)
{
	uint64_t gone = 0;
	int r = index > c->next ? check_gone(c, c->next, index, &gone) : 0;

	if (r < 0)
		return r;
	if (r > 0)
		return check_fail("the log", c->folder.why);
	if (gone > 0)
		(void)fprintf(stderr,
			      "rows %" PRIu64 " to %" PRIu64
			      ": missing, and removed from the log by retention: they cannot be brought back\n",
			      c->next, c->next + gone - 1);
	c->gone += gone;
	if (c->next + gone == index)
		return 0;
	if (c->wrong_named++ < CHECK_NAMED_MAX)
		(void)fprintf(stderr, "rows %" PRIu64 " to %" PRIu64 ": missing\n", c->next + gone, index - 1);
	c->wrong += index - c->next - gone;
	return 0;
}

static int check_next(struct check *c, const PGresult *res, int n)
{
	const struct row *record = NULL;
	uint64_t index = strtoull(PQgetvalue(res, n, 0), NULL, 10);

	int r = check_missing(c, MIN(index, MAX(c->folder.size, c->next)));
	if (r)
		return r;
	c->next = index + 1;
	if (index >= c->folder.size) {
		check_wrong(c, index, "not in the log, which has fewer records", "");
		return 0;
	}
	r = check_record(c, index, &record);
	if (r)
		return r > 0 ? check_fail("the log", c->folder.why) : r;
	return check_row(c, res, n, record);
}

/* ---- the mirror ---- */

static int check_error(struct check *c, const PGresult *res)
{
	char why[256];

	pg_error_text(res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL,
		      res ? PQresultErrorMessage(res) : PQerrorMessage(c->conn), why, sizeof(why));
	return check_fail("the mirror", why);
}

/* *ret_n rows, after c->next - 1. */
static int check_page(struct check *c, int *ret_n)
{
	char from[24];
	const char *parameters[] = {c->log, from};
	int r = 0;

	(void)snprintf(from, sizeof(from), "%" PRIu64, c->next);
	PGresult *res = PQexecParams(c->conn, (const char *)buf_span(&c->sql).p, ARRAY_LEN(parameters), NULL,
				     parameters, NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		r = check_error(c, res);
	*ret_n = r ? 0 : PQntuples(res);
	if (*ret_n > 0)
		r = check_reach(c, strtoull(PQgetvalue(res, *ret_n - 1, 0), NULL, 10) + 1);
	for (int i = 0; i < *ret_n && !r; i++)
		r = check_next(c, res, i);
	PQclear(res);
	return r;
}

static int check_write_sql(struct check *c)
{
	int r = buf_append_str(&c->sql, "SELECT ");

	for (size_t i = 0; i < c->n_columns && !r; i++)
		r = buf_printf(&c->sql, "%s%s", i ? "," : "", c->columns[i].name);
	return r ? r
		 : buf_append(&c->sql,
			      " FROM bulkhead.records WHERE log = $1::int AND idx >= $2::bigint ORDER BY idx "
			      "LIMIT " CHECK_PAGE_ROWS,
			      sizeof(" FROM bulkhead.records WHERE log = $1::int AND idx >= $2::bigint ORDER BY idx "
				     "LIMIT " CHECK_PAGE_ROWS));
}

/* Which log it is there; and that all rows are to be seen: a reader of some tenants would find the others missing. */
static int check_find(struct check *c)
{
	static const char sql[] = "SELECT log, pg_has_role(current_user, 'bulkhead_auditor', 'USAGE') FROM "
				  "bulkhead.logs WHERE origin = $1";
	const char *parameters[] = {c->folder.key.name};
	PGresult *res = PQexecParams(c->conn, sql, 1, NULL, parameters, NULL, NULL, 0);
	int r = 0;

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		r = check_error(c, res);
	else if (PQntuples(res) == 0)
		r = check_fail("the mirror", "it has no such log");
	else if (strcmp(PQgetvalue(res, 0, 1), "t") != 0)
		r = check_fail("the mirror", "this role does not see all rows: GRANT bulkhead_auditor TO it");
	else
		(void)snprintf(c->log, sizeof(c->log), "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return r;
}

static int check_checkpoints(struct check *c)
{
	const char *parameters[] = {c->log};
	PGresult *res = PQexecParams(
		c->conn,
		"SELECT size, encode(root, 'hex'), consistent FROM bulkhead.checkpoints WHERE log = $1::int "
		"ORDER BY size",
		1, NULL, parameters, NULL, NULL, 0);
	int r = PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : check_error(c, res);

	if (!r && PQntuples(res) > 0)
		r = check_reach(c, strtoull(PQgetvalue(res, PQntuples(res) - 1, 0), NULL, 10));
	for (int i = 0; !r && i < PQntuples(res); i++) {
		uint64_t size = strtoull(PQgetvalue(res, i, 0), NULL, 10);
		struct merkle_hash root;

		if (strcmp(PQgetvalue(res, i, 2), "t") != 0)
			check_wrong(c, size,
				    "a checkpoint of this size was signed that does not continue those before it", "");
		else if (!row_unhex(PQgetvalue(res, i, 1), &root))
			r = check_fail("the mirror", "a checkpoint there has no root");
		else if ((r = folder_grew(&c->folder, size, &root)) > 0) {
			check_wrong(c, size, "the mirror's checkpoint of this size: ", c->folder.why);
			r = 0;
		}
	}
	PQclear(res);
	return r;
}

static int check_say(const struct check *c)
{
	if (c->json)
		return dprintf(STDOUT_FILENO,
			       "{\"good\":%s,\"rows\":%" PRIu64 ",\"signed\":%" PRIu64 ",\"by_hash\":%" PRIu64
			       ",\"gone\":%" PRIu64 ",\"differences\":%" PRIu64 "}\n",
			       c->wrong ? "false" : "true", c->compared, c->folder.size, c->by_hash, c->gone, c->wrong);
	if (c->wrong > 0)
		return fprintf(stderr,
			       "NOT good: %" PRIu64
			       " differences. The log is right: delete these rows as the owner of the "
			       "tables and those after them, and the shipper brings them anew\n",
			       c->wrong);
	return dprintf(STDOUT_FILENO,
		       "good: %" PRIu64 " rows are those of the log, which has %" PRIu64 " signed; %" PRIu64
		       " of them by hash alone; %" PRIu64 " are missing that retention removed from the log\n",
		       c->compared, c->folder.size, c->by_hash, c->gone);
}

static int check_all(struct check *c)
{
	int n = 1, r = check_find(c);

	if (!r)
		r = check_checkpoints(c);
	while (!r && n > 0)
		r = check_page(c, &n);
	if (r)
		return r;
	if (check_say(c) < 0)
		return check_fail("standard output", strerror(errno));
	return c->wrong > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- start ---- */

static int check_log(struct check *c, const char *path, const char *vkey)
{
	bool pinned = strcmp(vkey, "-") != 0;
	struct note_key key;

	if (pinned && note_key_parse(&key, span_str(vkey)))
		return check_fail("--vkey", "not a verifier key");
	int r = folder_open(&c->folder, path, pinned ? &key : NULL);
	if (r)
		return check_fail(path, strerrordesc_np(-r));
	r = folder_refresh(&c->folder);
	if (r > 0)
		return check_fail(path, r == FOLDER_E_NONE ? "nothing is signed there" : c->folder.why);
	return r;
}

static int check_connect(struct check *c, const char *conninfo, const char *password_file)
{
	char password[1024] = "";
	FILE *f = password_file[0] ? fopen(password_file, "re") : NULL;

	if (password_file[0] && (!f || !fgets(password, sizeof(password), f))) {
		if (f)
			(void)fclose(f);
		return check_fail(password_file, "cannot be read");
	}
	if (f)
		(void)fclose(f);
	password[strcspn(password, "\r\n")] = 0;
	const char *keywords[] = {"dbname", "client_encoding", password[0] ? "password" : NULL, NULL};
	const char *values[] = {conninfo, "UTF8", password, NULL};
	c->conn = PQconnectdbParams(keywords, values, 1);
	explicit_bzero(password, sizeof(password));
	return c->conn && PQstatus(c->conn) == CONNECTION_OK ? 0 : check_error(c, NULL);
}

int check_main(int argc, char **argv)
{
	struct check *c = calloc(1, sizeof(*c));
	int r;

	if (argc < 4 || argc > 6 || !c) {
		free(c);
		return check_fail("audit-shipper verify", "LOG VKEY CONNINFO [PASSWORD_FILE] [--json]");
	}
	c->json = argc > 5 && strcmp(argv[5], "--json") == 0;
	c->folder.dir = -1;
	buf_init(&c->sql, BUFSIZ);
	buf_init(&c->value, BUFSIZ);
	c->n_columns = row_columns(c->columns);
	r = sodium_init() < 0 ? EXIT_FAILURE : check_write_sql(c);
	if (!r)
		r = check_log(c, argv[1], argv[2]);
	if (!r)
		r = check_connect(c, argv[3], argc > 4 ? argv[4] : "");
	if (!r)
		r = check_all(c);
	if (r < 0) /* for want of memory: all else has been told */
		r = check_fail("audit-shipper verify", strerrordesc_np(-r));
	PQfinish(c->conn);
	folder_rows_free(&c->rows);
	folder_close(&c->folder);
	buf_deinit(&c->sql);
	buf_deinit(&c->value);
	free(c);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
