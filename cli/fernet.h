/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands about Fernet tokens share: keys in locked memory, lines of which each may fail by itself. */
#pragma once

#include "cli/credential.h"
#include "cli/locked.h"
#include "cli/output.h"

#define FERNET_KEY_CHARS 44 /* as in FERNET_KEY */
#define FERNET_KEYS_MAX  8

/* Views into the file's text, for VAULT_IMPORT_FERNET and its like. */
struct fernet_keys {
	struct locked text;
	struct proto_fernet_key item[FERNET_KEYS_MAX];
	size_t n;
};

/* From --keys-file, else from the terminal. CLI_DONE, or CLI_FAILED with the line printed; then there is nothing to
 * wipe. */
MUST_USE int fernet_keys_read(struct cli *cli, struct fernet_keys *ret_keys);
void fernet_keys_wipe(struct fernet_keys *k);
struct proto_list fernet_keys_list(const struct fernet_keys *k);

/* ---- fernet_lines.c ---- */

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
