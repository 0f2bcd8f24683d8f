/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_removed.h"

#include <inttypes.h>

#include "cli/plain.h"

bool audit_removed_read(struct audit_reader *r, struct retained *ret)
{
	*ret = RETAINED_NULL;
	if (r->folder.dir >= 0)
		return retained_read(r->folder.dir, ret) == 0 && ret->end > 0;
	return r->removed && r->removed(r, ret) == CLI_DONE && ret->end > 0;
}

void audit_removed_text(const struct retained *what, bool known, uint64_t first, char to[AUDIT_REMOVED_BYTES])
{
	char time[AUDIT_TIME_BYTES];

	if (!known || what->end < first) {
		(void)snprintf(to, AUDIT_REMOVED_BYTES,
			       "records 0 to %" PRIu64
			       " are not here: retention removed them, or the copy is not whole; see `%s verify`",
			       first - 1, cli_program.audit);
		return;
	}
	audit_format_time(what->time_ns, time);
	(void)snprintf(to, AUDIT_REMOVED_BYTES,
		       "records 0 to %" PRIu64 " were removed by retention, the last of them on %.10s since they were "
		       "older than %s; record %" PRIu64 ", log.prune, says so",
		       first - 1, time, what->keep, what->index);
}

void audit_removed_note(struct audit_reader *r)
{
	char text[AUDIT_REMOVED_BYTES];
	struct retained what;

	if (r->first == 0 || r->cli->json)
		return;
	bool known = audit_removed_read(r, &what);
	audit_removed_text(&what, known, r->first, text);
	plain_line(r->cli->err, "%s", text);
}
