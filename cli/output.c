/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <stdlib.h>
#include <time.h>

#include "cli/plain.h"

static void *output_memory(void *p)
{
	if (!p)
		abort();
	return p;
}

void table_init(struct table *t, size_t n_columns, const char *const *headings)
{
	*t = (struct table){.n_columns = n_columns};
	for (size_t i = 0; i < n_columns; i++)
		table_cell_str(t, headings[i]);
}

void table_deinit(struct table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = TABLE_NULL;
}

void table_cell(struct table *t, struct span text)
{
	char *copy = output_memory(strndup(text.len ? (const char *)text.p : "", text.len));

	plain_text(copy);
	if (t->n_cells == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = output_memory(reallocarray(t->cells, t->cap, sizeof(*t->cells)));
	}
	t->cells[t->n_cells++] = copy;
}

void table_cell_str(struct table *t, const char *text)
{
	table_cell(t, span_str(text));
}

void table_cell_u64(struct table *t, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	table_cell_str(t, text);
}

void table_cell_time(struct table *t, uint64_t unix_seconds)
{
	time_t seconds = (time_t)unix_seconds;
	char text[32] = "-";
	struct tm tm;

	if (unix_seconds && gmtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	table_cell_str(t, text);
}

void table_print(const struct table *t, FILE *to)
{
	size_t width[TABLE_COLUMNS_MAX] = {0};

	for (size_t i = 0; i < t->n_cells; i++)
		width[i % t->n_columns] = MAX(width[i % t->n_columns], strlen(t->cells[i]));
	for (size_t i = 0; i < t->n_cells; i++) {
		bool last = i % t->n_columns == t->n_columns - 1;

		fprintf(to, "%-*s%s", last ? 0 : (int)width[i % t->n_columns], t->cells[i], last ? "\n" : "  ");
	}
}

json_t *json_span(struct span s)
{
	json_t *text = json_stringn(s.len ? (const char *)s.p : "", s.len);

	if (text)
		return text;
	char *copy = output_memory(strndup((const char *)s.p, s.len));
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	text = json_string(copy);
	free(copy);
	return text;
}

int cli_print_json(struct cli *cli, json_t *doc)
{
	int r = doc ? json_dumpf(doc, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII) : -1;

	fputc('\n', cli->out);
	json_decref(doc);
	return r ? cli_fail(cli, "the answer could not be written as JSON") : CLI_DONE;
}

int cli_print_list(struct cli *cli, int r, struct table *t, json_t *all)
{
	if (!r && cli->json)
		r = cli_print_json(cli, json_incref(all));
	else if (!r)
		table_print(t, cli->out);
	table_deinit(t);
	json_decref(all);
	return r;
}
