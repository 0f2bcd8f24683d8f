/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts: what the vault saw of a provider's answer, proven by the log that recorded it, against the bytes that a
 * client has. A receipt is a tlog-proof (auditd/proof.h) of a record egress.use of an egress. Sans I/O: whoever has
 * answer, receipt and the log's verifier key needs nothing and nobody else.
 */
#pragma once

#include "auditd/leaf.h"
#include "auditd/proof.h"

enum receipt_err {
	RECEIPT_E_MALFORMED = 1, /* no tlog-proof of ours */
	RECEIPT_E_ORIGIN,        /* not signed by this key: another gateway's, or nobody's */
	RECEIPT_E_SIGNATURE,     /* this key's signature does not hold */
	RECEIPT_E_PROOF,         /* the signed log does not have this record there */
	RECEIPT_E_RECORD,        /* it has, but it is not what an egress says of a use */
};

struct receipt {
	struct proof proof;
	struct proto_leaf leaf; /* views into `proof` */
};

/* F(NAME, "word", meaning): what may be found when an answer is held against a receipt; none of them: it is good. */
#define RECEIPT_FINDINGS(F)                                                                                          \
	F(NO_ANSWER, "no_answer", "the provider gave no answer that was passed on")                                  \
	F(ALTERED, "altered", "these are not the bytes that the vault passed on")                                    \
	F(TRUNCATED, "truncated", "bytes are missing: the answer was longer")                                        \
	F(APPENDED, "appended", "they begin with the provider's bytes, and something was added behind them")         \
	F(REPLACED, "replaced", "the provider repeated its key in the answer, and the vault put marks in its place") \
	F(INCOMPLETE, "incomplete", "the answer broke off before its end")                                           \
	F(HEAD, "head_altered", "status or header fields are not the ones that the vault passed on")                 \
	F(REQUEST, "other_request", "the receipt is of another request")                                             \
	F(HOST, "other_host", "another provider answered")

enum receipt_finding {
#define FINDING(NAME, word, meaning) RECEIPT_##NAME,
	RECEIPT_FINDINGS(FINDING)
#undef FINDING
		N_RECEIPT_FINDINGS,
};

extern const struct receipt_finding_row {
	const char *word, *meaning;
} receipt_finding_rows[N_RECEIPT_FINDINGS];

/* What somebody holds against it. */
struct receipt_claim {
	struct span body;
	struct span head;       /* as `curl -D` writes it; SPAN_NULL: not looked at, while an empty one is none */
	struct span request_id; /* expected; empty: the head's, if there is one */
	struct span host;       /* expected; empty: any */
};

/* Checks signature, origin, proof and kind of record. 0 or RECEIPT_E_*. */
MUST_USE int receipt_read(struct span text, const struct note_key *key, struct receipt *ret);
/* A set of BIT(enum receipt_finding); 0: the bytes are the provider's own. */
uint64_t receipt_compare(const struct receipt *receipt, const struct receipt_claim *claim);
