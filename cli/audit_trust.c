/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_trust.h"

#include <errno.h>
#include <stdlib.h>

int audit_read_file(const struct cli *cli, const char *path, size_t max, char **ret_bytes, size_t *ret_len)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	char *bytes = malloc(max);
	size_t len = bytes ? fread(bytes, 1, max, f) : 0;
	bool bad = !bytes || ferror(f) || len == max;
	(void)fclose(f);
	if (bad) {
		free(bytes);
		return cli_fail(cli, "%s cannot be read, or is longer than such a file can be", path);
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return CLI_DONE;
}

static int trust_policy(struct cli *cli, const char *path, struct audit_trust *t)
{
	size_t len;

	int r = audit_read_file(cli, path, TLOG_POLICY_BYTES_MAX + 1, &t->policy_text, &len);
	if (r)
		return r;
	t->policy = &t->policy_memory;
	if (tlog_policy_parse(span_of(t->policy_text, len), &t->policy_memory))
		return cli_fail(cli, "%s, line %u: %s", path, t->policy_memory.line, t->policy_memory.why);
	t->pinned |= t->policy->n_logs > 0;
	return CLI_DONE;
}

int audit_trust_init(struct cli *cli, bool with_policy, struct audit_trust *ret)
{
	const char *vkey = cli_option(cli, "--vkey"), *policy = with_policy ? cli_option(cli, "--policy") : NULL;

	*ret = (struct audit_trust){.pinned = vkey != NULL};
	if (vkey && note_key_parse(&ret->key_memory, span_str(vkey)))
		return cli_misuse(cli, "--vkey: not a verifier key; `bulkhead vault status` shows it as name+id+key");
	if (vkey)
		ret->key = &ret->key_memory;
	return policy ? trust_policy(cli, policy, ret) : CLI_DONE;
}

void audit_trust_deinit(struct audit_trust *t)
{
	free(t->policy_text);
	t->policy_text = NULL;
}
