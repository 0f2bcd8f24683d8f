/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/token_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static uint8_t work[2 * TOKEN_BYTES_MAX];

static struct token_answer good(const char *body)
{
	struct token_answer a;

	if (token_answer_read(span_str(body), work, &a))
		fail_msg("refused: %s", body);
	return a;
}

static void answers(void **state)
{
	struct token_answer a;

	(void)state;
	/* RFC 6749 5.1 */
	a = good("{\"access_token\":\"2YotnFZFEjr1zCsicMWpAA\",\"token_type\":\"Bearer\",\"expires_in\":3600,"
		 "\"refresh_token\":\"tGzv3JOkF0XG5Qx2TlKWIA\",\"example_parameter\":\"example_value\"}");
	assert_true(span_eq_str(a.token, "2YotnFZFEjr1zCsicMWpAA"));
	assert_true(span_eq_str(a.refresh, "tGzv3JOkF0XG5Qx2TlKWIA"));
	assert_int_equal(a.life_s, 3600);
	a = good(" {\"token_type\":\"bearer\",\"x\":{\"access_token\":\"inner\",\"y\":[1,{\"access_token\":\"deep\"},"
		 "\"]}\"]},"
		 "\"access_token\":\"a\\u0062\\/c\" , \"expires_in\":\"3599\",\"refresh_token\":null}\n");
	assert_true(span_eq_str(a.token, "ab/c"));
	assert_int_equal(a.refresh.len, 0);
	assert_int_equal(a.life_s, 3599);
	assert_int_equal(good("{\"token_type\":\"BEARER\",\"access_token\":\"a\"}").life_s, TOKEN_LIFE_S_ABSENT);
	assert_int_equal(good("{\"token_type\":\"Bearer\",\"access_token\":\"a\",\"expires_in\":999999999}").life_s,
			 TOKEN_LIFE_S_MAX);
}

/* The tokens are worth more than what is said of their life. */
static void lives_that_are_none(void **state)
{
	static const char *const texts[] = {"-1",   "0",    "1.5",  "3599.0", "\"soon\"",
					    "\"\"", "null", "true", "[1]",    "{}"};
	char body[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		(void)snprintf(
			body, sizeof(body),
			"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"refresh_token\":\"b\",\"expires_in\":%s}",
			texts[i]);
		struct token_answer a = good(body);
		assert_int_equal(a.life_s, TOKEN_LIFE_S_ABSENT);
		assert_true(span_eq_str(a.refresh, "b"));
	}
	assert_int_equal(
		good("{\"token_type\":\"bearer\",\"access_token\":\"a\",\"expires_in\":99999999999999999999}").life_s,
		TOKEN_LIFE_S_MAX);
}

static void no_answers(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"\"access_token\"",
		"{}",
		"{\"access_token\":\"a\"}",
		"{\"access_token\":\"a\",\"token_type\":\"mac\"}",
		"{\"access_token\":\"a\",\"token_type\":7}",
		"{\"access_token\":\"a\",\"token_type\":\"bearer\",\"token_type\":\"bearer\"}",
		"{\"token_type\":\"bearer\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"\"}",
		"{\"token_type\":\"bearer\",\"access_token\":null}",
		"{\"token_type\":\"bearer\",\"access_token\":17}",
		"{\"token_type\":\"bearer\",\"access_token\":[\"a\"]}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a b\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\\r\\nhost: x\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\\u0000\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"\\u00e4\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"access_token\":\"b\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"refresh_token\":\"\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"refresh_token\":\"b\",\"refresh_token\":\"c\"}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"refresh_token\":{}}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\",\"expires_in\":1,\"expires_in\":2}",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\"} trailing",
		"{\"token_type\":\"bearer\",\"access_token\":\"a\"",
		"<html>bearer</html>",
	};
	struct token_answer a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (token_answer_read(span_str(bad[i]), work, &a) != TOKEN_ANSWER_E_INVALID)
			fail_msg("accepted: %s", bad[i]);
}

static void bounds(void **state)
{
	static const char head[] = "{\"token_type\":\"bearer\",\"access_token\":\"";
	size_t begin = sizeof(head) - 1;
	char *body = malloc(TOKEN_ANSWER_BYTES_MAX + 64);
	struct token_answer a;

	(void)state;
	memcpy(body, head, begin);
	memset(body + begin, 'x', TOKEN_BYTES_MAX + 1);
	memcpy(body + begin + TOKEN_BYTES_MAX, "\"}", 3);
	assert_int_equal(token_answer_read(span_str(body), work, &a), 0);
	assert_int_equal(a.token.len, TOKEN_BYTES_MAX);
	body[begin + TOKEN_BYTES_MAX] = 'x';
	memcpy(body + begin + TOKEN_BYTES_MAX + 1, "\"}", 3);
	assert_int_equal(token_answer_read(span_str(body), work, &a), TOKEN_ANSWER_E_INVALID);
	memcpy(body + begin, "x\"}", 3);
	memset(body + begin + 3, ' ', TOKEN_ANSWER_BYTES_MAX);
	assert_int_equal(token_answer_read(span_of(body, TOKEN_ANSWER_BYTES_MAX), work, &a), 0);
	assert_int_equal(token_answer_read(span_of(body, TOKEN_ANSWER_BYTES_MAX + 1), work, &a),
			 TOKEN_ANSWER_E_INVALID);
	free(body);
}

static void errors(void **state)
{
	char word[TOKEN_ERROR_BYTES + 1];

	(void)state;
	token_answer_error(SPAN_LIT("{\"error\":\"invalid_grant\",\"error_description\":\"Bad \\\"x\\\"\"}"), word);
	assert_string_equal(word, "invalid_grant");
	token_answer_error(SPAN_LIT("{\"error\":{\"code\":400}}"), word);
	assert_string_equal(word, "");
	token_answer_error(SPAN_LIT("{\"error\":\"<script>\"}"), word);
	assert_string_equal(word, "");
	token_answer_error(SPAN_LIT("{\"error\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"), word);
	assert_string_equal(word, "");
	token_answer_error(SPAN_LIT("nonsense"), word);
	assert_string_equal(word, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),    cmocka_unit_test(lives_that_are_none),
		cmocka_unit_test(no_answers), cmocka_unit_test(bounds),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
