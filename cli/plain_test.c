/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal could take for a command does not reach it, whichever way it is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cli/output.h"
#include "cli/plain.h"

static const struct {
	const char *text, *want;
} rows[] = {
	{"", ""},
	{"plain ~", "plain ~"},
	{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
	{"\xc2\xa0", "\xc2\xa0"},
	{"\x1b]0;a\x07", "?]0;a?"},
	{"a\tb\nc\rd\x7f", "a?b?c?d?"},
	{"\xc2\x9b"
	 "31m",
	 "??31m"}, /* CSI, of the second set */
	{"\x9b"
	 "31m",
	 "?31m"}, /* the same to a terminal that is set to Latin-1 */
	{"\xe2\x80\xae"
	 "gpj.exe",
	 "???gpj.exe"}, /* from right to left */
	{"\xe2\x81\xa6", "???"},
	{"\xc0\x9b"
	 "a",
	 "??a"}, /* not the shortest form */
	{"\xed\xa0\x80", "???"},
	{"\xf5\x80\x80\x80", "????"},
	{"a\xe2\x82", "a??"},
};

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *got = NULL, want[64];
		size_t len = 0;
		FILE *to = open_memstream(&got, &len);
		plain_line(to, "%s", rows[i].text);
		assert_int_equal(fclose(to), 0);
		(void)snprintf(want, sizeof(want), "%s\n", rows[i].want);
		assert_string_equal(got, want);
		free(got);
	}
}

/* What must come as it is, a receipt or an age file, is looked at as a whole. */
static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(plain_is_text(span_str(rows[i].text)), strcmp(rows[i].text, rows[i].want) == 0);
	assert_true(plain_is_text(SPAN_LIT("a\n\xe2\x80\x94 b\n")));
	assert_false(plain_is_text(SPAN_LIT("a\r\n")));
}

static void test_words(void **state)
{
	char *got = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&got, &len);

	(void)state;
	plain_word(to, SPAN_LIT("a b\x1b[m\xc3\xbc\xc2\x9b"));
	assert_int_equal(fclose(to), 0);
	assert_string_equal(got, "a?b?[m\xc3\xbc??");
	free(got);
}

static void test_cells(void **state)
{
	static const char *const heading[] = {"H"};
	struct table t;

	(void)state;
	table_init(&t, 1, heading);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		table_cell_str(&t, rows[i].text);
		assert_string_equal(t.cells[i + 1], rows[i].want);
	}
	table_deinit(&t);
}

/* Such as the name of a file in somebody's copy of a log. */
static void test_failures(void **state)
{
	char *got = NULL;
	size_t len = 0;
	struct cli cli = {.out = stdout, .err = open_memstream(&got, &len)};

	(void)state;
	assert_int_equal(cli_fail(&cli, "tile/%s", "\x1b[2Jgood"), CLI_FAILED);
	assert_int_equal(fclose(cli.err), 0);
	assert_string_equal(got, "bulkhead: tile/?[2Jgood\n");
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_texts),
					   cmocka_unit_test(test_words), cmocka_unit_test(test_cells),
					   cmocka_unit_test(test_failures)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
