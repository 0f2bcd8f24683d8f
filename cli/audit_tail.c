/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit tail`: records as auditd reads them out, one line each, and new ones as they come. The other commands
 * (audit.def) can do without it.
 */
#include <inttypes.h>

#include "cli/admin.h"
#include "cli/audit_record.h"

#define AUDIT_LINES    20
#define AUDIT_READ_MAX 256
#define AUDIT_WAIT_MS  20000

static int audit_read(struct admin *a, uint64_t from, uint64_t wait_ms, const struct proto_audit_read_rep **ret)
{
	const union proto_any *answer;
	int r = admin_call(a, PROTO_AUDIT_READ,
			   &(struct proto_audit_read){.from = from, .max = AUDIT_READ_MAX, .wait_ms = wait_ms},
			   PROTO_AUDIT_READ_REP, ADMIN_DEADLINE_MS + wait_ms, &answer);

	if (!r)
		*ret = &answer->audit_read_rep;
	return r;
}

/* Prints an answer's records; *from goes on. */
static int audit_print(struct cli *cli, const struct proto_audit_read_rep *rep, uint64_t *from)
{
	struct proto_list records = rep->records;
	struct proto_audit_record next;
	struct audit_record record;
	int r = CLI_DONE;

	while (!r && proto_audit_record_next(&records, &next)) {
		r = audit_record_read(cli, *from, next.leaf, &record);
		if (!r)
			r = audit_record_print(cli, &record);
		++*from;
	}
	if ((fflush(cli->out) || ferror(cli->out)) && !r)
		r = cli_fail(cli, "standard output: %m");
	return r;
}

static int audit_tail(struct cli *cli, struct admin *a, uint64_t from, uint64_t lines, bool follow)
{
	const struct proto_audit_read_rep *rep;
	int r = audit_read(a, from == UINT64_MAX ? 0 : from, 0, &rep);

	if (!r && from == UINT64_MAX) {
		from = rep->size > lines ? rep->size - lines : 0;
		r = audit_read(a, from, 0, &rep);
	} else if (!r && rep->from > from) {
		fprintf(cli->err, "retention removed the records before %" PRIu64 "; see `bulkhead audit retention`\n",
			rep->from);
	}
	while (!r) {
		uint64_t before = from = MAX(from, rep->from);
		r = audit_print(cli, rep, &from);
		if (r || (!follow && from >= rep->size))
			return r;
		if (from == before && from < rep->size)
			return cli_fail(cli, "record %" PRIu64 " cannot be read; see `bulkhead audit verify`", from);
		r = audit_read(a, from, from < rep->size ? 0 : AUDIT_WAIT_MS, &rep);
	}
	return r;
}

int cmd_audit_tail(struct cli *cli)
{
	uint64_t from, lines;
	struct admin *a = NULL;
	int r = cli_option_u64(cli, "--from", 0, INT64_MAX, UINT64_MAX, &from);

	if (!r && cli_option(cli, "--from") && cli_option(cli, "--lines"))
		r = cli_misuse(cli, "say either --from INDEX or --lines N, which counts from the end");
	if (!r)
		r = cli_option_u64(cli, "--lines", 0, INT64_MAX, AUDIT_LINES, &lines);
	if (!r)
		r = admin_open(cli, ROLE_AUDITD, 0, &a);
	if (!r)
		r = audit_tail(cli, a, from, lines, cli_option(cli, "--follow") != NULL);
	a = admin_close(a);
	return r;
}
