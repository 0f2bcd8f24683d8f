/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which sealed credentials are in the store: their names, not their bytes. Planning a route asks this for each request,
 * so it is a small array in memory, read anew from the store after every change.
 * Removed ones are in it too, so that the operator's next version is greater than any before.
 */
#pragma once

#include "authd/store.h"

struct credentials {
	size_t n;
	struct credentials_row {
		char id[STORE_ID_BYTES];
		char provider[STORE_ID_BYTES];
		char tenant[STORE_ID_BYTES];
		uint64_t version, created_s;
		bool live;
	} rows[STORE_CREDENTIALS_MAX];
};

/* On failure the old contents stay. 0 or CREDENTIALS_E_GONE. */
enum credentials_err {
	CREDENTIALS_E_GONE = 1, /* the store does not answer */
};
MUST_USE int credentials_load(struct credentials *c, struct store *store);

/* The credential of `provider` for `tenant`: the tenant's own, else the one for all. NULL when there is none. Lives
 * until load. */
const char *credentials_find(const struct credentials *c, const char *provider, struct span tenant);
/* By its id; NULL when there never was one. */
const struct credentials_row *credentials_row(const struct credentials *c, struct span id);
