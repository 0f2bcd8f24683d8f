/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/credentials.h"

#include "common/err.h"

static int credentials_add(void *ctx, const struct store_credential *stored)
{
	struct credentials *c = ctx;

	if (c->n == STORE_CREDENTIALS_MAX)
		return 1;
	struct credentials_row *row = &c->rows[c->n++];

	*row = (struct credentials_row){
		.version = stored->version, .created_s = stored->created_s, .live = stored->blob.len > 0};
	memcpy(row->id, stored->id, sizeof(row->id));
	memcpy(row->provider, stored->provider, sizeof(row->provider));
	memcpy(row->tenant, stored->tenant, sizeof(row->tenant));
	return 0;
}

int credentials_load(struct credentials *c, struct store *store)
{
	struct credentials fresh = {0};
	int r = store_credential_each(store, credentials_add, &fresh);

	if (r == STORE_E_GONE)
		return CREDENTIALS_E_GONE;
	if (r)
		return err_fold(r);
	*c = fresh;
	return 0;
}

const char *credentials_find(const struct credentials *c, const char *provider, struct span tenant)
{
	const char *shared = NULL;

	for (size_t i = 0; i < c->n; i++) {
		if (!c->rows[i].live || strcmp(c->rows[i].provider, provider) != 0)
			continue;
		if (span_eq_str(tenant, c->rows[i].tenant))
			return c->rows[i].id;
		if (strcmp(c->rows[i].tenant, "*") == 0)
			shared = c->rows[i].id;
	}
	return shared;
}

const struct credentials_row *credentials_row(const struct credentials *c, struct span id)
{
	for (size_t i = 0; i < c->n; i++) {
		if (span_eq_str(id, c->rows[i].id))
			return &c->rows[i];
	}
	return NULL;
}
