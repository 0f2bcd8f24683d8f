/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C2SP tlog-policy: which logs are believed, and how many of which witnesses must have cosigned a checkpoint.
 *
 *   log <vkey> [<url>]
 *   witness <name> <vkey> [<url>]
 *   group <name> all|any|<k> <name>...
 *   quorum <name>|none
 *
 * Witnesses and groups are nodes of one table in the order of their definition. A name may be a member of one group at
 * most and only of a later one, so the groups are trees, and one walk from the first node to the last counts them.
 */
#pragma once

#include "common/note.h"

#define TLOG_POLICY_BYTES_MAX 65536
#define TLOG_POLICY_LOGS_MAX  32
#define TLOG_POLICY_NODES_MAX 128 /* witnesses and groups; the format asks for 32 of each */

enum tlog_policy_err {
	TLOG_POLICY_E_MALFORMED = 1, /* parsing: not such a file; checking: not a checkpoint */
	TLOG_POLICY_E_SIGNATURE,     /* a log or witness that is known has a signature there, and it is wrong */
	TLOG_POLICY_E_LOG,           /* no log of the policy signed it */
	TLOG_POLICY_E_QUORUM,        /* too few of its witnesses cosigned it */
};

struct tlog_policy_log {
	struct note_key key;
	struct span url; /* may be empty */
};

struct tlog_policy_node {
	struct span name;
	bool is_group;
	struct note_key key; /* of a witness */
	struct span url;     /* likewise; may be empty */
	unsigned threshold;  /* of a group */
	int parent;          /* the group that it is a member of; -1: none */
};

/* Views into the text it was read from. */
struct tlog_policy {
	struct tlog_policy_log logs[TLOG_POLICY_LOGS_MAX];
	size_t n_logs;
	struct tlog_policy_node nodes[TLOG_POLICY_NODES_MAX];
	size_t n_nodes;
	bool has_quorum;
	int quorum;    /* -1: none */
	unsigned line; /* of what is malformed */
	const char *why;
};

struct tlog_policy_result {
	struct checkpoint checkpoint; /* views into the note */
	struct note_key log;
	unsigned cosigned, witnesses;   /* so many of so many */
	uint64_t oldest_unix_s;         /* of the cosignatures; 0: none */
	bool by[TLOG_POLICY_NODES_MAX]; /* which nodes witnessed it */
	struct span missing;            /* a witness that did not; empty: none */
};

/* 0, or TLOG_POLICY_E_MALFORMED with line and why. */
MUST_USE int tlog_policy_parse(struct span text, struct tlog_policy *ret);
/*
 * A checkpoint, whole: signed by a log of the policy (or by `log`, where it is not NULL) whose name is its origin, and
 * cosigned by the quorum; a NULL policy asks for none. 0 or TLOG_POLICY_E_*; *ret is filled with 0 and
 * TLOG_POLICY_E_QUORUM.
 */
MUST_USE int tlog_policy_check(const struct tlog_policy *policy, const struct note_key *log, struct span note,
			       struct tlog_policy_result *ret);
