/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as auditd reads them out. When it does not run, or its socket is not ours to use, the folder is read instead
 * if it can be.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/admin.h"
#include "auditd/retained.h"
#include "cli/audit_reader.h"

int audit_usual_folder(struct cli *cli, char to[AUDIT_FOLDER_BYTES_MAX])
{
	int r = cli_config(cli);

	if (!r && snprintf(to, AUDIT_FOLDER_BYTES_MAX, "%s/auditd", cli_value(cli, "bulkhead.state_dir")) >=
			  AUDIT_FOLDER_BYTES_MAX)
		r = cli_fail(cli, "bulkhead.state_dir: the name is too long");
	return r;
}

static int online_read(struct audit_reader *r, uint64_t from, uint64_t max, const struct proto_audit_read_rep **ret)
{
	const union proto_any *answer;
	int e = admin_call(r->admin, PROTO_AUDIT_READ, &(struct proto_audit_read){.from = from, .max = max},
			   PROTO_AUDIT_READ_REP, ADMIN_DEADLINE_MS, &answer);

	if (!e)
		*ret = &answer->audit_read_rep;
	return e;
}

/* Appends an answer's records, which live no longer than the next call, to the page. */
static int online_keep(struct audit_reader *r, struct proto_list records, size_t *used)
{
	struct proto_audit_record record;

	while (proto_audit_record_next(&records, &record)) {
		if (record.leaf.len > LEAF_BYTES_MAX || r->page.n == TILE_WIDTH)
			return cli_fail(r->cli, "auditd's answer is not one");
		memcpy(r->page.bundle + *used, record.leaf.p, record.leaf.len);
		r->page.leaves[r->page.n++] = span_of(r->page.bundle + *used, record.leaf.len);
		*used += record.leaf.len;
	}
	return CLI_DONE;
}

static int online_load(struct audit_reader *r, uint64_t index)
{
	uint64_t begin = MAX(index - index % TILE_WIDTH, r->first);
	uint64_t end = MIN(index - index % TILE_WIDTH + TILE_WIDTH, r->end);
	const struct proto_audit_read_rep *rep;
	size_t used = 0;
	int e = CLI_DONE;

	entries_page_deinit(&r->page);
	r->page.first = begin;
	r->page.bundle = malloc((size_t)TILE_WIDTH * LEAF_BYTES_MAX);
	if (!r->page.bundle)
		return cli_fail(r->cli, "out of memory");
	while (!e && begin + r->page.n < end) {
		uint64_t from = begin + r->page.n;
		e = online_read(r, from, end - from, &rep);
		if (!e && (rep->from != from || rep->records.count == 0))
			e = cli_fail(r->cli, "record %" PRIu64 " is no longer there", from);
		if (!e)
			e = online_keep(r, rep->records, &used);
	}
	return e;
}

static int online_removed(struct audit_reader *r, struct retained *ret)
{
	const union proto_any *answer;
	int e = admin_call(r->admin, PROTO_AUDIT_RETENTION, &(struct proto_audit_retention){.now = 0},
			   PROTO_AUDIT_RETENTION_REP, ADMIN_DEADLINE_MS, &answer);

	if (e)
		return e;
	const struct proto_audit_retention_rep *rep = &answer->audit_retention_rep;
	*ret = (struct retained){.first = rep->pruned_first,
				 .end = rep->pruned_end,
				 .index = rep->pruned_index,
				 .time_ns = rep->pruned_ns};
	(void)snprintf(ret->keep, sizeof(ret->keep), "%.*s", SPAN_ARG(rep->pruned_keep));
	return CLI_DONE;
}

int audit_online_open(struct cli *cli, struct audit_reader *r, bool *ret_used)
{
	const struct proto_audit_read_rep *rep;
	const char *why;
	int e = cli_config(cli);

	if (e)
		return e;
	*ret_used = admin_try(cli, ROLE_AUDITD, 0, &r->admin, &why) == CLI_DONE;
	if (!*ret_used)
		return CLI_DONE;
	e = online_read(r, 0, 1, &rep);
	if (e)
		return e;
	r->load = online_load;
	r->removed = online_removed;
	r->first = rep->from;
	r->end = rep->size;
	return CLI_DONE;
}

void audit_online_close(struct audit_reader *r)
{
	r->admin = admin_close(r->admin);
}
