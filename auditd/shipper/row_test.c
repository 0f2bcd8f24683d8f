/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: what a producer can say never keeps a row out of the database. */
#include "auditd/shipper/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "auditd/shipper/batch.h"
#include "auditd/shipper/schema.h"

static const uint8_t boot[16] = {0xfe, 1};

static struct proto_leaf leaf_of(struct span model)
{
	return (struct proto_leaf){
		.version = LEAF_VERSION,
		.role = ROLE_ROUTER,
		.worker = 3,
		.boot = span_of(boot, sizeof(boot)),
		.last_seq = UINT64_MAX,
		.seq = UINT64_MAX,
		.code = EVENT_REQUEST_COMPLETE,
		.model = model,
	};
}

static struct row row_of(struct proto_leaf leaf, uint8_t *bytes, size_t cap)
{
	struct row row;
	size_t len;

	assert_int_equal(leaf_pack(&leaf, bytes, cap, &len), 0);
	assert_int_equal(row_read(span_of(bytes, len), 7, &row), 0);
	return row;
}

static size_t column_of(const char *name)
{
	struct row_column columns[ROW_COLUMNS_MAX];
	size_t n = row_columns(columns);

	for (size_t i = 0; i < n; i++)
		if (strcmp(columns[i].name, name) == 0)
			return i;
	fail_msg("no column %s", name);
	return n;
}

static void expect(const struct row *row, const char *column, const char *value, const char *element)
{
	struct buf text;

	buf_init(&text, 4096);
	assert_int_equal(row_value(row, column_of(column), &text), 0);
	assert_true(span_eq_str(buf_span(&text), value));
	buf_reset(&text);
	assert_int_equal(row_element(row, column_of(column), false, &text), 0);
	assert_true(span_eq_str(buf_span(&text), element));
	buf_deinit(&text);
}

static void values_are_what_postgres_prints(void **state)
{
	uint8_t bytes[LEAF_BYTES_MAX];
	struct row row = row_of(leaf_of(SPAN_LIT("m\"\\,{} \n")), bytes, sizeof(bytes));

	(void)state;
	expect(&row, "idx", "7", ",\"7\"");
	expect(&row, "event", "request.complete", ",\"request.complete\"");
	expect(&row, "source", "router3", ",\"router3\"");
	expect(&row, "boot", "\\xfe010000000000000000000000000000", ",\"\\\\xfe010000000000000000000000000000\"");
	expect(&row, "seq", "18446744073709551615", ",\"18446744073709551615\"");
	expect(&row, "model", "m\"\\,{} \n", ",\"m\\\"\\\\,{} \n\"");
	expect(&row, "tenant", "", ",\"\"");
	expect(&row, "digest", "\\x", ",\"\\\\x\"");
}

static void what_is_no_text_is_hex(void **state)
{
	uint8_t bytes[LEAF_BYTES_MAX];
	struct row row = row_of(leaf_of(SPAN_LIT("a\xff")), bytes, sizeof(bytes));

	(void)state;
	expect(&row, "model", "\\x61ff", ",\"\\\\x61ff\"");
}

static void unknown_codes_and_roles_have_names(void **state)
{
	uint8_t bytes[LEAF_BYTES_MAX];
	struct proto_leaf leaf = leaf_of(SPAN_NULL);

	(void)state;
	leaf.code = 1023;
	leaf.role = 15;
	struct row row = row_of(leaf, bytes, sizeof(bytes));
	expect(&row, "event", "event1023", ",\"event1023\"");
	expect(&row, "source", "role15.3", ",\"role15.3\"");
}

static void what_is_no_leaf_is_no_row(void **state)
{
	struct row row;

	(void)state;
	assert_int_equal(row_read(SPAN_LIT("x"), 0, &row), ROW_E_FOREIGN);
	assert_int_equal(row_read(SPAN_NULL, 0, &row), ROW_E_FOREIGN);
}

static void text_is_utf8_in_its_shortest_form(void **state)
{
	static const struct {
		const char *bytes;
		bool is_text;
	} cases[] = {
		{"", true},
		{"a\x01\x7f\n", true},
		{"\xc2\x80\xdf\xbf", true},
		{"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", true},
		{"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
		{"\x80", false},
		{"\xc0\x80", false},
		{"\xc1\xbf", false},
		{"\xc2", false},
		{"\xc2\x41", false},
		{"\xe0\x9f\xbf", false},
		{"\xe1\x80", false},
		{"\xe1\x80\x41", false},
		{"\xed\xa0\x80", false},
		{"\xf0\x8f\xbf\xbf", false},
		{"\xf1\x80\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\xf5\x80\x80\x80", false},
		{"\xff", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (row_is_text(span_str(cases[i].bytes)) != cases[i].is_text)
			fail_msg("case %zu", i);
	assert_false(row_is_text(span_of("a\0b", 3)));
}

/* A whole bundle of the largest records that there can be. */
static void the_largest_batch_has_room(void **state)
{
	struct row *rows = calloc(256, sizeof(*rows));
	uint8_t model[256], other[256], digest[32], bytes[LEAF_BYTES_MAX];
	const char *parameters[ROW_COLUMNS_MAX];
	struct batch batch;

	(void)state;
	memset(model, '\\', sizeof(model)); /* each is four bytes when it is no text, two when it is */
	memset(other, '"', sizeof(other));
	memset(digest, 0xff, sizeof(digest));
	model[0] = 0xff;
	struct proto_leaf leaf = leaf_of(span_of(model, sizeof(model)));
	leaf.resource = span_of(other, sizeof(other));
	leaf.digest = span_of(digest, sizeof(digest));
	for (size_t i = 0; i < 256; i++)
		rows[i] = row_of(leaf, bytes, sizeof(bytes));
	assert_int_equal(batch_init(&batch), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(batch_set(&batch, rows, 256), 0);
		batch_parameters(&batch, parameters);
		assert_int_equal(parameters[0][0], '{');
		assert_int_equal(parameters[0][strlen(parameters[0]) - 1], '}');
		assert_int_equal(strlen(parameters[column_of("model")]), 2 + 256 * (3 + 2 + 512 + 1) - 1);
	}
	assert_int_equal(batch_set(&batch, rows, 1), 0);
	batch_parameters(&batch, parameters);
	assert_string_equal(parameters[0], "{\"7\"}");
	batch_deinit(&batch);
	free(rows);
}

static void every_column_is_in_the_schema(void **state)
{
	struct row_column columns[ROW_COLUMNS_MAX];
	struct buf sql;

	(void)state;
	buf_init(&sql, SCHEMA_BYTES_MAX);
	assert_int_equal(schema_sql(&sql), 0);
	assert_int_equal(buf_append(&sql, "", 1), 0);
	for (size_t i = 0, n = row_columns(columns); i < n; i++) {
		char line[128];
		(void)snprintf(line, sizeof(line), "ADD COLUMN IF NOT EXISTS %s %s;", columns[i].name, columns[i].type);
		assert_non_null(strstr((const char *)buf_span(&sql).p, line));
	}
	assert_non_null(strstr((const char *)buf_span(&sql).p, "The producer''s own count"));
	buf_deinit(&sql);
}

/* A captured daemon may say any number: none is too large for its column. */
static void every_number_has_room(void **state)
{
	struct row_column columns[ROW_COLUMNS_MAX];
	size_t n = row_columns(columns);

	(void)state;
	assert_int_equal(n, proto_leaf_desc.n_fields + ROW_COMPUTED);
	for (size_t i = ROW_COMPUTED; i < n; i++)
		if (proto_leaf_desc.fields[i - ROW_COMPUTED].kind == PROTO_KIND_U64)
			assert_string_equal(columns[i].type, proto_leaf_desc.fields[i - ROW_COMPUTED].max > INT64_MAX
								     ? "numeric(20)"
								     : "bigint");
	assert_string_equal(columns[column_of("seq")].type, "numeric(20)");
	assert_string_equal(columns[column_of("status")].type, "bigint");
}

static void hex_is_a_hash_or_nothing(void **state)
{
	char hex[2 * MERKLE_HASH_BYTES + 2];
	struct merkle_hash hash;

	(void)state;
	memset(hex, 'a', sizeof(hex));
	hex[2 * MERKLE_HASH_BYTES] = 0;
	assert_true(row_unhex(hex, &hash));
	assert_int_equal(hash.b[31], 0xaa);
	hex[9] = 'g';
	assert_false(row_unhex(hex, &hash));
	memset(hex, 'a', sizeof(hex));
	hex[2 * MERKLE_HASH_BYTES + 1] = 0;
	assert_false(row_unhex(hex, &hash));
	assert_false(row_unhex("", &hash));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_what_postgres_prints),    cmocka_unit_test(what_is_no_text_is_hex),
		cmocka_unit_test(unknown_codes_and_roles_have_names), cmocka_unit_test(what_is_no_leaf_is_no_row),
		cmocka_unit_test(text_is_utf8_in_its_shortest_form),  cmocka_unit_test(the_largest_batch_has_room),
		cmocka_unit_test(every_column_is_in_the_schema),      cmocka_unit_test(every_number_has_room),
		cmocka_unit_test(hex_is_a_hash_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
