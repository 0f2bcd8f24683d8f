/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

const struct cli_program cli_program = {
	.name = "bulkhead",
	.audit = "bulkhead audit",
	.usage = "[-c FILE] [--json] ",
	.options = "  -c, --config FILE             bulkhead.yaml; else $BULKHEAD_CONFIG, ./bulkhead.yaml, "
		   "/etc/bulkhead/bulkhead.yaml\n"
		   "      --json                    answers as JSON\n"
		   "      --version                 as `bulkhead version`\n",
};
