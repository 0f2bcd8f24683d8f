/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed credentials that authd pushed: id -> newest blob. Sans I/O; nothing in here is secret.
 *
 * Versions only grow, for as long as the process runs: also after a removal the highest version that was authenticated
 * stays remembered, and an older blob is refused. What arrives while the vault is sealed cannot be authenticated; it
 * waits as `unchecked` and is checked when the vault opens.
 */
#pragma once

#include "common/base.h"

#define STORE_ENTRIES_MAX  4096
#define STORE_ID_BYTES_MAX 64

struct store_entry {
	char id[STORE_ID_BYTES_MAX + 1];
	uint64_t version_seen; /* highest that was authenticated; 0: none */
	uint8_t *blob;         /* NULL: removed */
	size_t blob_len;
	bool checked;
};

struct store {
	struct store_entry *entries; /* sorted by id */
	size_t n, cap;
};

#define STORE_NULL ((struct store){0})

enum store_err {
	STORE_E_FULL = 1, /* too many credentials */
	STORE_E_OLD,      /* an older version than one seen, or a different blob of the same version */
};

void store_deinit(struct store *s);
size_t store_count(const struct store *s); /* without removed ones */

/* NULL when there is none. Valid until the next put. */
struct store_entry *store_find(const struct store *s, struct span id);
/* Keeps a copy. `version` is the binding's; `checked`: it was authenticated. *ret_replaced: another blob was current.
 * 0, STORE_E_FULL, STORE_E_OLD or -ENOMEM. */
MUST_USE int store_put(struct store *s, struct span id, uint64_t version, struct span blob, bool checked,
		       bool *ret_replaced);
/* After the vault opened: this entry's blob has been authenticated. */
void store_mark_checked(struct store_entry *e, uint64_t version);
/* Forgets the blob, not the version. False when there was none. */
bool store_drop(struct store *s, struct span id);
