/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "authd/store.h"

#define ROWS_BATCH_MAX 1024

struct rows {
	struct log log;
	struct store *store;
	rows_see *see;
	void *ctx;
};

struct rows *rows_open(const char *folder)
{
	struct rows *r = calloc(1, sizeof(*r));

	if (r)
		r->log = (struct log){.daemon = "test"};
	return r && store_open(folder, &r->log, &r->store) == 0 ? r : rows_close(r);
}

struct rows *rows_close(struct rows *r)
{
	if (r)
		store_close(r->store);
	free(r);
	return NULL;
}

int rows_put(struct rows *r, const char *id, uint32_t version, struct span blob)
{
	struct store_credential c = {.provider = "openai",
				     .tenant = "*",
				     .version = version,
				     .since = version,
				     .created_s = 1,
				     .blob = blob};

	(void)snprintf(c.id, sizeof(c.id), "%s", id);
	return store_credential_put(r->store, &c);
}

int rows_swap(struct rows *r, const struct rows_swap *swaps, size_t n, uint8_t *done)
{
	static struct store_swap items[ROWS_BATCH_MAX];

	for (size_t i = 0; i < n; i++)
		items[i] = (struct store_swap){.id = span_str(swaps[i].id),
					       .version = swaps[i].version,
					       .old = span_of(swaps[i].old, STORE_DIGEST_BYTES),
					       .at = swaps[i].at,
					       .part = swaps[i].part};
	return store_credential_swap(r->store, items, n, done);
}

int rows_sync(struct rows *r)
{
	return store_credential_sync(r->store);
}

static int rows_see_one(void *ctx, const struct store_credential *c)
{
	struct rows *r = ctx;

	r->see(r->ctx, c->id, c->blob);
	return 0;
}

int rows_each(struct rows *r, rows_see *see, void *ctx)
{
	r->see = see;
	r->ctx = ctx;
	return store_credential_each(r->store, rows_see_one, r);
}
