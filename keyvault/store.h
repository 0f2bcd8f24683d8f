/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed credentials that authd pushed: id -> newest blob, or the newest two while one provider key replaces
 * another. Sans I/O; nothing in here is secret. Which versions are void is not decided here (vault.h, marks.h); what
 * arrives while the vault is sealed cannot be authenticated, waits as unchecked and is checked when the vault opens.
 */
#pragma once

#include "common/base.h"

#define STORE_ENTRIES_MAX  4096
#define STORE_ID_BYTES_MAX 64
#define STORE_LIVE_MAX     2 /* versions of one credential */

struct store_version {
	uint32_t version;
	uint8_t *blob; /* NULL: none */
	size_t blob_len;
	bool checked;
	bool refused; /* by the provider: the other one is used, if there is one */
	bool seen;    /* authd has it, as it said since the last store_unsee() */
};

struct store_entry {
	char id[STORE_ID_BYTES_MAX + 1];
	struct store_version live[STORE_LIVE_MAX]; /* by version, from the front */
};

struct store {
	struct store_entry *entries; /* sorted by id; each has a blob */
	size_t n, cap;
};

#define STORE_NULL ((struct store){0})

enum store_err {
	STORE_E_FULL = 1, /* too many credentials, or versions of one */
};

void store_deinit(struct store *s);
size_t store_count(const struct store *s); /* of versions */

/* NULL when there is none. Valid until the next put or drop, as all that these return. */
struct store_entry *store_find(const struct store *s, struct span id);
struct store_version *store_version(struct store_entry *e, uint32_t version);
/* The one to use: the oldest that is checked and not refused, else the newest that is checked. NULL when none is. */
struct store_version *store_current(struct store_entry *e);
/* Keeps a copy, in the place of what there is of this version. 0, STORE_E_FULL or -ENOMEM. */
MUST_USE int store_put(struct store *s, struct span id, uint32_t version, struct span blob, bool checked);
/* Forgets the versions below this one. False when there were none. */
bool store_drop_below(struct store *s, struct span id, uint32_t version);
/* Forgets exactly this one. */
void store_drop(struct store *s, struct span id, uint32_t version);
/* Before authd says again what it has, and after: forgets what it did not mention. How many. */
void store_unsee(struct store *s);
size_t store_drop_unseen(struct store *s);
