/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files of anybody's making. What is read is a forest: every member stands before its group, and what a group
 * needs it can get. A policy that accepts the checkpoint below with the one cosignature that it has must have a quorum
 * that this witness is part of, or none.
 */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/tlog_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the key whose seed is zeros, as log and as witness: seeds.py knows it. */
#define TEXT "fuzz.test/log\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static size_t make_note(char *to, size_t cap, struct note_key *log, struct note_key *witness)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES];
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES], sig[NOTE_SIG_BYTES];
	char message[256];
	size_t len, message_len;

	crypto_sign_seed_keypair(public, secret, seed);
	if (note_key_init(log, SPAN_LIT("fuzz.test/log"), public) ||
	    note_cosigner_init(witness, SPAN_LIT("fuzz.test/w"), public))
		abort();
	crypto_sign_detached(sig, NULL, (const uint8_t *)TEXT, sizeof(TEXT) - 1, secret);
	if (note_format(SPAN_LIT(TEXT), log, sig, to, cap, &len) ||
	    note_cosigned_text(SPAN_LIT(TEXT), 1, message, sizeof message, &message_len))
		abort();
	crypto_sign_detached(sig, NULL, (const uint8_t *)message, message_len, secret);
	if (note_add_cosignature(to, cap, &len, witness, 1, sig))
		abort();
	return len;
}

/* Is the witness with this key below the node? */
static bool reaches(const struct tlog_policy *p, int node, const struct note_key *witness)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		if (p->nodes[i].is_group ||
		    memcmp(p->nodes[i].key.public, witness->public, sizeof witness->public) != 0)
			continue;
		for (int at = (int)i; at >= 0; at = p->nodes[at].parent)
			if (at == node)
				return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tlog_policy policy;
	struct tlog_policy_result result;
	struct note_key log, witness;
	unsigned members[TLOG_POLICY_NODES_MAX] = {0};
	char note[1024];

	size_t len = make_note(note, sizeof note, &log, &witness);
	if (tlog_policy_parse(span_of(data, size), &policy)) {
		assert(policy.why);
		return 0;
	}
	for (size_t i = 0; i < policy.n_nodes; i++) {
		assert(policy.nodes[i].parent == -1 || policy.nodes[i].parent > (int)i);
		assert(!policy.nodes[i].is_group ||
		       (policy.nodes[i].threshold > 0 && policy.nodes[i].threshold <= members[i]));
		if (policy.nodes[i].parent >= 0)
			members[policy.nodes[i].parent]++;
	}
	if (tlog_policy_check(&policy, &log, span_of(note, len), &result) == 0)
		assert(policy.quorum == -1 || reaches(&policy, policy.quorum, &witness));
	return 0;
}
