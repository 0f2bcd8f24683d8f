/* SPDX-License-Identifier: Apache-2.0 */
/* Fernet tokens in lines, of which each may fail by itself. */
#pragma once

#include "cli/credential.h"
#include "cli/locked.h"
#include "cli/output.h"

/* A line of standard input, NUL-terminated: its last word is a token; `before` is what precedes it. */
struct fernet_line {
	size_t number;
	char *before, *token;
	bool blank; /* or a comment; both are empty */
};

/* What is done with each line. Failures are printed to cli->err as anywhere, and find their way from there into the
 * report. `ret_done`: of a line that succeeded, for --json. */
typedef int fernet_each(struct cli *cli, void *ctx, const struct fernet_line *line, json_t **ret_done);

/*
 * Calls `each` for every line of standard input. A line that fails is reported with its number and does not keep the
 * others from being done; `echo`: it is printed as it came, so that an output never lacks what the input had. Prints
 * the report as JSON ("done", "failed") where that is asked for. CLI_DONE when no line failed.
 */
MUST_USE int fernet_lines(struct cli *cli, fernet_each *each, void *ctx, bool echo);
