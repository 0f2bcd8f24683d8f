/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_progress.h"

#include <unistd.h>

#define PROGRESS_WIDTH 40

void audit_progress_init(struct audit_progress *p, const struct cli *cli, bool wanted)
{
	*p = (struct audit_progress){.cli = cli, .on = wanted && isatty(fileno(cli->err)), .shown = -1};
}

void audit_progress_show(struct audit_progress *p, uint64_t done, uint64_t all)
{
	static const char bar[PROGRESS_WIDTH + 1] = "########################################";

	if (!p->on || all == 0)
		return;
	int percent = (int)(MIN(done, all) * 100 / all);
	if (percent == p->shown)
		return;
	p->shown = percent;
	fprintf(p->cli->err, "\r[%-*.*s] %3d %%", PROGRESS_WIDTH, percent * PROGRESS_WIDTH / 100, bar, percent);
	fflush(p->cli->err);
}

void audit_progress_end(struct audit_progress *p)
{
	if (p->shown >= 0)
		fprintf(p->cli->err, "\r%*s\r", PROGRESS_WIDTH + 8, "");
	p->shown = -1;
}
