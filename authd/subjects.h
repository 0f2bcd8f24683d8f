/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom records are about, and what is personal about them: fields.h over the store, for as long as the vault is open.
 *
 * A client's address is sealed once for each subject and address, and used again for ten minutes of the same day: so
 * requests cost a look-up here, and in those minutes it can be seen that two records of one subject have the same
 * address; never whether two subjects have.
 *
 * Fixed memory: two tables in which a later one takes an earlier one's place. What is not in them is made from the
 * store again.
 */
#pragma once

#include "authd/fields.h"
#include "authd/store_subjects.h"

#define SUBJECTS_SEALS       4096
#define SUBJECTS_SEAL_MS     600000
#define SUBJECTS_KEYS        256
#define SUBJECTS_ARENA_BYTES (SUBJECTS_KEYS * FIELDS_KEY_BYTES + 4096)

struct subjects;

enum subjects_err {
	SUBJECTS_E_CLOSED = 1, /* the vault is */
	SUBJECTS_E_UNKNOWN,    /* no such subject */
	SUBJECTS_E_ERASED,
	SUBJECTS_E_EXPIRED, /* its day is forgotten */
	SUBJECTS_E_FORGED,  /* was not sealed for this subject, or is damaged */
	SUBJECTS_E_STORE,   /* does not answer */
};

struct subjects_now {
	uint64_t monotonic_ms;
	uint32_t day; /* since 1970 */
};

static inline uint32_t subjects_day(uint64_t unix_s)
{
	return (uint32_t)MIN(unix_s / 86400, (uint64_t)FIELDS_DAY_MAX);
}

/* Both outlive it. 0 or -ENOMEM. */
MUST_USE int subjects_new(struct store *store, struct secret_arena *arena, struct subjects **ret_subjects);
struct subjects *subjects_free(struct subjects *s);

/* The vault speaks: the AUDIT_FIELDS key, which may lie in the open arena. 0 or SECRET_E_FULL (a defect of sizes). */
MUST_USE int subjects_open(struct subjects *s, struct span key);
/* The vault is closed: wipes everything. Idempotent. */
void subjects_close(struct subjects *s);

/* The address, sealed for this subject; empty where that cannot be: then the record goes without. A view, valid until
 * the next call of any of these. */
struct span subjects_seal(struct subjects *s, struct span subject, struct span address, struct subjects_now now);
/* 0 or SUBJECTS_E_*. */
MUST_USE int subjects_reveal(struct subjects *s, struct span subject, struct span sealed,
			     char ret_address[FIELDS_ADDRESS_BYTES]);
/* A word for it. */
const char *subjects_err_text(int e);
/* Destroys the subject's key. 0 or STORE_E_*. */
MUST_USE int subjects_erase(struct subjects *s, struct span subject, uint64_t now_s);
/*
 * Forgets the days before `day`, for some subjects at a time: those after `cursor`, which goes on and is empty at
 * first. *ret_n: how many; *ret_done: these were the last. What it could not open it leaves as it is. 0,
 * SUBJECTS_E_CLOSED or SUBJECTS_E_STORE.
 */
MUST_USE int subjects_expire(struct subjects *s, uint32_t day, char cursor[STORE_SUBJECT_BYTES], size_t *ret_n,
			     bool *ret_done);
