/* SPDX-License-Identifier: Apache-2.0 */
/* Which records a command is about: its options --since to --request-id. */
#pragma once

#include "auditd/leaf.h"
#include "cli/cli.h"

#define AUDIT_CODES_MAX 1024 /* of events.def */

struct audit_filter {
	uint64_t since_ns, until_ns; /* [since, until) of the event's own time */
	bool by_action;
	bool actions[AUDIT_CODES_MAX];      /* with by_action */
	const char *actor, *tenant, *model; /* patterns; NULL: any */
	const char *request_id;
	uint64_t status_min, status_max;
};

/* From the command's options, all of AUDIT_FILTER_OPTIONS (audit.def). CLI_DONE or CLI_USAGE with the line printed. */
MUST_USE int audit_filter_init(struct cli *cli, uint64_t now_s, struct audit_filter *ret);
bool audit_filter_match(const struct audit_filter *f, const struct proto_leaf *leaf);

/*
 * A time: "90m", "12h", "7d" ago; "2026-01-31", "2026-01-31T12:00", "2026-01-31T12:00:05", in UTC, with or without Z;
 * "now". A day alone is its begin, or its end with `end_of_day`. False when it is none of these.
 */
bool audit_time_parse(const char *text, uint64_t now_s, bool end_of_day, uint64_t *ret_ns);
/* "429", "4xx", "400-499". */
bool audit_status_parse(const char *text, uint64_t *ret_min, uint64_t *ret_max);
/* `*` is any bytes, `?` any one. */
bool audit_glob(const char *pattern, struct span text);
