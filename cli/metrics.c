/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead metrics`: METRICS to every instance, as one page in the Prometheus text format 0.0.4. Each sample gets the
 * label `daemon`; a family that several have stands together under one TYPE, as the format demands. A daemon is
 * believed its numbers, not that they suit a terminal: a line with anything but printable ASCII is left out.
 */
#include "cli/admin.h"
#include "cli/output.h"

#define METRICS_MS 3000

struct metrics {
	json_t *families; /* name: [TYPE line, samples...], in the order in which they were met */
	json_t *all;      /* for --json */
};

static json_t *metrics_family(struct metrics *m, const char *name, size_t len)
{
	json_t *family = json_object_getn(m->families, name, len);

	if (!family && !json_object_setn_new(m->families, name, len, json_array()))
		family = json_object_getn(m->families, name, len);
	return family;
}

/* `name value` or `name{labels} value`. */
static void metrics_sample(struct metrics *m, const char *daemon, struct span line)
{
	const char *text = (const char *)line.p, *space = memrchr(line.p, ' ', line.len);

	if (!space)
		return;
	int full = (int)(space - text), name = (int)strcspn(text, "{ "), rest = (int)line.len - full;
	const char *labels = name < full ? text + name + 1 : "}";
	int n_labels = name < full ? full - name - 1 : 1;

	json_array_append_new(metrics_family(m, text, (size_t)name),
			      json_sprintf("%.*s{daemon=\"%s\"%s%.*s%.*s", name, text, daemon, name < full ? "," : "",
					   n_labels, labels, rest, space));
	json_array_append_new(m->all, json_pack("{s:s,s:s#,s:I}", "daemon", daemon, "metric", text, full, "value",
						(json_int_t)strtoll(space, NULL, 10)));
}

/* `# TYPE name kind`, of which the first daemon's counts. */
static void metrics_type(struct metrics *m, struct span line, struct span name)
{
	const uint8_t *end = memchr(name.p, ' ', name.len);
	json_t *family = end ? metrics_family(m, (const char *)name.p, (size_t)(end - name.p)) : NULL;

	if (json_array_size(family) == 0)
		json_array_append_new(family, json_span(line));
}

static bool metrics_is_plain(struct span line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.p[i] < ' ' || line.p[i] > '~')
			return false;
	return line.len > 0;
}

static void metrics_page(struct metrics *m, const char *daemon, struct span text)
{
	static const char type[] = "# TYPE ";
	const size_t n = sizeof(type) - 1;

	for (const uint8_t *end; (end = memchr(text.p, '\n', text.len));) {
		struct span line = span_of(text.p, (size_t)(end - text.p));

		text = span_of(end + 1, text.len - line.len - 1);
		if (!metrics_is_plain(line))
			continue;
		if (line.len > n && strncmp((const char *)line.p, type, n) == 0)
			metrics_type(m, line, span_of(line.p + n, line.len - n));
		else
			metrics_sample(m, daemon, line);
	}
}

static void metrics_visit(void *ctx, const char *name, struct admin *a, const char *why)
{
	const union proto_any *answer;
	struct metrics *m = ctx;

	(void)why;
	bool up = a && !admin_call(a, PROTO_METRICS, &(struct proto_metrics){}, PROTO_METRICS_REP, METRICS_MS, &answer);
	metrics_page(m, name,
		     up ? SPAN_LIT("# TYPE bulkhead_up gauge\nbulkhead_up 1\n")
			: SPAN_LIT("# TYPE bulkhead_up gauge\nbulkhead_up 0\n"));
	if (up)
		metrics_page(m, name, answer->metrics_rep.text);
}

static void metrics_print(const struct metrics *m, FILE *to)
{
	const char *name;
	json_t *family, *line;
	size_t i;

	json_object_foreach(m->families, name, family) json_array_foreach(family, i, line)
		fprintf(to, "%s\n", json_string_value(line));
}

int cmd_metrics(struct cli *cli)
{
	struct metrics m = {json_object(), json_array()};
	int r = admin_each(cli, metrics_visit, &m);

	if (!r && cli->json)
		r = cli_print_json(cli, json_incref(m.all));
	else if (!r)
		metrics_print(&m, cli->out);
	json_decref(m.families);
	json_decref(m.all);
	return r;
}
