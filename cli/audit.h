/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of audit.def, which both programs have. */
#pragma once

#include "cli/cli.h"

#define AUDIT(words, args, least, most, doc, run, ...) int run(struct cli *cli);
#include "cli/audit.def"
#undef AUDIT
/* The auditor's own. */
int cmd_auditor_help(struct cli *cli);
