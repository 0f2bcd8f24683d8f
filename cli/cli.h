/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command of `bulkhead` shares. A command is a row of the table in commands.c: words, arguments, options and
 * one line of meaning. From the row come the help, the completion, the check of the man page, and the reading of argv,
 * so a command finds its arguments counted and its options known.
 *
 * A command returns one of enum cli_exit. Whoever notices a failure prints one line that says what to do (cli_fail);
 * the callers only pass CLI_FAILED on.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"

enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1, /* refused or failed; one line was printed to standard error */
	CLI_USAGE = 2,  /* not a command; likewise */
};

#define CLI_OPTIONS_MAX 16
#define CLI_ARGS_MAX    16
#define CLI_REPEATS_MAX 16

struct cli;
struct config_tree;

struct cli_option {
	const char *name;  /* "--tenant", or "-f|--follow" */
	const char *value; /* "NAME" as in the help, "NAME..." if it may be repeated: see repeats; NULL: a flag */
	const char *doc;
};

struct cli_command {
	const char *words; /* "key create" */
	const char *args;  /* "NAME" as in the help, "" for none */
	size_t args_min, args_max;
	const char *doc;
	int (*run)(struct cli *cli);
	struct cli_option options[CLI_OPTIONS_MAX];
};

struct cli {
	const struct cli_command *command;
	const char *config_path; /* of -c; NULL: look in the usual places */
	bool json;               /* --json */
	const char *args[CLI_ARGS_MAX];
	size_t n_args;
	const char *options[CLI_OPTIONS_MAX]; /* by the command's rows; "" for a flag that is there; NULL: absent */
	const char *repeats[CLI_REPEATS_MAX]; /* values of the one option of a row that may be repeated */
	size_t n_repeats;
	struct config_tree *config; /* by cli_config() */
	FILE *out, *err;
};

/* Of the option of the command's row with this long name: its value, "" for a flag that was given, NULL when absent. */
const char *cli_option(const struct cli *cli, const char *name);
/* A number option within bounds, `absent` when it is not there. CLI_DONE or CLI_USAGE. */
MUST_USE int cli_option_u64(const struct cli *cli, const char *name, uint64_t min, uint64_t max, uint64_t absent,
			    uint64_t *ret_value);
enum cli_day { CLI_DAY_BEGINS, CLI_DAY_ENDS }; /* what a day alone means; one that has begun is still to come */
/* A time to come: "90d", "12h", "2027-01-31" (UTC) as Unix seconds; 0 when absent. CLI_DONE or CLI_USAGE. */
MUST_USE int cli_option_time(const struct cli *cli, const char *name, enum cli_day day, uint64_t *ret);
/* A number among the arguments. CLI_DONE or CLI_USAGE. */
MUST_USE int cli_arg_u64(const struct cli *cli, size_t which, const char *name, uint64_t *ret_value);
/* "bulkhead: ..." on standard error. Return CLI_FAILED and CLI_USAGE. */
int cli_fail(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
int cli_misuse(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);

/* Reads the configuration, once. CLI_DONE or CLI_FAILED. */
MUST_USE int cli_config(struct cli *cli);
/* After cli_config(): a value such as "bulkhead.state_dir" (paths are absolute), never NULL for keys of config.def. */
const char *cli_value(const struct cli *cli, const char *key);
uint64_t cli_value_u64(const struct cli *cli, const char *key);

/* Reads argv, and runs the command or prints help. Returns the exit status; `cli->config` is the caller's to free. */
MUST_USE int cli_run(struct cli *cli, int argc, char **argv);

/* Each program says who it is and has a table of its own: program.c and commands.c, or auditor.c. */
struct cli_program {
	const char *name;    /* "bulkhead" */
	const char *audit;   /* how its audit commands are called: "bulkhead audit" */
	const char *usage;   /* options that stand before a command */
	const char *options; /* what they are */
};
extern const struct cli_program cli_program;
extern const struct cli_command cli_commands[];
extern const size_t cli_n_commands;

int cmd_up(struct cli *cli);
int cmd_run(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_metrics(struct cli *cli);
int cmd_vault_init(struct cli *cli);
int cmd_vault_unseal(struct cli *cli);
int cmd_vault_seal(struct cli *cli);
int cmd_vault_status(struct cli *cli);
int cmd_vault_backup(struct cli *cli);
int cmd_vault_restore(struct cli *cli);
int cmd_vault_sync(struct cli *cli);
int cmd_vault_add(struct cli *cli);
int cmd_vault_list(struct cli *cli);
int cmd_vault_rm(struct cli *cli);
int cmd_vault_rotate(struct cli *cli);
int cmd_vault_grants(struct cli *cli), cmd_vault_revoke_grants(struct cli *cli);
int cmd_vault_import_fernet(struct cli *cli), cmd_vault_export_fernet(struct cli *cli);
int cmd_vault_rotate_fernet(struct cli *cli);
int cmd_key_create(struct cli *cli), cmd_key_list(struct cli *cli);
int cmd_key_revoke(struct cli *cli);
int cmd_audit_tail(struct cli *cli);
int cmd_audit_mirror_schema(struct cli *cli);
int cmd_audit_verify_mirror(struct cli *cli);
int cmd_audit_reveal(struct cli *cli);
int cmd_audit_erase(struct cli *cli);
int cmd_audit_retention(struct cli *cli);
int cmd_config_check(struct cli *cli);
int cmd_config_show(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_help(struct cli *cli);
