/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead`: the table in commands.c says what it can do; this file finds the row and runs it. */
#include <stdarg.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/config_tree.h"

int main(int argc, char **argv)
{
	struct cli cli = {.out = stdout, .err = stderr};
	bool help;
	int r = args_parse(&cli, argc, argv, &help);

	if (r == CLI_USAGE && !help)
		return r;
	if (help) {
		int h = args_help(&cli, r ? stderr : stdout, cli.args, cli.n_args);
		return h ? h : r;
	}
	r = cli.command->run(&cli);
	config_tree_free(cli.config);
	if (fflush(cli.out) != 0 && r == CLI_DONE)
		r = cli_fail(&cli, "standard output: %m");
	return r;
}
