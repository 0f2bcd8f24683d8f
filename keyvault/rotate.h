/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of root, tenant and credential keys, step by step. No IPC and no clock: rotation.c drives it.
 *
 *                    root                    tenant                        credential
 *   PENDING          accepted beside the     new versions made             the next generation is chosen
 *                    old one, in root.next
 *   ACKNOWLEDGED     read back from disk: the new keys open what they should
 *   ACTIVE           becomes the root file   new credentials use them      new credentials are of it
 *   REWRAPPED        -                       every sealed credential, one by one (rotate_pick, rotate_swapped)
 *   VERIFIED         -                       authd sent everything again, and none is left
 *   RETIRED          the old keys leave the table and the disk; the rotation is over
 *
 * A step is durable before the next is begun. What a step needs is in the key table, so a core that was killed goes on
 * where it stopped, as soon as it is open and authd has sent the credentials: there is no cursor but the credentials
 * themselves, each of which says what it is sealed under. Old and new keys both open at every moment in between, so
 * nobody waits for a rotation.
 */
#pragma once

#include "keyvault/vault_credentials.h"

enum rotate_what { ROTATE_NONE, ROTATE_ROOT, ROTATE_TENANT, ROTATE_CREDENTIAL };
enum rotate_step {
	ROTATE_IDLE,
	ROTATE_PENDING,
	ROTATE_ACKNOWLEDGED,
	ROTATE_ACTIVE,
	ROTATE_REWRAPPED,
	ROTATE_VERIFIED,
	ROTATE_RETIRED, /* only as a name: it is IDLE */
	N_ROTATE_STEPS,
};

/* A sealed credential and what takes its place. */
struct rotate_swap {
	char id[STORE_ID_BYTES_MAX + 1];
	uint32_t version;
	uint8_t old[32]; /* BLAKE2b-256 of the bytes that are replaced */
	uint8_t *blob;   /* the caller's, SEAL_BYTES_MAX */
	size_t blob_len;
	size_t at, len; /* the part of the blob that is another */
};

const char *rotate_what_name(enum rotate_what what);
const char *rotate_step_name(enum rotate_step step);
/* The vault is open in all that follows. */
enum rotate_step rotate_step(const struct vault *v);

/* Could one begin? `tenant` empty: all. 0, VAULT_E_BUSY or VAULT_E_NOTHING. */
MUST_USE int rotate_check(const struct vault *v, enum rotate_what what, struct span tenant);
/* To PENDING, of tenant or credential keys. 0, VAULT_E_STORAGE, VAULT_E_FULL, or as rotate_check(). */
MUST_USE int rotate_begin(struct vault *v, enum rotate_what what, struct span tenant, uint32_t rate);
/* To PENDING, of the root key: `by` opens the table now, `root` shall, and `file` is what its file will hold; empty
 * where that is the operator's. Both stay the caller's. Likewise, or VAULT_E_ROOT. */
MUST_USE int rotate_begin_root(struct vault *v, const struct secret *by, const struct secret *root, struct span file);
/* What the next step waits for: NULL when rotate_advance() may be called. */
const char *rotate_waits(const struct vault *v);
/* The next step. 0, VAULT_E_STORAGE (then try again), VAULT_E_ROOT (what was written does not open: nothing is lost,
 * look at the disk) or VAULT_E_FULL. */
MUST_USE int rotate_advance(struct vault *v);
/* Verification found some that are left, or something was loaded meanwhile: back to ACTIVE. */
void rotate_reopen(struct vault *v);
/* The vault was opened with a root key that was restored: it is the one, and a rotation to another, which the copy of
 * the key table was taken in the midst of, is over. 0, VAULT_E_STORAGE or negative. */
MUST_USE int rotate_restored(struct vault *v);

/* Credentials that are sealed under what shall go; and all that the rotation is about. */
void rotate_count(const struct vault *v, size_t *ret_left, size_t *ret_total);
size_t rotate_left(const struct vault *v);
/* The next that is left, from entry *at on, resealed. True, or false when the store is through. One that cannot be
 * resealed is passed over: it stays left. */
bool rotate_pick(struct vault *v, size_t *at, struct rotate_swap *ret_swap);
/* authd has stored it. */
MUST_USE int rotate_swapped(struct vault *v, const struct rotate_swap *swap);
