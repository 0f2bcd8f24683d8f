/* SPDX-License-Identifier: Apache-2.0 */
/* What Postgres and libpq say, and what somebody should do about it. Sans I/O. */
#include "auditd/shipper/pg_error.h"

#include <stdio.h>

#define ERROR_SQLSTATE_LEN 5
#define ERROR_SAID_BYTES   120 /* of what was said: what to do comes first, and status lines are short */

static const struct error_row {
	const char *sqlstate, *todo; /* sqlstate: its beginning */
} error_rows[] = {
	{"28", "Postgres refuses the role or its password: check user=, shipper.password_file and pg_hba.conf"},
	{"3D000", "create the database, then `bulkhead audit mirror-schema | psql DATABASE`"},
	{"3F000", "run `bulkhead audit mirror-schema | psql DATABASE` as its owner"},
	{"42P01", "run `bulkhead audit mirror-schema | psql DATABASE` as its owner"},
	{"42883", "run `bulkhead audit mirror-schema | psql DATABASE` as its owner"},
	{"42703", "the schema is of another version: run `bulkhead audit mirror-schema | psql DATABASE` again"},
	{"42501", "in Postgres: GRANT bulkhead_shipper TO the role of user="},
	{"53100", "the disk of Postgres is full"},
	{"53", "Postgres is out of a resource"},
	{"25006", "Postgres is read-only, a standby perhaps: name the primary"},
	{"57P", "Postgres is starting or stopping"},
	{"BH001", "this log is mirrored there under another key: use another database"},
};

/* What libpq itself says, which has no code. */
static const struct error_row error_texts[] = {
	{"no password supplied", "set shipper.password_file, or passfile= in shipper.postgres"},
	{"certificate", "check sslmode= and sslrootcert= in shipper.postgres"},
	{"does not support SSL", "switch on ssl in Postgres, or change sslmode="},
	{"Connection refused", "nobody listens there: check host= and port=, and whether Postgres runs"},
};

/* "FATAL:  28P01: password..." of PQERRORS_VERBOSE. */
static const char *error_sqlstate(const char *text)
{
	for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  "))
		if (strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ERROR_SQLSTATE_LEN &&
		    at[3 + ERROR_SQLSTATE_LEN] == ':')
			return at + 3;
	return NULL;
}

static const char *error_todo(const char *sqlstate, const char *text)
{
	for (size_t i = 0; sqlstate && i < ARRAY_LEN(error_rows); i++)
		if (strncmp(sqlstate, error_rows[i].sqlstate, strlen(error_rows[i].sqlstate)) == 0)
			return error_rows[i].todo;
	for (size_t i = 0; i < ARRAY_LEN(error_texts); i++)
		if (strstr(text, error_texts[i].sqlstate))
			return error_texts[i].todo;
	return NULL;
}

void pg_error_text(const char *sqlstate, const char *said, char *to, size_t cap)
{
	const char *todo = error_todo(sqlstate ? sqlstate : error_sqlstate(said), said);
	int len = (int)MIN(strcspn(said, "\n"), (size_t)ERROR_SAID_BYTES);

	if (todo)
		(void)snprintf(to, cap, "%s (%.*s)", todo, len, said);
	else
		(void)snprintf(to, cap, "%.*s", len, said);
	for (; *to; to++)
		if ((unsigned char)*to < ' ')
			*to = ' ';
}
