/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit export`: records for other programs, NDJSON or CSV. What tells persons or contents apart is left out
 * unless it is asked for. A file is new, readable by its owner only, and whole or not there: while it is written,
 * Ctrl-C and its like wait until it is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cli/audit.h"
#include "cli/audit_csv.h"
#include "cli/audit_filter.h"
#include "cli/audit_progress.h"
#include "cli/audit_removed.h"

struct export
{
	struct cli *cli;
	FILE *to;
	const char *path; /* NULL: standard output */
	struct audit_filter filter;
	bool csv, redact;
	struct audit_reader reader;
	struct audit_progress progress;
	uint64_t written;
	sigset_t ends, before; /* signals that would leave a part of the file; the mask without them */
};

static void export_csv_head(FILE *to)
{
	for (enum audit_column c = 0; c < AUDIT_N_COLUMNS; c++)
		if (audit_column_name(c))
			fprintf(to, "%s%s", c ? "," : "", audit_column_name(c));
	fputs("\r\n", to);
}

static void export_csv(const struct export *e, const struct audit_record *record)
{
	char scratch[AUDIT_SCRATCH_BYTES];
	struct audit_value v;

	for (enum audit_column c = 0; c < AUDIT_N_COLUMNS; c++) {
		if (!audit_column_name(c))
			continue;
		audit_value(record, c, scratch, &v);
		if (c > 0)
			fputc(',', e->to);
		if (v.number && (v.n > 0 || audit_column_always(c)))
			fprintf(e->to, "%" PRIu64, v.n);
		else if (!v.number && v.text.len > 0)
			audit_csv_text(e->to, e->redact && audit_column_private(c) ? SPAN_LIT(AUDIT_REDACTED) : v.text);
	}
	fputs("\r\n", e->to);
}

static bool export_json(const struct export *e, const struct audit_record *record)
{
	json_t *doc = audit_record_json(record, e->redact);
	int r = doc ? json_dumpf(doc, e->to, JSON_COMPACT | JSON_ENSURE_ASCII) : -1;

	json_decref(doc);
	return r == 0 && fputc('\n', e->to) != EOF;
}

/* Until it is whole or removed. One that is ignored (nohup) is left alone: blocked, it would count. */
static void export_hold_ends(struct export *e)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction was;

	(void)sigemptyset(&e->ends);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (sigaction(ends[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			(void)sigaddset(&e->ends, ends[i]);
	(void)sigprocmask(SIG_BLOCK, &e->ends, &e->before);
}

static bool export_is_ended(const struct export *e)
{
	sigset_t both;

	return e->path && sigpending(&both) == 0 && sigandset(&both, &both, &e->ends) == 0 && !sigisemptyset(&both);
}

static int on_export_record(void *ctx, const struct audit_record *record)
{
	struct export *e = ctx;

	if (export_is_ended(e))
		return cli_fail(e->cli, "stopped; %s is removed", e->path);
	audit_progress_show(&e->progress, e->reader.done, e->reader.end - e->reader.first);
	if (!audit_filter_match(&e->filter, &record->leaf))
		return CLI_DONE;
	e->written++;
	errno = 0;
	if (e->csv)
		export_csv(e, record);
	else if (!export_json(e, record))
		return cli_fail(e->cli, "record %" PRIu64 " could not be written: %s", record->index,
				errno ? strerror(errno) : "out of memory");
	return ferror(e->to) ? cli_fail(e->cli, "%s: %s", e->path ? e->path : "standard output", strerror(errno))
			     : CLI_DONE;
}

/* ---- the file ---- */

static int export_begin(struct export *e)
{
	if (!e->path) {
		e->to = e->cli->out;
		return CLI_DONE;
	}
	export_hold_ends(e);
	int fd = open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	e->to = fd < 0 ? NULL : fdopen(fd, "w");
	if (e->to)
		return CLI_DONE;
	int error = errno;
	if (fd >= 0)
		(void)close(fd);
	return cli_fail(e->cli, "%s: %s%s", e->path, strerror(error),
			error == EEXIST ? "; an export does not overwrite, name another file" : "");
}

/* What was written, complete; a file that is not is removed. */
static int export_end(struct export *e, int r)
{
	if (!e->to)
		return r;
	bool bad = fflush(e->to) != 0 || (e->path && fsync(fileno(e->to)) != 0);
	if (e->path)
		bad = fclose(e->to) != 0 || bad;
	if (bad && !r)
		r = cli_fail(e->cli, "%s: %s", e->path ? e->path : "standard output", strerror(errno));
	if (r && e->path)
		(void)unlink(e->path);
	if (e->path)
		(void)sigprocmask(SIG_SETMASK, &e->before, NULL); /* whoever waited is delivered now */
	return r;
}

static int export_run(struct export *e)
{
	int r = audit_reader_open(e->cli, &e->reader);

	if (!r)
		audit_removed_note(&e->reader);
	if (!r)
		r = export_begin(e);
	if (!r && e->csv)
		export_csv_head(e->to);
	if (!r)
		r = audit_reader_each(&e->reader, 0, UINT64_MAX, false, on_export_record, e);
	audit_progress_end(&e->progress);
	r = export_end(e, r);
	audit_reader_close(&e->reader);
	if (!r && e->path)
		fprintf(e->cli->err, "%" PRIu64 " records%s are in %s\n", e->written, e->redact ? ", redacted," : "",
			e->path);
	return r;
}

int cmd_audit_export(struct cli *cli)
{
	const char *format = cli_option(cli, "--format");
	struct export e = {
		.cli = cli,
		.path = cli_option(cli, "--output"),
		.csv = format && strcmp(format, "csv") == 0,
		.redact = !cli_option(cli, "--unredacted"),
	};

	if (format && !e.csv && strcmp(format, "ndjson") != 0)
		return cli_misuse(cli, "--format is ndjson or csv");
	if (e.csv && cli->json)
		return cli_misuse(cli, "--json and --format csv contradict each other");
	int r = audit_filter_init(cli, (uint64_t)time(NULL), &e.filter);
	if (r)
		return r;
	audit_progress_init(&e.progress, cli, e.path != NULL);
	return export_run(&e);
}
