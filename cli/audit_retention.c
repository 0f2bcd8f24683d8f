/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead audit retention`: how long personal fields can be read; --now: what is over is destroyed at once, by authd.
 */
#include "cli/admin.h"
#include "cli/config_tree.h"
#include "cli/output.h"

static int retention_expire(struct cli *cli)
{
	const union proto_any *answer;
	struct admin *a = NULL;
	int r = admin_open(cli, ROLE_AUTHD, 0, &a);

	if (!r)
		r = admin_call(a, PROTO_AUDIT_EXPIRE, &(struct proto_audit_expire){}, PROTO_DONE, ADMIN_DEADLINE_MS,
			       &answer);
	if (!r && cli->json)
		r = cli_print_json(cli, json_pack("{s:o}", "text", json_span(answer->done.text)));
	else if (!r)
		fprintf(cli->out, "%.*s\n", SPAN_ARG(answer->done.text));
	(void)admin_close(a);
	return r;
}

int cmd_audit_retention(struct cli *cli)
{
	int r = cli_config(cli);

	if (r)
		return r;
	if (cli_option(cli, "--now"))
		return retention_expire(cli);
	const char *keep = config_tree_get(cli->config, CONFIG_AUDITD, 0, "keep_personal");
	bool hold = strcmp(config_tree_get(cli->config, CONFIG_AUDITD, 0, "legal_hold"), "1") == 0;
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s,s:b}", "keep_personal", keep, "legal_hold", hold));
	fprintf(cli->out, "Personal fields can be read for: %s%s\nRecords are kept for: ever\n", keep,
		hold ? "; but legal_hold is set, and nothing expires" : "");
	return CLI_DONE;
}
