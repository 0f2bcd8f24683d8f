/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_reader.h"

#include <inttypes.h>

int audit_folder(struct cli *cli, char to[AUDIT_FOLDER_BYTES_MAX])
{
	const char *given = cli_option(cli, "--log");

	if (!given)
		return audit_usual_folder(cli, to);
	return snprintf(to, AUDIT_FOLDER_BYTES_MAX, "%s", given) < AUDIT_FOLDER_BYTES_MAX
		       ? CLI_DONE
		       : cli_fail(cli, "--log: the name is too long");
}

int audit_unreadable(const struct cli *cli, const char *folder, int r)
{
	return cli_fail(cli, "%s: %s; name the log's folder with --log, or run as its owner", folder,
			strerrordesc_np(-r));
}

/* ---- a folder ---- */

static int reader_load(struct audit_reader *r, uint64_t index)
{
	int e = entries_page(&r->folder, index, &r->page);

	if (e < 0)
		return cli_fail(r->cli, "record %" PRIu64 ": %s", index, strerrordesc_np(-e));
	if (e == ENTRIES_E_UNREADABLE)
		return cli_fail(r->cli, "record %" PRIu64 ": %s", index, r->folder.why);
	return e == 0 ? CLI_DONE
		      : cli_fail(r->cli, "record %" PRIu64 " is missing or damaged in this folder; see `%s verify`",
				 index, cli_program.audit);
}

static int reader_open_folder(struct cli *cli, struct audit_reader *r)
{
	char folder[AUDIT_FOLDER_BYTES_MAX];
	int e = audit_folder(cli, folder);

	if (e)
		return e;
	e = entries_open(folder, &r->folder);
	if (e < 0)
		return audit_unreadable(cli, folder, e);
	if (e == ENTRIES_E_UNREADABLE)
		return cli_fail(cli, "%s: %s", folder, r->folder.why);
	if (e)
		return cli_fail(cli, "%s: neither segments nor a checkpoint are there; is it a log's folder?", folder);
	r->load = reader_load;
	r->first = r->folder.first;
	r->end = r->folder.end;
	return CLI_DONE;
}

int audit_reader_open(struct cli *cli, struct audit_reader *r)
{
	bool online = false;
	int e = CLI_DONE;

	*r = (struct audit_reader){.cli = cli, .folder = {.dir = -1}};
	if (!cli_option(cli, "--log"))
		e = audit_online_open(cli, r, &online);
	return e || online ? e : reader_open_folder(cli, r);
}

void audit_reader_close(struct audit_reader *r)
{
	entries_page_deinit(&r->page);
	if (r->admin)
		audit_online_close(r);
	if (r->folder.dir >= 0)
		entries_close(&r->folder);
}

/* ---- records ---- */

static int reader_record(struct audit_reader *r, uint64_t index, audit_record_fn *fn, void *ctx)
{
	struct audit_record record;
	int e = audit_record_read(r->cli, index, r->page.leaves[index - r->page.first], &record);

	r->done++;
	return e ? e : fn(ctx, &record);
}

int audit_reader_each(struct audit_reader *r, uint64_t from, uint64_t to, bool reverse, audit_record_fn *fn, void *ctx)
{
	int e = CLI_DONE;

	from = MAX(from, r->first);
	to = MIN(to, r->end);
	while (from < to && !e) {
		e = r->load(r, reverse ? to - 1 : from);
		if (e)
			break;
		uint64_t low = MAX(r->page.first, from), high = MIN(r->page.first + r->page.n, to);
		for (uint64_t i = low; i < high && !e; i++)
			e = reader_record(r, reverse ? high - 1 - (i - low) : i, fn, ctx);
		if (reverse)
			to = low;
		else
			from = high;
	}
	return e == AUDIT_STOP ? CLI_DONE : e;
}
