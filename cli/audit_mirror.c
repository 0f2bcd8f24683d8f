/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror in Postgres, as far as a command concerns it: its tables as SQL, and the comparison with the log, which
 * the audit-shipper does, because it is linked with libpq and this program is not.
 */
#include <stdlib.h>
#include <unistd.h>

#include "auditd/shipper/schema.h"
#include "cli/launch.h"

int cmd_audit_mirror_schema(struct cli *cli)
{
	struct buf sql;
	int r;

	buf_init(&sql, SCHEMA_BYTES_MAX);
	r = schema_sql(&sql) ? cli_fail(cli, "out of memory") : CLI_DONE;
	struct span text = buf_span(&sql);
	if (!r && (fwrite(text.p, 1, text.len, cli->out) != text.len || fflush(cli->out)))
		r = cli_fail(cli, "the schema could not be written");
	buf_deinit(&sql);
	return r;
}

/* What others may read in /proc must not hold a password. */
static int mirror_check_conninfo(const struct cli *cli, const char *conninfo)
{
	if (conninfo[0] == 0)
		return cli_misuse(cli, "--postgres is needed, since shipper.postgres is not set");
	if (strstr(conninfo, "password") || strstr(conninfo, "://"))
		return cli_misuse(
			cli, "--postgres takes host=... dbname=... user=..., and no password: give --password-file, "
			     "or keep it in ~/.pgpass");
	return CLI_DONE;
}

static int mirror_exec(struct cli *cli, const char *log, const char *conninfo)
{
	const char *vkey = cli_option(cli, "--vkey"), *password = cli_option(cli, "--password-file");
	char programs[2][LAUNCH_PATH_BYTES], path[LAUNCH_PATH_BYTES + 32];
	int r = launch_programs(cli, programs);

	for (size_t i = 0; !r && i < ARRAY_LEN(programs); i++) {
		snprintf(path, sizeof(path), "%.4000s/%s", programs[i], launch_program(ROLE_SHIPPER));
		fflush(cli->out);
		execl(path, path, "verify", log, vkey ? vkey : "-", conninfo, password ? password : "",
		      cli->json ? "--json" : NULL, (char *)NULL);
	}
	return r ? r : cli_fail(cli, "audit-shipper is not where bulkhead is: it is a program of its own");
}

int cmd_audit_verify_mirror(struct cli *cli)
{
	const char *conninfo = cli_option(cli, "--postgres"), *log = cli_option(cli, "--log");
	char folder[LAUNCH_PATH_BYTES];
	int r = conninfo && log ? CLI_DONE : cli_config(cli);

	if (r)
		return r;
	conninfo = conninfo ? conninfo : cli_value(cli, "shipper.postgres");
	if (log)
		snprintf(folder, sizeof(folder), "%.4000s", log);
	else
		snprintf(folder, sizeof(folder), "%.4000s/auditd", cli_value(cli, "bulkhead.state_dir"));
	r = mirror_check_conninfo(cli, conninfo);
	return r ? r : mirror_exec(cli, folder, conninfo);
}
