/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit gaps`: what is missing, by the log's own account. Gaps have a size. A sequence that another one of
 * the same producer follows without a daemon.stop between them has none: what came after its last record died with the
 * launcher, which kept the count.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "auditd/format.h"
#include "cli/audit.h"
#include "cli/audit_removed.h"
#include "cli/output.h"

struct gaps_sequence {
	struct source source; /* with the last that was heard of it */
	bool ended;           /* daemon.stop was that */
};

struct gaps {
	struct cli *cli;
	struct table table;
	json_t *list, *open_list;
	uint64_t first, n, lost, n_open;
	struct gaps_sequence sequences[SOURCES_MAX];
	size_t n_sequences;
};

/* A line: the record at which it was noticed, and the range. */
static void gaps_line(struct gaps *g, const struct audit_record *record, uint64_t from, const char *to,
		      struct span cause, const char *lost)
{
	static const enum audit_column columns[] = {AUDIT_INDEX, AUDIT_TIME, AUDIT_SOURCE};
	char scratch[AUDIT_SCRATCH_BYTES];
	struct audit_value v;

	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		audit_value(record, columns[i], scratch, &v);
		table_cell(&g->table, v.text);
	}
	table_cell_u64(&g->table, from);
	table_cell_str(&g->table, to);
	table_cell(&g->table, cause);
	table_cell_str(&g->table, lost);
}

static int gaps_append(struct gaps *g, json_t *list, json_t *item)
{
	return item && json_array_append_new(list, item) == 0 ? CLI_DONE : cli_fail(g->cli, "out of memory");
}

static int gaps_found(struct gaps *g, const struct audit_record *record)
{
	const struct proto_leaf *leaf = &record->leaf;
	uint64_t lost = leaf->last_seq - leaf->seq + 1;
	char to[24], many[24];

	g->n++;
	g->lost += lost;
	if (g->cli->json) {
		json_t *doc = audit_record_json(record, false);
		if (!doc || json_object_set_new(doc, "lost", json_integer(json_count(lost))) ||
		    json_object_set_new(doc, "last_seq", json_integer(json_count(leaf->last_seq))))
			return cli_fail(g->cli, "out of memory");
		return gaps_append(g, g->list, doc);
	}
	(void)snprintf(to, sizeof(to), "%" PRIu64, leaf->last_seq);
	(void)snprintf(many, sizeof(many), "%" PRIu64, lost);
	gaps_line(g, record, leaf->seq, to, leaf->reason, many);
	return CLI_DONE;
}

/* Another sequence begins with this record, and nobody said that the one before was over. */
static int gaps_open_end(struct gaps *g, const struct source *before, const struct audit_record *record)
{
	char scratch[AUDIT_SCRATCH_BYTES];
	struct audit_value v;

	g->n_open++;
	if (g->cli->json) {
		audit_value(record, AUDIT_SOURCE, scratch, &v);
		return gaps_append(g, g->open_list,
				   json_pack("{s:s%,s:I,s:I}", "source", v.text.p, v.text.len, "after_seq",
					     json_count(before->last_seq), "noticed_at", (json_int_t)record->index));
	}
	gaps_line(g, record, before->last_seq + 1, "?", SPAN_LIT("ends without a word"), "?");
	return CLI_DONE;
}

/* NULL: more producers than a log can have. */
static struct gaps_sequence *gaps_sequence(struct gaps *g, uint64_t role, uint64_t worker)
{
	for (size_t i = 0; i < g->n_sequences; i++)
		if (g->sequences[i].source.role == role && g->sequences[i].source.worker == worker)
			return &g->sequences[i];
	if (g->n_sequences == SOURCES_MAX)
		return NULL;
	struct gaps_sequence *s = &g->sequences[g->n_sequences++];
	*s = (struct gaps_sequence){.source = {.role = (uint8_t)role, .worker = (uint8_t)worker}, .ended = true};
	return s;
}

static int gaps_follow(struct gaps *g, const struct audit_record *record)
{
	const struct proto_leaf *leaf = &record->leaf;
	bool own = leaf->role == ROLE_AUDITD;
	struct gaps_sequence *s = gaps_sequence(g, own ? ROLE_KEYVAULT : leaf->role, own ? 0 : leaf->worker);
	int r = CLI_DONE;

	if (s && own) /* the core signs the log's last words, and stops after that */
		s->ended |= leaf->code == EVENT_DAEMON_STOP;
	if (!s || own)
		return CLI_DONE;
	if (!s->ended && !span_eq(leaf->boot, span_of(s->source.boot, sizeof(s->source.boot))))
		r = gaps_open_end(g, &s->source, record);
	s->source.last_seq = leaf->last_seq;
	memcpy(s->source.boot, leaf->boot.p, sizeof(s->source.boot));
	s->ended = leaf->code == EVENT_DAEMON_STOP;
	return r;
}

static int on_gaps_record(void *ctx, const struct audit_record *record)
{
	struct gaps *g = ctx;
	int r = gaps_follow(g, record);

	return r || record->leaf.code != EVENT_LOG_GAP ? r : gaps_found(g, record);
}

static int gaps_report(struct gaps *g)
{
	if (g->cli->json)
		return cli_print_json(g->cli, json_pack("{s:I,s:I,s:I,s:O,s:O}", "first", (json_int_t)g->first, "gaps",
							(json_int_t)g->n, "lost", json_count(g->lost), "records",
							g->list, "ends_without_a_word", g->open_list));
	if (g->n + g->n_open > 0)
		table_print(&g->table, g->cli->out);
	if (g->n > 0)
		fprintf(g->cli->out, "%" PRIu64 " gap%s, for %" PRIu64 " missing event%s\n", g->n, g->n == 1 ? "" : "s",
			g->lost, g->lost == 1 ? "" : "s");
	else
		fprintf(g->cli->out, "no gaps\n");
	if (g->n_open > 0)
		fprintf(g->cli->out, "%" PRIu64 " sequences end without a word: how much followed nobody knows\n",
			g->n_open);
	return CLI_DONE;
}

static int gaps_run(struct gaps *g)
{
	static const char *const headings[] = {"INDEX", "NOTICED", "SOURCE", "FROM", "TO", "CAUSE", "LOST"};
	struct audit_reader reader;

	table_init(&g->table, ARRAY_LEN(headings), headings);
	int r = audit_reader_open(g->cli, &reader);
	if (!r) {
		g->first = reader.first;
		audit_removed_note(&reader);
		r = audit_reader_each(&reader, 0, UINT64_MAX, false, on_gaps_record, g);
	}
	if (!r)
		r = gaps_report(g);
	audit_reader_close(&reader);
	table_deinit(&g->table);
	return r;
}

int cmd_audit_gaps(struct cli *cli)
{
	struct gaps *g = calloc(1, sizeof(*g));

	if (!g)
		return cli_fail(cli, "out of memory");
	g->cli = cli;
	g->list = json_array();
	g->open_list = json_array();
	int r = gaps_run(g);
	json_decref(g->list);
	json_decref(g->open_list);
	free(g);
	return r;
}
