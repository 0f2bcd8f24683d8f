/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as the parameters of one statement: an array literal for each column. The statement is the same for any number
 * of rows, and adding what is there already does nothing, so a batch may be sent twice.
 */
#pragma once

#include "auditd/shipper/row.h"

/* A bundle of the longest records, quoted. */
#define BATCH_COLUMN_BYTES_MAX (1024 * 1024)
#define BATCH_SQL_BYTES_MAX    8192

struct batch {
	size_t n_columns, n;
	struct buf sql;
	struct buf columns[ROW_COLUMNS_MAX];
};

/* Writes the statement, too: parameter 1 is the log's number, then the columns. 0 or negative. */
MUST_USE int batch_init(struct batch *b);
void batch_deinit(struct batch *b);
/* 0 or negative. */
MUST_USE int batch_set(struct batch *b, const struct row *rows, size_t n);
/* Fills in n_columns of them; they live until the next batch_set(). */
void batch_parameters(const struct batch *b, const char **ret);
