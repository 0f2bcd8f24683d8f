/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the store that knows whom records are about. What is destroyed here is in none of its files any more. */
#pragma once

#include "authd/store.h"

#define STORE_CHAIN_BYTES     72            /* FIELDS_WRAPPED_BYTES */
#define STORE_SUBJECT_UNKNOWN "sub_unknown" /* is always there: of requests whose key nobody has */

/* Whom records are about; fields.h says what the chain is. */
struct store_subject {
	char id[STORE_SUBJECT_BYTES];
	char tenant[STORE_ID_BYTES]; /* empty for the unknown one */
	uint64_t created_s;
	uint64_t erased_s; /* 0: not */
	uint32_t day;      /* of the chain */
	bool has_chain;    /* else it was never needed, or is destroyed */
	uint8_t chain[STORE_CHAIN_BYTES];
};

/* 0, NOT_FOUND, GONE. */
MUST_USE int store_subject_find(struct store *s, struct span id, struct store_subject *ret_subject);
/* Keeps `day` and `chain` in place of what was there. 0, NOT_FOUND (also when it is erased), GONE. */
MUST_USE int store_subject_put(struct store *s, const struct store_subject *subject);
/* The chain and the names of its keys are overwritten, here and in the write-ahead log. 0, NOT_FOUND (also when it was
 * erased before), GONE: it may have happened, and must be asked for again. */
MUST_USE int store_subject_erase(struct store *s, struct span id, uint64_t now_s);
/* Those whose chain begins before `day`, by id after the one named. Fills up to `cap`. 0 or GONE. */
MUST_USE int store_subjects_before(struct store *s, uint32_t day, struct span after, struct store_subject *subjects,
				   size_t cap, size_t *ret_n);
/* store_subject_put() of each, in one transaction; what was erased meanwhile stays so. 0 or GONE. */
MUST_USE int store_subjects_put(struct store *s, const struct store_subject *subjects, size_t n);
