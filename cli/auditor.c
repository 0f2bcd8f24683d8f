/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead-audit`: what an auditor needs, in one static program. It reads a copy of the log's folder, and knows
 * neither a configuration nor a daemon nor a network.
 */
#include <unistd.h>

#include "cli/audit.h"
#include "cli/args.h"
#include "cli/audit_reader.h"
#include "cli/receipt.h"

const struct cli_program cli_program = {
	.name = "bulkhead-audit",
	.audit = "bulkhead-audit",
	.usage = "[--json] ",
	.options = "      --json                    answers as JSON\n\n"
		   "Without --log, the present folder is taken for the log's.\n",
};

/* clang-format off */
const struct cli_command cli_commands[] = {
#define AUDIT(words, ...) { words, __VA_ARGS__ },
#include "cli/audit.def"
#undef AUDIT
	RECEIPT_VERIFY,
	{ "version", "", 0, 0, "Version and schema.", cmd_version, { { 0 } } },
	{ "help", "[COMMAND]", 0, 1, "This text, or a command's options.", cmd_auditor_help, { { 0 } } },
};
/* clang-format on */

const size_t cli_n_commands = ARRAY_LEN(cli_commands);

int audit_usual_folder(struct cli *cli, char to[AUDIT_FOLDER_BYTES_MAX])
{
	if (access("checkpoint", F_OK) != 0 && access("seg", F_OK) != 0)
		return cli_fail(cli, "the present folder is not a log's; name one with --log");
	(void)snprintf(to, AUDIT_FOLDER_BYTES_MAX, ".");
	return CLI_DONE;
}

int audit_online_open(struct cli *cli, struct audit_reader *r, bool *ret_used)
{
	(void)cli;
	(void)r;
	*ret_used = false;
	return CLI_DONE;
}

void audit_online_close(struct audit_reader *r)
{
	r->admin = NULL;
}

int cmd_auditor_help(struct cli *cli)
{
	return args_help(cli, cli->out, cli->args, cli->n_args);
}

int main(int argc, char **argv)
{
	struct cli cli = {.out = stdout, .err = stderr};

	return cli_run(&cli, argc, argv);
}
