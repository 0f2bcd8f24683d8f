/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which sealed credentials are in the store: their names, not their bytes. Planning a route asks this for each request,
 * so it is a sorted array in memory, read anew from the store after every change.
 * Removed ones are in it too, so that the operator's next version is greater than any before.
 */
#pragma once

#include "authd/store.h"

struct credentials_row {
	char id[STORE_ID_BYTES];
	char provider[STORE_ID_BYTES];
	char tenant[STORE_ID_BYTES];
	uint64_t version, created_s;
	bool live;
};

struct credentials {
	struct credentials_row *rows; /* by provider, tenant, version */
	size_t n, cap;
};

enum credentials_err {
	CREDENTIALS_E_GONE = 1, /* the store does not answer */
};

void credentials_deinit(struct credentials *c);
/* On failure the old contents stay. 0, CREDENTIALS_E_GONE or -ENOMEM. */
MUST_USE int credentials_load(struct credentials *c, struct store *store);
/* Where a change of the store is known and the rest of it cannot be read: versions of `id` below `below` are gone. */
void credentials_void(struct credentials *c, struct span id, uint64_t below);
/* One more. 0 or -ENOMEM. */
MUST_USE int credentials_add(struct credentials *c, const struct credentials_row *row);

/* The credential of `provider` for `tenant`: the tenant's own, else the one for all. NULL when there is none. Lives
 * until load. *ret_versions: how many of it are live, 2 while one key replaces another. */
const char *credentials_find(const struct credentials *c, const char *provider, struct span tenant,
			     unsigned *ret_versions);
/* The newest by its id, which may be removed; NULL when there never was one. */
const struct credentials_row *credentials_row(const struct credentials *c, struct span id);

/* Is this how the credential of this provider and tenant is called: "provider" for all tenants ("*"), else
 * "provider@tenant"? */
bool credentials_id_valid(struct span id, struct span provider, struct span tenant);
