/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard input, line by line. While a line is worked on, what commands say about failures goes into a string instead
 * of standard error: it becomes the line's report.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/fernet.h"

#define LINES_SAY "bulkhead: " /* what cli_fail() begins with */

struct lines {
	struct cli *cli;
	json_t *done, *failed;
	size_t n_done, n_failed;
	bool echo, progress;
};

/* Splits in place; ends of lines and blanks around are dropped. */
static struct fernet_line lines_split(char *text, size_t number)
{
	static const char blanks[] = " \t\r\n";
	struct fernet_line line = {.number = number};
	char *end = text + strlen(text);

	while (end > text && strchr(blanks, end[-1]))
		*--end = 0;
	text += strspn(text, blanks);
	line.blank = !*text || *text == '#';
	line.before = line.token = end;
	if (line.blank)
		return line;
	while (line.token > text && !strchr(blanks, line.token[-1]))
		line.token--;
	if (line.token > text) {
		line.before = text;
		line.token[-1] = 0;
		for (char *p = line.token - 1; p > text && strchr(blanks, p[-1]);)
			*--p = 0;
	}
	return line;
}

/* The only place that counts a line, and says why it failed. */
static void lines_count(struct lines *l, const struct fernet_line *line, int r, const char *said, json_t *done)
{
	if (l->progress)
		fputs("\r\033[K", l->cli->err);
	l->n_done += !r;
	l->n_failed += r != CLI_DONE;
	if (!r) {
		json_array_append_new(l->done, done ? done : json_object());
	} else {
		size_t skip = strncmp(said, LINES_SAY, strlen(LINES_SAY)) == 0 ? strlen(LINES_SAY) : 0;
		int len = (int)strcspn(said + skip, "\n");
		json_array_append_new(l->failed, json_pack("{s:I,s:o}", "line", (json_int_t)line->number, "error",
							   json_span(span_of(said + skip, (size_t)len))));
		cli_fail(l->cli, "line %zu: %.*s", line->number, len, said + skip);
	}
	if (l->progress)
		fprintf(l->cli->err, "%zu done, %zu failed", l->n_done, l->n_failed);
}

static int lines_one(struct lines *l, fernet_each *each, void *ctx, const struct fernet_line *line)
{
	FILE *err = l->cli->err;
	json_t *done = NULL;
	char *said = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&said, &len);

	if (!to)
		return cli_fail(l->cli, "memory: %s", strerror(errno));
	l->cli->err = to;
	int r = each(l->cli, ctx, line, &done);
	l->cli->err = err;
	fclose(to);
	lines_count(l, line, r, said, done);
	free(said);
	return r;
}

/* Works on a copy, since a line that failed may have to be printed as it came. */
static int lines_text(struct lines *l, fernet_each *each, void *ctx, const char *text, size_t number)
{
	char *copy = strdup(text);

	if (!copy)
		return cli_fail(l->cli, "memory: %s", strerror(errno));
	struct fernet_line line = lines_split(copy, number);
	int r = line.blank ? CLI_FAILED : lines_one(l, each, ctx, &line);
	if (r && l->echo && !l->cli->json)
		fputs(text, l->cli->out);
	explicit_bzero(copy, strlen(text));
	free(copy);
	return CLI_DONE;
}

static int lines_report(struct lines *l)
{
	if (l->progress)
		fputc('\n', l->cli->err);
	if (l->cli->json && cli_print_json(l->cli, json_pack("{s:O,s:O}", "done", l->done, "failed", l->failed)))
		return CLI_FAILED;
	if (fflush(l->cli->out) || ferror(l->cli->out))
		return cli_fail(l->cli, "the output could not be written: %s", strerror(errno));
	if (l->n_failed)
		return cli_fail(l->cli, "%zu done, %zu failed; those that failed can be tried again by themselves",
				l->n_done, l->n_failed);
	return l->n_done ? CLI_DONE : cli_fail(l->cli, "no token on standard input; nothing was done");
}

int fernet_lines(struct cli *cli, fernet_each *each, void *ctx, bool echo)
{
	struct lines l = {.cli = cli,
			  .done = json_array(),
			  .failed = json_array(),
			  .echo = echo,
			  .progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO)};
	char *text = NULL;
	size_t cap = 0;
	int r = CLI_DONE;

	for (size_t number = 1; !r && getline(&text, &cap, stdin) >= 0; number++)
		r = lines_text(&l, each, ctx, text, number);
	free(text);
	if (!r && ferror(stdin))
		r = cli_fail(cli, "reading standard input: %s", strerror(errno));
	int reported = lines_report(&l);
	json_decref(l.done);
	json_decref(l.failed);
	return r ? r : reported;
}
