/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print: aligned tables for people, one JSON document for programs. */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

#define TABLE_COLUMNS_MAX 10

struct table {
	size_t n_columns, n_cells, cap;
	char **cells; /* row by row, the heading first */
};

#define TABLE_NULL ((struct table){0})

/* A cell is copied, and is plain (plain.h). Memory exhaustion aborts: this is a command, not a daemon. */
void table_init(struct table *t, size_t n_columns, const char *const *headings);
void table_deinit(struct table *t);
void table_cell(struct table *t, struct span text);
void table_cell_str(struct table *t, const char *text);
void table_cell_u64(struct table *t, uint64_t n);
/* "2026-01-02 03:04" in UTC, "-" for 0. */
void table_cell_time(struct table *t, uint64_t unix_seconds);
void table_print(const struct table *t, FILE *to);

/* A count as JSON's integers can say it; what a captured producer claims may be more. */
static inline json_int_t json_count(uint64_t n)
{
	return (json_int_t)MIN(n, (uint64_t)INT64_MAX);
}

/* A JSON string of bytes that may not be UTF-8 (then every byte above 0x7f is '?'). */
json_t *json_span(struct span s);
/* Prints the document on one line and drops the reference. CLI_DONE or CLI_FAILED. */
MUST_USE int cli_print_json(struct cli *cli, json_t *doc);
/* The end of a command that lists: both forms are the function's to release, and the one that was asked for is printed,
 * unless `r` says that something has failed. r, or what the printing says. */
MUST_USE int cli_print_list(struct cli *cli, int r, struct table *t, json_t *all);
