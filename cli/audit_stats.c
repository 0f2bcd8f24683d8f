/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead audit stats`: what the records of a time add up to, by action, status, model and tenant. Tokens, cost and
 * latency are those of the router's records (request.*): the egress's record of the same request is the second witness,
 * not a second request.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "cli/audit.h"
#include "cli/audit_filter.h"
#include "cli/audit_histogram.h"
#include "cli/audit_removed.h"
#include "cli/output.h"

#define STATS_ROWS_MAX  1000
#define STATS_KEY_BYTES 257
#define STATS_SHOWN     10 /* rows of each kind, for people */

struct stats_row {
	char key[STATS_KEY_BYTES];
	uint64_t count, tokens_in, tokens_out, cost_nano;
};

enum stats_kind { STATS_ACTION, STATS_STATUS, STATS_MODEL, STATS_TENANT, STATS_N_KINDS };

struct stats_group {
	struct stats_row *rows;
	size_t n;
	struct stats_row others; /* beyond STATS_ROWS_MAX */
};

struct stats {
	struct cli *cli;
	struct audit_filter filter;
	uint64_t first, records, requests, errors, first_ns, last_ns;
	struct stats_row total;
	struct stats_group groups[STATS_N_KINDS];
	struct histogram latency; /* of request.complete */
};

static const char *const stats_names[STATS_N_KINDS] = {"action", "status", "model", "tenant"};

/* ---- counting ---- */

/* Lately used rows come first, so the usual ones are found at once. */
static struct stats_row *stats_find(struct stats_group *g, struct span key)
{
	size_t i = 0;

	key.len = MIN(key.len, (size_t)STATS_KEY_BYTES - 1);
	while (i < g->n && !span_eq_str(key, g->rows[i].key))
		i++;
	if (i == g->n) {
		if (g->n == STATS_ROWS_MAX)
			return &g->others;
		g->rows[g->n] = (struct stats_row){.count = 0};
		if (key.len > 0)
			memcpy(g->rows[g->n].key, key.p, key.len);
		g->n++;
	}
	if (i > 0) {
		struct stats_row row = g->rows[i];
		g->rows[i] = g->rows[i - 1];
		g->rows[i - 1] = row;
		i--;
	}
	return &g->rows[i];
}

static void stats_count(struct stats_row *row, const struct proto_leaf *leaf, bool request)
{
	row->count++;
	if (!request)
		return;
	row->tokens_in += leaf->tokens_in;
	row->tokens_out += leaf->tokens_out;
	if (__builtin_add_overflow(row->cost_nano, leaf->cost_nano, &row->cost_nano))
		row->cost_nano = UINT64_MAX; /* what a captured router claims does not wrap */
}

static int on_stats_record(void *ctx, const struct audit_record *record)
{
	const struct proto_leaf *leaf = &record->leaf;
	struct stats *s = ctx;
	char status[24];

	if (!audit_filter_match(&s->filter, leaf))
		return CLI_DONE;
	bool request = leaf->code == EVENT_REQUEST_COMPLETE || leaf->code == EVENT_REQUEST_REFUSE ||
		       leaf->code == EVENT_REQUEST_CUT;
	s->first_ns = s->records == 0 ? leaf->time_ns : MIN(s->first_ns, leaf->time_ns);
	s->last_ns = MAX(s->last_ns, leaf->time_ns);
	s->records++;
	stats_count(stats_find(&s->groups[STATS_ACTION], span_str(audit_event_name(leaf->code))), leaf, request);
	if (!request)
		return CLI_DONE;
	(void)snprintf(status, sizeof(status), "%" PRIu64, leaf->status);
	s->requests++;
	s->errors += leaf->status >= 400 || leaf->code == EVENT_REQUEST_CUT;
	stats_count(&s->total, leaf, true);
	stats_count(stats_find(&s->groups[STATS_STATUS], span_str(status)), leaf, true);
	stats_count(stats_find(&s->groups[STATS_MODEL], leaf->model), leaf, true);
	stats_count(stats_find(&s->groups[STATS_TENANT], leaf->tenant), leaf, true);
	if (leaf->code == EVENT_REQUEST_COMPLETE)
		histogram_add(&s->latency, leaf->latency_us);
	return CLI_DONE;
}

static int stats_compare(const void *a, const void *b)
{
	const struct stats_row *x = a, *y = b;

	return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->key, y->key);
}

/* ---- programs ---- */

static json_t *stats_row_json(const char *name, const char *key, const struct stats_row *row)
{
	return json_pack("{s:o,s:I,s:I,s:I,s:I}", name, json_span(span_str(key)), "count", (json_int_t)row->count,
			 "tokens_in", (json_int_t)row->tokens_in, "tokens_out", (json_int_t)row->tokens_out,
			 "cost_nano", json_count(row->cost_nano));
}

static json_t *stats_group_json(const struct stats_group *g, const char *name)
{
	json_t *list = json_array();

	for (size_t i = 0; i < g->n; i++)
		(void)json_array_append_new(list, stats_row_json(name, g->rows[i].key, &g->rows[i]));
	if (g->others.count > 0)
		(void)json_array_append_new(list, stats_row_json(name, "(others)", &g->others));
	return list;
}

static int stats_print_json(const struct stats *s)
{
	char first[AUDIT_TIME_BYTES] = "", last[AUDIT_TIME_BYTES] = "";

	if (s->records > 0) {
		audit_format_time(s->first_ns, first);
		audit_format_time(s->last_ns, last);
	}
	json_t *doc = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I,s:I}}", "from", first, "to",
				last, "first", (json_int_t)s->first, "records", (json_int_t)s->records, "requests",
				(json_int_t)s->requests, "errors", (json_int_t)s->errors, "tokens_in",
				(json_int_t)s->total.tokens_in, "tokens_out", (json_int_t)s->total.tokens_out,
				"cost_nano", json_count(s->total.cost_nano), "latency_us", "count",
				(json_int_t)s->latency.n, "p50", json_count(histogram_quantile(&s->latency, 500)),
				"p90", json_count(histogram_quantile(&s->latency, 900)), "p99",
				json_count(histogram_quantile(&s->latency, 990)), "max", json_count(s->latency.max));
	for (size_t i = 0; i < STATS_N_KINDS && doc; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "by_%s", stats_names[i]);
		(void)json_object_set_new(doc, name, stats_group_json(&s->groups[i], stats_names[i]));
	}
	return cli_print_json(s->cli, doc);
}

/* ---- people ---- */

/* 0 is what a record says whose model has no price: unknown, not for nothing. */
static void stats_cell_cost(struct table *t, uint64_t nano)
{
	char text[48];

	(void)snprintf(text, sizeof(text), "%" PRIu64 ".%04" PRIu64, nano / 1000000000, nano % 1000000000 / 100000);
	table_cell_str(t, nano ? text : "-");
}

static void stats_print_totals(const struct stats *s, FILE *out)
{
	uint64_t nano = s->total.cost_nano;

	fprintf(out, "tokens    %" PRIu64 " in, %" PRIu64 " out\n", s->total.tokens_in, s->total.tokens_out);
	if (nano)
		fprintf(out, "cost      %" PRIu64 ".%09" PRIu64 " USD\n", nano / 1000000000, nano % 1000000000);
	else
		fputs("cost      unknown: no price_in or price_out was configured for these models\n", out);
	if (s->latency.n)
		fprintf(out, "latency   p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, most %.1f ms\n",
			(double)histogram_quantile(&s->latency, 500) / 1e3,
			(double)histogram_quantile(&s->latency, 900) / 1e3,
			(double)histogram_quantile(&s->latency, 990) / 1e3, (double)s->latency.max / 1e3);
	else
		fputs("latency   none: no request was completed\n", out);
}

static void stats_print_group(const struct stats *s, enum stats_kind kind)
{
	static const char *const titles[STATS_N_KINDS] = {"ACTION", "STATUS", "MODEL", "TENANT"};
	const struct stats_group *g = &s->groups[kind];
	const char *const headings[] = {titles[kind], "COUNT", "TOKENS IN", "TOKENS OUT", "USD"};
	struct table t;

	if (g->n == 0)
		return;
	table_init(&t, kind == STATS_ACTION ? 2 : ARRAY_LEN(headings), headings);
	for (size_t i = 0; i < MIN(g->n, (size_t)STATS_SHOWN); i++) {
		const struct stats_row *row = &g->rows[i];
		table_cell_str(&t, row->key[0] ? row->key : "-");
		table_cell_u64(&t, row->count);
		if (kind == STATS_ACTION)
			continue;
		table_cell_u64(&t, row->tokens_in);
		table_cell_u64(&t, row->tokens_out);
		stats_cell_cost(&t, row->cost_nano);
	}
	fputc('\n', s->cli->out);
	table_print(&t, s->cli->out);
	if (g->n > STATS_SHOWN)
		fprintf(s->cli->out, "and %zu more; --json has them all\n", g->n - STATS_SHOWN);
	table_deinit(&t);
}

static int stats_print(const struct stats *s)
{
	char first[AUDIT_TIME_BYTES], last[AUDIT_TIME_BYTES];
	FILE *out = s->cli->out;

	if (s->records == 0) {
		fputs("no such records\n", out);
		return CLI_DONE;
	}
	audit_format_time(s->first_ns, first);
	audit_format_time(s->last_ns, last);
	fprintf(out, "time      %s to %s\nrecords   %" PRIu64 "\nrequests  %" PRIu64 ", %" PRIu64 " of them failed\n",
		first, last, s->records, s->requests, s->errors);
	stats_print_totals(s, out);
	for (enum stats_kind kind = 0; kind < STATS_N_KINDS; kind++)
		stats_print_group(s, kind);
	return CLI_DONE;
}

static int stats_run(struct stats *s)
{
	struct audit_reader reader;

	int r = audit_reader_open(s->cli, &reader);
	if (!r) {
		s->first = reader.first;
		audit_removed_note(&reader);
		r = audit_reader_each(&reader, 0, UINT64_MAX, false, on_stats_record, s);
	}
	audit_reader_close(&reader);
	if (r)
		return r;
	for (size_t i = 0; i < STATS_N_KINDS; i++)
		qsort(s->groups[i].rows, s->groups[i].n, sizeof(struct stats_row), stats_compare);
	return s->cli->json ? stats_print_json(s) : stats_print(s);
}

int cmd_audit_stats(struct cli *cli)
{
	struct stats *s = calloc(1, sizeof(*s));
	struct stats_row *rows = calloc((size_t)STATS_N_KINDS * STATS_ROWS_MAX, sizeof(*rows));

	int r = s && rows ? CLI_DONE : cli_fail(cli, "out of memory");
	if (!r) {
		s->cli = cli;
		for (size_t i = 0; i < STATS_N_KINDS; i++)
			s->groups[i].rows = rows + i * STATS_ROWS_MAX;
		r = audit_filter_init(cli, (uint64_t)time(NULL), &s->filter);
	}
	if (!r)
		r = stats_run(s);
	free(rows);
	free(s);
	return r;
}
