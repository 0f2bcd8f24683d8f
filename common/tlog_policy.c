/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tlog_policy.h"

#define POLICY_NONE (-1)

static int policy_bad(struct tlog_policy *p, const char *why)
{
	p->why = why;
	return TLOG_POLICY_E_MALFORMED;
}

/* ---- words ---- */

/* Takes the next word of a line; empty at its end. */
static struct span policy_word(struct span *line)
{
	size_t at = 0, begin;

	while (at < line->len && (line->p[at] == ' ' || line->p[at] == '\t'))
		at++;
	for (begin = at; at < line->len && line->p[at] != ' ' && line->p[at] != '\t';)
		at++;
	struct span word = span_of(line->p + begin, at - begin);
	*line = span_of(line->p + at, line->len - at);
	return word;
}

static bool policy_octets_valid(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((text.p[i] < 0x20 && text.p[i] != '\t' && text.p[i] != '\n') || text.p[i] == 0x7f)
			return false;
	return true;
}

/* -1 when there is none. */
static int policy_find(const struct tlog_policy *p, struct span name)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (span_eq(p->nodes[i].name, name))
			return (int)i;
	return POLICY_NONE;
}

static bool policy_same_key(const struct note_key *a, const struct note_key *b)
{
	return span_eq(span_of(a->public, sizeof a->public), span_of(b->public, sizeof b->public));
}

/* ---- lines ---- */

static int policy_log(struct tlog_policy *p, struct span line)
{
	struct tlog_policy_log log = {0};

	if (note_key_parse(&log.key, policy_word(&line)))
		return policy_bad(p, "not a log's verifier key (Ed25519, type 1)");
	log.url = policy_word(&line);
	if (policy_word(&line).len > 0)
		return policy_bad(p, "more than `log <vkey> [<url>]`");
	for (size_t i = 0; i < p->n_logs; i++)
		if (policy_same_key(&p->logs[i].key, &log.key))
			return policy_bad(p, "this log's key was there before");
	if (p->n_logs == TLOG_POLICY_LOGS_MAX)
		return policy_bad(p, "more logs than this implementation takes");
	p->logs[p->n_logs++] = log;
	return 0;
}

/* A node under a new name; NULL with `why`. */
static struct tlog_policy_node *policy_add(struct tlog_policy *p, struct span name)
{
	if (name.len == 0 || span_eq_str(name, "none") || policy_find(p, name) != POLICY_NONE) {
		p->why = "the name is missing, or `none`, or was there before";
		return NULL;
	}
	if (p->n_nodes == TLOG_POLICY_NODES_MAX) {
		p->why = "more witnesses and groups than this implementation takes";
		return NULL;
	}
	struct tlog_policy_node *node = &p->nodes[p->n_nodes++];
	*node = (struct tlog_policy_node){.name = name, .parent = POLICY_NONE};
	return node;
}

static int policy_witness(struct tlog_policy *p, struct span line)
{
	struct tlog_policy_node *node = policy_add(p, policy_word(&line));

	if (!node)
		return TLOG_POLICY_E_MALFORMED;
	if (note_cosigner_parse(&node->key, policy_word(&line)))
		return policy_bad(p, "not a witness's verifier key (Ed25519 cosignatures, type 4)");
	node->url = policy_word(&line);
	if (policy_word(&line).len > 0)
		return policy_bad(p, "more than `witness <name> <vkey> [<url>]`");
	for (const struct tlog_policy_node *other = p->nodes; other < node; other++)
		if (!other->is_group && policy_same_key(&other->key, &node->key))
			return policy_bad(p, "this witness's key was there before");
	return 0;
}

static int policy_group(struct tlog_policy *p, struct span line)
{
	struct tlog_policy_node *group = policy_add(p, policy_word(&line));
	struct span threshold = policy_word(&line), name;
	uint64_t k = 1, n = 0;

	if (!group)
		return TLOG_POLICY_E_MALFORMED;
	group->is_group = true;
	for (name = policy_word(&line); name.len > 0; name = policy_word(&line), n++) {
		int member = policy_find(p, name);
		if (member == POLICY_NONE || &p->nodes[member] == group)
			return policy_bad(p, "a member is not defined above");
		if (p->nodes[member].parent != POLICY_NONE)
			return policy_bad(p, "a member is one already, of this group or another");
		p->nodes[member].parent = (int)(group - p->nodes);
	}
	if (span_eq_str(threshold, "all"))
		k = n;
	else if (!span_eq_str(threshold, "any") && !note_decimal(threshold, &k))
		return policy_bad(p, "neither all, any nor a number");
	if (k < 1 || k > n)
		return policy_bad(p, "the group needs no member, or more than it has");
	group->threshold = (unsigned)k;
	return 0;
}

static int policy_quorum(struct tlog_policy *p, struct span line)
{
	struct span name = policy_word(&line);

	if (p->has_quorum || policy_word(&line).len > 0)
		return policy_bad(p, "not the one line `quorum <name>`");
	p->quorum = span_eq_str(name, "none") ? POLICY_NONE : policy_find(p, name);
	if (p->quorum == POLICY_NONE && !span_eq_str(name, "none"))
		return policy_bad(p, "the quorum is not defined above");
	p->has_quorum = true;
	return 0;
}

static int policy_line(struct tlog_policy *p, struct span line)
{
	struct span word = policy_word(&line);

	if (word.len == 0 || word.p[0] == '#')
		return 0;
	if (span_eq_str(word, "log"))
		return policy_log(p, line);
	if (span_eq_str(word, "witness"))
		return policy_witness(p, line);
	if (span_eq_str(word, "group"))
		return policy_group(p, line);
	if (span_eq_str(word, "quorum"))
		return policy_quorum(p, line);
	return policy_bad(p, "neither log, witness, group nor quorum");
}

int tlog_policy_parse(struct span text, struct tlog_policy *ret)
{
	struct span line;

	*ret = (struct tlog_policy){.quorum = POLICY_NONE};
	if (text.len > TLOG_POLICY_BYTES_MAX || !policy_octets_valid(text))
		return policy_bad(ret, "too long, or control characters");
	while (text.len > 0) {
		ret->line++;
		if (!note_take(&text, '\n', &line))
			return policy_bad(ret, "the last line has no end");
		int r = policy_line(ret, line);
		if (r)
			return r;
	}
	return ret->has_quorum ? 0 : policy_bad(ret, "no line `quorum <name>`");
}

/* ---- checking ---- */

static int policy_signature(int r)
{
	return r == NOTE_E_SIGNATURE ? TLOG_POLICY_E_SIGNATURE : r == NOTE_E_MALFORMED ? TLOG_POLICY_E_MALFORMED : 0;
}

/* Whose log it is. A known log's wrong signature refuses the note, whoever else signed it. */
static int policy_check_log(const struct tlog_policy *p, const struct note_key *log, struct span note,
			    struct tlog_policy_result *ret)
{
	size_t n = log ? 1 : p ? p->n_logs : 0;
	struct span text;
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		const struct note_key *key = log ? log : &p->logs[i].key;
		int r = note_verify(note, key, &text);
		if (r == NOTE_E_UNSIGNED)
			continue;
		if (r)
			return policy_signature(r);
		if (checkpoint_parse(text, &ret->checkpoint))
			return TLOG_POLICY_E_MALFORMED;
		if (!span_eq_str(ret->checkpoint.origin, key->name))
			return TLOG_POLICY_E_LOG;
		ret->log = *key;
		found = true;
	}
	return found ? 0 : TLOG_POLICY_E_LOG;
}

static int policy_check_witness(const struct tlog_policy_node *node, struct span note, struct tlog_policy_result *ret,
				bool *ret_cosigned)
{
	struct span text;
	uint64_t at;

	int r = note_verify_cosigned(note, &node->key, &text, &at);
	if (policy_signature(r))
		return policy_signature(r);
	*ret_cosigned = r == 0;
	ret->witnesses++;
	if (r) {
		ret->missing = ret->missing.len ? ret->missing : node->name;
		return 0;
	}
	ret->oldest_unix_s = ret->cosigned > 0 ? MIN(ret->oldest_unix_s, at) : at;
	ret->cosigned++;
	return 0;
}

int tlog_policy_check(const struct tlog_policy *policy, const struct note_key *log, struct span note,
		      struct tlog_policy_result *ret)
{
	unsigned members[TLOG_POLICY_NODES_MAX] = {0};
	struct tlog_policy_result result = {0};

	size_t n = policy ? policy->n_nodes : 0;

	int r = policy_check_log(policy, log, note, &result);
	for (size_t i = 0; i < n && !r; i++) {
		const struct tlog_policy_node *node = &policy->nodes[i];
		if (node->is_group)
			result.by[i] = members[i] >= node->threshold;
		else
			r = policy_check_witness(node, note, &result, &result.by[i]);
		if (!r && result.by[i] && node->parent != POLICY_NONE)
			members[node->parent]++;
	}
	if (r)
		return r;
	*ret = result;
	return !policy || policy->quorum == POLICY_NONE || result.by[policy->quorum] ? 0 : TLOG_POLICY_E_QUORUM;
}
