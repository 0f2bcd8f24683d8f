/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead receipt get`: the operator's way to a receipt, whoever was answered. */
#include "cli/admin.h"
#include "cli/plain.h"
#include "cli/receipt.h"

int cmd_receipt_get(struct cli *cli)
{
	const struct proto_receipt_find find = {.request_id = span_str(cli->args[0])};
	const union proto_any *answer;
	struct admin *a = NULL;

	if (find.request_id.len == 0 || find.request_id.len > 64)
		return cli_misuse(cli, "REQUEST is the x-request-id of the answer");
	int r = admin_open(cli, ROLE_AUDITD, 0, &a);
	if (!r)
		r = admin_call(a, PROTO_RECEIPT_FIND, &find, PROTO_RECEIPT_FOUND, ADMIN_DEADLINE_MS, &answer);
	if (!r) {
		struct span text = answer->receipt_found.receipt;
		if (!plain_is_text(text))
			r = cli_fail(cli, "auditd gave what is no receipt");
		else if (fwrite(text.p, 1, text.len, cli->out) != text.len || fflush(cli->out))
			r = cli_fail(cli, "the receipt could not be written");
	}
	a = admin_close(a);
	return r;
}
