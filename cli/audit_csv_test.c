/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cli/audit_csv.h"

static void expect(struct span text, const char *want)
{
	char *got = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&got, &len);

	audit_csv_text(to, text);
	(void)fclose(to);
	assert_string_equal(got, want);
	free(got);
}

/* The list of OWASP's page on CSV injection, and its neighbours. */
static void test_formulas(void **state)
{
	static const char *const bad[] = {
		"=1+1",
		"+1",
		"-1",
		"@sum(1)",
		"\t=1",
		"\r=1",
		"\n=1",
		"\v=1",
		"=",
		"  =1",
		"\xc2\xa0=1",
		"\xef\xbb\xbf+1",
		"\xe3\x80\x80@x",
		" \xc2\xa0 -1",
		"\xef\xbc\x9d"
		"1",
		"\xef\xbc\x8b"
		"1",
		"\xef\xbc\x8d"
		"1",
		"\xef\xbc\xa0"
		"x",
		"|calc",
		"%0A=1",
		"=cmd|' /C calc'!A0",
	};
	static const char *const good[] = {"", "a=1", "key_1", "1-1", "gpt-4o", "/v1/chat", "\xef\xbc", "\xc2", "'=1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!audit_csv_is_formula(span_str(bad[i])))
			fail_msg("not seen: %s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (audit_csv_is_formula(span_str(good[i])))
			fail_msg("not a formula: %s", good[i]);
}

static void test_text(void **state)
{
	(void)state;
	expect(SPAN_LIT("plain"), "\"plain\"");
	expect(SPAN_LIT(""), "\"\"");
	expect(SPAN_LIT("a \"b\", c\r\nd"), "\"a \"\"b\"\", c\r\nd\"");
	expect(SPAN_LIT("=\"x\""), "\"'=\"\"x\"\"\"");
	expect(SPAN_LIT("a\0b"), "\"a?b\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_formulas), cmocka_unit_test(test_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
