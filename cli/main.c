/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead`: the table in commands.c says what it can do. */
#include "cli/cli.h"
#include "cli/config_tree.h"

int main(int argc, char **argv)
{
	struct cli cli = {.out = stdout, .err = stderr};
	int r = cli_run(&cli, argc, argv);

	config_tree_free(cli.config);
	return r;
}
