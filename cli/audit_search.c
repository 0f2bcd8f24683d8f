/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead audit search|show`: what is in the log, as it is read; nothing of it is kept. */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "cli/audit.h"
#include "cli/audit_filter.h"
#include "cli/audit_removed.h"
#include "cli/output.h"
#include "cli/plain.h"
#include "common/merkle.h"

/* ---- search ---- */

struct search {
	struct cli *cli;
	struct audit_filter filter;
	uint64_t left;
};

static int on_search_record(void *ctx, const struct audit_record *record)
{
	struct search *s = ctx;

	if (!audit_filter_match(&s->filter, &record->leaf))
		return CLI_DONE;
	int r = audit_record_print(s->cli, record);
	if (!r && ferror(s->cli->out))
		r = cli_fail(s->cli, "standard output: %m");
	return r ? r : --s->left == 0 ? AUDIT_STOP : CLI_DONE;
}

int cmd_audit_search(struct cli *cli)
{
	struct search s = {.cli = cli};
	struct audit_reader reader;
	int r = audit_filter_init(cli, (uint64_t)time(NULL), &s.filter);

	if (!r)
		r = cli_option_u64(cli, "--limit", 1, INT64_MAX, UINT64_MAX, &s.left);
	if (r)
		return r;
	r = audit_reader_open(cli, &reader);
	if (!r) {
		audit_removed_note(&reader);
		r = audit_reader_each(&reader, 0, UINT64_MAX, cli_option(cli, "--reverse") != NULL, on_search_record,
				      &s);
	}
	audit_reader_close(&reader);
	return r;
}

/* ---- show ---- */

static int on_show_record(void *ctx, const struct audit_record *record)
{
	struct cli *cli = ctx;
	const struct event_row *row = event_row(record->leaf.code);
	char scratch[AUDIT_SCRATCH_BYTES], hex[2 * MERKLE_HASH_BYTES + 1];
	struct merkle_hash hash;
	struct audit_value v;

	merkle_hash_leaf(record->bytes, &hash);
	sodium_bin2hex(hex, sizeof(hex), hash.b, sizeof(hash.b));
	if (cli->json) {
		json_t *doc = audit_record_json(record, false);
		if (doc)
			(void)json_object_set_new(doc, "leaf_hash", json_string(hex));
		return cli_print_json(cli, doc);
	}
	for (enum audit_column c = 0; c < AUDIT_N_COLUMNS; c++) {
		audit_value(record, c, scratch, &v);
		if (!audit_column_name(c) || (c != AUDIT_INDEX && (v.number ? v.n == 0 : v.text.len == 0)))
			continue;
		plain_line(cli->out, "%-11s %.*s", audit_column_name(c), SPAN_ARG(v.text));
		if (c == AUDIT_EVENT && row)
			fprintf(cli->out, "%-11s %s\n", "", row->doc);
	}
	fprintf(cli->out, "%-11s %s\n", "leaf_hash", hex);
	return CLI_DONE;
}

static int show_nothing(struct audit_reader *reader, uint64_t index)
{
	char text[AUDIT_REMOVED_BYTES];
	struct retained what;

	if (index >= reader->first)
		return cli_fail(reader->cli, "there is no record %" PRIu64 "; there are %" PRIu64 " to %" PRIu64, index,
				reader->first, reader->end - 1);
	bool known = audit_removed_read(reader, &what);
	audit_removed_text(&what, known, reader->first, text);
	return cli_fail(reader->cli, "record %" PRIu64 " is gone: %s", index, text);
}

int cmd_audit_show(struct cli *cli)
{
	struct audit_reader reader;
	uint64_t index;
	int r = cli_arg_u64(cli, 0, "INDEX", &index);

	if (r)
		return r;
	r = audit_reader_open(cli, &reader);
	if (!r && reader.first == reader.end)
		r = cli_fail(cli, "there is no record yet");
	else if (!r && (index < reader.first || index >= reader.end))
		r = show_nothing(&reader, index);
	if (!r)
		r = audit_reader_each(&reader, index, index + 1, false, on_show_record, cli);
	audit_reader_close(&reader);
	return r;
}
