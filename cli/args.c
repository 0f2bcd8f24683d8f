/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading argv. A command is one or two words; -c, --json and --help may stand anywhere, a command's own options after
 * its words. `--name value` and `--name=value` are the same; `--` ends the options.
 */
#include "cli/args.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ARGS_LEFT_COLUMNS 30 /* of the help */

struct args {
	struct cli *cli;
	char **at, **end;
	size_t n_words, words_taken; /* of the command */
	bool help, literal;          /* literal: after -- */
};

/* Does `spec` ("-f|--follow") name `token`, up to `len`? */
static bool args_option_is(const char *spec, const char *token, size_t len)
{
	for (; *spec; spec += *spec == '|') {
		size_t n = strcspn(spec, "|");

		if (n == len && memcmp(spec, token, n) == 0)
			return true;
		spec += n;
	}
	return false;
}

static bool args_is_config(const char *token)
{
	return strcmp(token, "-c") == 0 || strcmp(token, "--config") == 0;
}

/* Which command the first words name; NULL and their count when none. */
static const struct cli_command *args_command(char **argv, char **end, const char *words[2], size_t *ret_n)
{
	size_t n = 0;
	char both[64];

	for (; argv < end && n < 2; argv++) {
		if (args_is_config(*argv))
			argv++;
		else if (**argv != '-')
			words[n++] = *argv;
	}
	*ret_n = n;
	snprintf(both, sizeof(both), "%s %s", n > 0 ? words[0] : "", n > 1 ? words[1] : "");
	for (size_t i = 0; i < cli_n_commands; i++)
		if (n > 0 &&
		    (strcmp(cli_commands[i].words, both) == 0 || strcmp(cli_commands[i].words, words[0]) == 0)) {
			*ret_n = strchr(cli_commands[i].words, ' ') ? 2 : 1;
			return &cli_commands[i];
		}
	return NULL;
}

/* The value of the option in hand: behind its '=', or the next token. */
static const char *args_value(struct args *a, const char *equals)
{
	if (equals)
		return equals + 1;
	return a->at < a->end ? *a->at++ : NULL;
}

/* Not nothing, but for a TEXT: `--tenant "$TENANT"` without that variable would mean everybody's. And not two, of which
 * one would count. */
static int args_keep_value(struct args *a, size_t i, const char *token, const char *value)
{
	const struct cli_option *o = &a->cli->command->options[i];
	bool repeats = strstr(o->value, "...") != NULL;

	if (!value)
		return cli_misuse(a->cli, "%s needs %s", token, o->value);
	if (!*value && strcmp(o->value, "TEXT") != 0)
		return cli_misuse(a->cli, "%s is empty: it needs %s", o->name, o->value);
	if (a->cli->options[i] && !repeats)
		return cli_misuse(a->cli, "%s is given twice; it takes one %s", o->name, o->value);
	if (repeats && a->cli->n_repeats == CLI_REPEATS_MAX)
		return cli_misuse(a->cli, "%s more than %d times", token, CLI_REPEATS_MAX);
	if (repeats)
		a->cli->repeats[a->cli->n_repeats++] = value;
	a->cli->options[i] = value;
	return CLI_DONE;
}

static int args_own_option(struct args *a, const char *token, size_t len, const char *equals)
{
	const struct cli_command *c = a->cli->command;

	for (size_t i = 0; c && i < CLI_OPTIONS_MAX && c->options[i].name; i++) {
		if (!args_option_is(c->options[i].name, token, len))
			continue;
		if (!c->options[i].value && equals)
			return cli_misuse(a->cli, "%.*s takes no value", (int)len, token);
		if (c->options[i].value)
			return args_keep_value(a, i, token, args_value(a, equals));
		a->cli->options[i] = "";
		return CLI_DONE;
	}
	return cli_misuse(a->cli, "no option '%s' here; see `%s help%s%s`", token, cli_program.name, c ? " " : "",
			  c ? c->words : "");
}

/* `--version`, as everybody types it: the command of that name. */
static bool args_is_version(struct args *a, const char *token)
{
	if (a->cli->command || strcmp(token, "--version") != 0)
		return false;
	for (size_t i = 0; i < cli_n_commands; i++)
		if (strcmp(cli_commands[i].words, "version") == 0)
			a->cli->command = &cli_commands[i];
	return a->cli->command != NULL;
}

static int args_option(struct args *a, const char *token)
{
	const char *equals = strncmp(token, "--", 2) == 0 ? strchr(token, '=') : NULL;
	size_t len = equals ? (size_t)(equals - token) : strlen(token);

	if (args_option_is("-c|--config", token, len)) {
		a->cli->config_path = args_value(a, equals);
		return a->cli->config_path && *a->cli->config_path
			       ? CLI_DONE
			       : cli_misuse(a->cli, "%.*s needs a file", (int)len, token);
	}
	if (strcmp(token, "--json") == 0)
		a->cli->json = true;
	else if (strcmp(token, "--help") == 0 || strcmp(token, "-h") == 0)
		a->help = true;
	else if (strcmp(token, "--") == 0)
		a->literal = true;
	else if (!args_is_version(a, token))
		return args_own_option(a, token, len, equals);
	return CLI_DONE;
}

static int args_token(struct args *a, const char *token)
{
	struct cli *cli = a->cli;

	if (!a->literal && token[0] == '-' && token[1])
		return args_option(a, token);
	if (a->words_taken < a->n_words) {
		a->words_taken++;
		return CLI_DONE;
	}
	if (cli->n_args == CLI_ARGS_MAX)
		return cli_misuse(cli, "too many arguments");
	cli->args[cli->n_args++] = token;
	return CLI_DONE;
}

static int args_count(const struct cli *cli)
{
	const struct cli_command *c = cli->command;

	if (cli->n_args < c->args_min)
		return cli_misuse(cli, "`%s %s` needs %s", cli_program.name, c->words, c->args);
	if (cli->n_args > c->args_max)
		return cli_misuse(cli, "`%s %s` takes %s; '%s' is too much; see `%s help %s`", cli_program.name,
				  c->words, c->args_max ? c->args : "no argument", cli->args[c->args_max],
				  cli_program.name, c->words);
	return CLI_DONE;
}

int args_parse(struct cli *cli, int argc, char **argv, bool *ret_help)
{
	struct args a = {.cli = cli, .at = argv + 1, .end = argv + argc};
	const char *words[2] = {NULL, NULL};
	size_t n;

	cli->command = args_command(a.at, a.end, words, &n);
	a.n_words = n;
	while (a.at < a.end) {
		int r = args_token(&a, *a.at++);

		if (r)
			return r;
	}
	*ret_help = a.help || !cli->command;
	if (!*ret_help)
		return args_count(cli);
	memcpy(cli->args, words, sizeof(words));
	cli->n_args = n;
	return a.help ? CLI_DONE : CLI_USAGE;
}

/*
 * Who is started without one of the first three descriptors would open a socket or a file of its own in its place, and
 * write there what a person is told. What stands in now fails as one that is closed.
 */
static void args_fill_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) /* children have it, too */
			_exit(CLI_FAILED);
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	bool help;

	args_fill_descriptors();
	int r = args_parse(cli, argc, argv, &help);

	if (r == CLI_USAGE && !help)
		return r;
	if (help) {
		int h = args_help(cli, r ? cli->err : cli->out, cli->args, cli->n_args);
		r = h ? h : r;
	} else {
		r = cli->command->run(cli);
	}
	if (fflush(cli->out) != 0 && r == CLI_DONE)
		r = cli_fail(cli, "standard output: %m");
	else if (ferror(cli->out) && r == CLI_DONE) /* in an earlier flush, which has lost what it was about */
		r = cli_fail(cli, "standard output: not all of it could be written");
	return r;
}

/* ---- help ---- */

static bool args_begins(const struct cli_command *c, const char *const *words, size_t n)
{
	const char *rest = c->words;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(words[i]);

		if (strncmp(rest, words[i], len) != 0 || (rest[len] != ' ' && rest[len] != 0))
			return false;
		rest += len + (rest[len] == ' ');
	}
	return true;
}

/* Two columns; what is too wide for the first one has a line of its own. */
static void args_print_row(FILE *to, int indent, const char *name, const char *value, const char *doc)
{
	char left[128];
	int n = snprintf(left, sizeof(left), "%*s%s%s%s", indent, "", name, value && *value ? " " : "",
			 value ? value : "");

	if (n > ARGS_LEFT_COLUMNS)
		fprintf(to, "%s\n%*s%s\n", left, ARGS_LEFT_COLUMNS + 2, "", doc);
	else
		fprintf(to, "%-*s%s\n", ARGS_LEFT_COLUMNS + 2, left, doc);
}

static void args_print_command(FILE *to, const struct cli_command *c, bool options)
{
	args_print_row(to, 2, c->words, c->args, c->doc);
	for (size_t i = 0; options && i < CLI_OPTIONS_MAX && c->options[i].name; i++)
		args_print_row(to, 6, c->options[i].name, c->options[i].value, c->options[i].doc);
}

static bool args_known(const char *const *words, size_t n_words)
{
	for (size_t i = 0; i < cli_n_commands; i++)
		if (args_begins(&cli_commands[i], words, n_words))
			return true;
	return false;
}

int args_help(const struct cli *cli, FILE *to, const char *const *words, size_t n_words)
{
	bool known = args_known(words, n_words), near = n_words > 1 && args_known(words, 1);

	if (!known)
		return cli_misuse(cli, "no command '%s%s%s'; see `%s help%s%s`", words[0], n_words > 1 ? " " : "",
				  n_words > 1 ? words[1] : "", cli_program.name, near ? " " : "", near ? words[0] : "");
	fprintf(to, "usage: %s %sCOMMAND\n\n", cli_program.name, cli_program.usage);
	for (size_t i = 0; i < cli_n_commands; i++)
		if (args_begins(&cli_commands[i], words, n_words))
			args_print_command(to, &cli_commands[i], n_words > 0);
	fprintf(to, "\n%s", cli_program.options);
	return CLI_DONE;
}

/* ---- for commands ---- */

const char *cli_option(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < CLI_OPTIONS_MAX && cli->command->options[i].name; i++)
		if (args_option_is(cli->command->options[i].name, name, strlen(name)))
			return cli->options[i];
	abort(); /* not an option of the command's row: a defect of ours */
}

const char *args_calendar(const char *text, const char *form, uint64_t *ret)
{
	struct tm tm = {0};
	const char *end = text[0] >= '0' && text[0] <= '9' ? strptime(text, form, &tm) : NULL;
	int named = tm.tm_mday;
	time_t at = timegm(&tm); /* which makes the 2nd of March of a 30th of February */

	*ret = (uint64_t)MAX(at, 0);
	return end && at >= 0 && tm.tm_mday == named ? end : NULL;
}

int cli_option_time(const struct cli *cli, const char *name, enum cli_day day, uint64_t *ret)
{
	const char *text = cli_option(cli, name);
	uint64_t at = 0, over = 0;
	const char *behind;
	char *end;

	if (text) {
		unsigned long n = strtoul(text, &end, 10);
		uint64_t now = (uint64_t)time(NULL);

		if (text[0] >= '0' && text[0] <= '9' && n > 0 && n <= 36500 && strcmp(end, "d") == 0)
			at = over = now + n * 86400;
		else if (text[0] >= '0' && text[0] <= '9' && n > 0 && n <= 876000 && strcmp(end, "h") == 0)
			at = over = now + n * 3600;
		else if ((behind = args_calendar(text, "%Y-%m-%d", &at)) && !*behind) {
			over = at + 86400;
			at = day == CLI_DAY_ENDS ? over : at;
		}
		if (over > UINT32_MAX)
			return cli_misuse(cli, "%s must be before 2106-02-07", name); /* seconds of 32 bits */
		if (over <= now)
			return cli_misuse(cli, "%s must be a time to come, such as 90d, 12h or 2027-01-31", name);
	}
	*ret = at;
	return CLI_DONE;
}

int cli_arg_u64(const struct cli *cli, size_t which, const char *name, uint64_t *ret_value)
{
	const char *text = cli->args[which];
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		return cli_misuse(cli, "%s must be a number; '%s' is none", name, text);
	*ret_value = n;
	return CLI_DONE;
}

int cli_option_u64(const struct cli *cli, const char *name, uint64_t min, uint64_t max, uint64_t absent,
		   uint64_t *ret_value)
{
	const char *text = cli_option(cli, name);
	unsigned long long n;
	char *end;

	if (!text) {
		*ret_value = absent;
		return CLI_DONE;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n < min || n > max)
		return cli_misuse(cli, "%s must be a number from %llu to %llu", name, (unsigned long long)min,
				  (unsigned long long)max);
	*ret_value = n;
	return CLI_DONE;
}
