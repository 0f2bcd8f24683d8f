/* SPDX-License-Identifier: Apache-2.0 */
/* What every program of the operator's does: print the one line of a failure. */
#include "cli/cli.h"

#include <stdarg.h>

#include "cli/plain.h"
#include "common/version.h"
#include "proto/proto.h"

PRINTF_LIKE(2, 0)
static void cli_say(const struct cli *cli, const char *format, va_list args)
{
	fflush(cli->out);
	fprintf(cli->err, "%s: ", cli_program.name);
	plain_vline(cli->err, format, args);
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_say(cli, format, args);
	va_end(args);
	return CLI_FAILED;
}

int cli_misuse(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_say(cli, format, args);
	va_end(args);
	return CLI_USAGE;
}

int cmd_version(struct cli *cli)
{
	unsigned long long schema = proto_schema_hash();

	if (cli->json)
		fprintf(cli->out, "{\"version\": \"%s\", \"schema\": \"%016llx\"}\n", BULKHEAD_VERSION, schema);
	else
		fprintf(cli->out, "%s %s, schema %016llx\n", cli_program.name, BULKHEAD_VERSION, schema);
	return CLI_DONE;
}
