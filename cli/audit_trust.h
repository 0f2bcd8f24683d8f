/* SPDX-License-Identifier: Apache-2.0 */
/* Whose signatures a command believes: --vkey, --policy, and files that are read for it. */
#pragma once

#include "cli/cli.h"
#include "common/tlog_policy.h"

struct audit_trust {
	struct note_key key_memory;
	struct tlog_policy policy_memory;
	char *policy_text;
	const struct note_key *key;       /* NULL: not given */
	const struct tlog_policy *policy; /* likewise */
	bool pinned;                      /* one of them names the log */
};

/* From the options that the command's row has; policy only where `with_policy`. CLI_DONE, or else with the line
 * printed. */
MUST_USE int audit_trust_init(struct cli *cli, bool with_policy, struct audit_trust *ret);
void audit_trust_deinit(struct audit_trust *t);

/* A whole file of less than `max` bytes; *ret_bytes is the caller's to free. CLI_DONE or CLI_FAILED with the line. */
MUST_USE int audit_read_file(const struct cli *cli, const char *path, size_t max, char **ret_bytes, size_t *ret_len);
