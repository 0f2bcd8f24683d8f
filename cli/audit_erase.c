/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead audit erase`: a subject's key is destroyed, by authd, after the log has the record of it. */
#include "cli/admin.h"
#include "cli/output.h"
#include "cli/plain.h"

int cmd_audit_erase(struct cli *cli)
{
	const char *subject = cli_option(cli, "--subject");
	const union proto_any *answer;
	struct admin *a = NULL;

	if (!subject)
		return cli_misuse(cli,
				  "whose? --subject sub_...; `bulkhead key list --json` names the subject of each key");
	int r = admin_open(cli, ROLE_AUTHD, 0, &a);
	if (!r)
		r = admin_call(a, PROTO_AUDIT_ERASE, &(struct proto_audit_erase){.subject = span_str(subject)},
			       PROTO_DONE, ADMIN_DEADLINE_MS, &answer);
	if (!r && cli->json)
		r = cli_print_json(cli,
				   json_pack("{s:s,s:o}", "subject", subject, "text", json_span(answer->done.text)));
	else if (!r)
		plain_line(cli->out, "%s: %.*s.", subject, SPAN_ARG(answer->done.text));
	(void)admin_close(a);
	return r;
}
