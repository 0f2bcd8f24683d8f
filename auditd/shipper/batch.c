/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/batch.h"

#include "common/err.h"

static int batch_write_sql(struct batch *b, const struct row_column *columns)
{
	int r = buf_append_str(&b->sql, "INSERT INTO bulkhead.records (log");

	for (size_t i = 0; i < b->n_columns && !r; i++)
		r = buf_printf(&b->sql, ",%s", columns[i].name);
	if (!r)
		r = buf_append_str(&b->sql, ") SELECT $1::int, u.* FROM unnest(");
	for (size_t i = 0; i < b->n_columns && !r; i++)
		r = buf_printf(&b->sql, "%s$%zu::%s[]", i ? "," : "", i + 2, columns[i].type);
	return r ? r : buf_append(&b->sql, ") u ON CONFLICT DO NOTHING", sizeof(") u ON CONFLICT DO NOTHING"));
}

int batch_init(struct batch *b)
{
	struct row_column columns[ROW_COLUMNS_MAX];

	*b = (struct batch){.n_columns = row_columns(columns)};
	buf_init(&b->sql, BATCH_SQL_BYTES_MAX);
	for (size_t i = 0; i < b->n_columns; i++)
		buf_init(&b->columns[i], BATCH_COLUMN_BYTES_MAX);
	return err_fold(batch_write_sql(b, columns));
}

void batch_deinit(struct batch *b)
{
	buf_deinit(&b->sql);
	for (size_t i = 0; i < b->n_columns; i++)
		buf_deinit(&b->columns[i]);
	*b = (struct batch){0};
}

static int batch_column(struct batch *b, size_t column, const struct row *rows, size_t n)
{
	struct buf *to = &b->columns[column];
	int r;

	buf_reset(to);
	r = buf_append_str(to, "{");
	for (size_t i = 0; i < n && !r; i++)
		r = row_element(&rows[i], column, i == 0, to);
	return r ? r : buf_append(to, "}", sizeof("}"));
}

int batch_set(struct batch *b, const struct row *rows, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < b->n_columns && !r; i++)
		r = batch_column(b, i, rows, n);
	b->n = r ? 0 : n;
	return err_fold(r);
}

void batch_parameters(const struct batch *b, const char **ret)
{
	for (size_t i = 0; i < b->n_columns; i++)
		ret[i] = (const char *)buf_span(&b->columns[i]).p;
}
