/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines and what they come to. The commands themselves are not run. */
#include "cli/args.h"
#include "tests/support/within.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#define WORDS_MAX 12

static FILE *sink;

/* Splits `line` at blanks. */
static int parse(char *line, struct cli *ret_cli, bool *ret_help)
{
	char *argv[WORDS_MAX] = {(char[]){"bulkhead"}};
	int argc = 1;

	for (char *word = strtok_r(line, " ", &line); word && argc < WORDS_MAX; word = strtok_r(NULL, " ", &line))
		argv[argc++] = word;
	*ret_cli = (struct cli){.out = sink, .err = sink};
	return args_parse(ret_cli, argc, argv, ret_help);
}

static void test_commands(void **state)
{
	struct cli cli;
	bool help;

	(void)state;
	assert_int_equal(parse((char[]){"up -c x.yaml"}, &cli, &help), CLI_DONE);
	assert_string_equal(cli.command->words, "up");
	assert_string_equal(cli.config_path, "x.yaml");
	assert_int_equal(parse((char[]){"-c x.yaml vault add openai --file=k --json"}, &cli, &help), CLI_DONE);
	assert_string_equal(cli.command->words, "vault add");
	assert_string_equal(cli.args[0], "openai");
	assert_string_equal(cli_option(&cli, "--file"), "k");
	assert_true(cli.json);
	assert_int_equal(parse((char[]){"audit tail -f"}, &cli, &help), CLI_DONE);
	assert_string_equal(cli_option(&cli, "--follow"), "");
	assert_null(cli_option(&cli, "--from"));
	assert_int_equal(parse((char[]){"key revoke -- -odd"}, &cli, &help), CLI_DONE);
	assert_string_equal(cli.args[0], "-odd");
	assert_int_equal(parse((char[]){"-c x --version --json"}, &cli, &help), CLI_DONE);
	assert_string_equal(cli.command->words, "version");
	assert_true(cli.json && !help);
	assert_int_equal(parse((char[]){"key create --version"}, &cli, &help), CLI_USAGE); /* no option of that one */
}

static void test_numbers(void **state)
{
	struct cli cli;
	bool help;
	uint64_t n;

	(void)state;
	assert_int_equal(parse((char[]){"key create --rpm 600"}, &cli, &help), CLI_DONE);
	assert_int_equal(cli_option_u64(&cli, "--rpm", 1, 1000, 5, &n), CLI_DONE);
	assert_int_equal(n, 600);
	assert_int_equal(cli_option_u64(&cli, "--rpm", 1, 599, 5, &n), CLI_USAGE);
	assert_int_equal(parse((char[]){"key create"}, &cli, &help), CLI_DONE);
	assert_int_equal(cli_option_u64(&cli, "--rpm", 1, 1000, 5, &n), CLI_DONE);
	assert_int_equal(n, 5);
	assert_int_equal(parse((char[]){"key create --rpm -1"}, &cli, &help), CLI_DONE);
	assert_int_equal(cli_option_u64(&cli, "--rpm", 1, 1000, 5, &n), CLI_USAGE);
}

/* What `line` says of its option: Unix seconds, 0 when it is refused. */
static uint64_t time_of(const char *option, enum cli_day day, const char *value)
{
	char line[64];
	struct cli cli;
	uint64_t at = 0;
	bool help;

	(void)snprintf(line, sizeof(line), "vault add openai %s %s", option, value);
	assert_int_equal(parse(line, &cli, &help), CLI_DONE);
	return cli_option_time(&cli, option, day, &at) ? 0 : at;
}

static void test_a_day_is_valid_from_its_begin_and_until_its_end(void **state)
{
	uint64_t now = (uint64_t)time(NULL);
	char today[16];

	(void)state;
	assert_int_equal(time_of("--valid-from", CLI_DAY_BEGINS, "2100-03-01"), 4107542400);
	assert_int_equal(time_of("--valid-until", CLI_DAY_ENDS, "2100-03-01"), 4107542400 + 86400);
	assert_within(time_of("--valid-until", CLI_DAY_ENDS, "12h"), now + 12 * 3600, now + 12 * 3600 + 60);
	(void)strftime(today, sizeof(today), "%Y-%m-%d", gmtime(&(time_t){(time_t)now}));
	assert_within(time_of("--valid-from", CLI_DAY_BEGINS, today), 1, now);
	assert_int_equal(time_of("--valid-from", CLI_DAY_BEGINS, "2020-01-01"), 0);
	assert_int_equal(time_of("--valid-until", CLI_DAY_ENDS, "2020-01-01"), 0);
}

static void test_a_day_that_is_none(void **state)
{
	(void)state;
	assert_int_equal(time_of("--valid-until", CLI_DAY_ENDS, "2099-02-30"), 0);
	assert_int_equal(time_of("--valid-until", CLI_DAY_ENDS, "2099-02-29"), 0);
	assert_int_not_equal(time_of("--valid-until", CLI_DAY_ENDS, "2096-02-29"), 0);
	assert_int_equal(time_of("--valid-until", CLI_DAY_ENDS, "2099-01-31x"), 0);
}

static void test_misuse(void **state)
{
	static const char *const wrong[] = {
		"vault add",
		"vault add a b",
		"status x",
		"key create --rpm",
		"key create --rmp 1",
		"up --follow",
		"audit tail --follow=yes",
		"vault list -x",
		"up -c",
		"key create a b c d e f",
		"--rpm 5 key create",
	};
	struct cli cli;
	bool help;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char *line = strdup(wrong[i]);

		if (parse(line, &cli, &help) != CLI_USAGE)
			fail_msg("accepted: %s", wrong[i]);
		free(line);
	}
}

static void test_help(void **state)
{
	struct cli cli;
	bool help;

	(void)state;
	assert_int_equal(parse((char[]){""}, &cli, &help), CLI_USAGE);
	assert_true(help && cli.n_args == 0);
	assert_int_equal(parse((char[]){"vault"}, &cli, &help), CLI_USAGE);
	assert_true(help && cli.n_args == 1);
	assert_int_equal(args_help(&cli, sink, cli.args, cli.n_args), CLI_DONE);
	assert_int_equal(parse((char[]){"vault add --help"}, &cli, &help), CLI_DONE);
	assert_true(help && cli.n_args == 2);
	assert_int_equal(parse((char[]){"vault ad"}, &cli, &help), CLI_USAGE);
	assert_int_equal(args_help(&cli, sink, cli.args, cli.n_args), CLI_USAGE);
}

/* Two columns, whatever is in the table. */
static void test_help_is_in_columns(void **state)
{
	static const char *const topics[][2] = {{NULL}, {"vault", "rotate"}, {"vault", "import-fernet"}};
	char *text = NULL, *rest;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
		struct cli cli = {.err = sink};
		FILE *to = open_memstream(&text, &len);
		assert_int_equal(args_help(&cli, to, topics[i], topics[i][0] ? 2 : 0), CLI_DONE);
		(void)fclose(to);
		rest = strchr(text, '\n') + 1; /* below "usage: ..." */
		for (char *line; (line = strtok_r(rest, "\n", &rest));)
			if (strlen(line) > 32 && (strncmp(line + 30, "  ", 2) != 0 || line[32] == ' '))
				fail_msg("'%s'", line);
		free(TAKE(text));
	}
}

/* The table keeps what the parser counts on. */
static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < cli_n_commands; i++) {
		const struct cli_command *c = &cli_commands[i];

		assert_true(c->args_min <= c->args_max && c->args_max <= CLI_ARGS_MAX);
		assert_true((c->args_max > 0) == (c->args[0] != 0));
		for (size_t o = 0; o < CLI_OPTIONS_MAX && c->options[o].name; o++)
			assert_non_null(strstr(c->options[o].name, "--"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_a_day_is_valid_from_its_begin_and_until_its_end),
		cmocka_unit_test(test_a_day_that_is_none),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_is_in_columns),
		cmocka_unit_test(test_table),
	};
	int r;

	sink = fopen("/dev/null", "w");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fclose(sink);
	return r;
}
