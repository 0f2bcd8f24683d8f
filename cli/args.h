/* SPDX-License-Identifier: Apache-2.0 */
/* argv by the command table, and the help that comes from it. */
#pragma once

#include "cli/cli.h"

/*
 * Fills command, arguments and options; argv's strings are kept. CLI_DONE, CLI_USAGE with a line printed, or CLI_DONE
 * with *ret_help: then the help of `cli->args` is wanted, and nothing else.
 */
MUST_USE int args_parse(struct cli *cli, int argc, char **argv, bool *ret_help);
/* The commands whose words begin with these. CLI_DONE, or CLI_USAGE when there are none. */
MUST_USE int args_help(const struct cli *cli, FILE *to, const char *const *words, size_t n_words);
/* A time of the calendar, UTC, in a form of strptime(3), as Unix seconds: what stands behind it, or NULL. */
const char *args_calendar(const char *text, const char *form, uint64_t *ret);
