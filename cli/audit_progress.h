/* SPDX-License-Identifier: Apache-2.0 */
/* A bar on standard error, where that is a terminal and something long goes on. */
#pragma once

#include "cli/cli.h"

struct audit_progress {
	const struct cli *cli;
	bool on;
	int shown; /* percent; -1: nothing yet */
};

/* `wanted`: the output does not go to the same terminal. */
void audit_progress_init(struct audit_progress *p, const struct cli *cli, bool wanted);
/* Cheap: prints when the percentage has changed. */
void audit_progress_show(struct audit_progress *p, uint64_t done, uint64_t all);
/* Removes the bar. */
void audit_progress_end(struct audit_progress *p);
