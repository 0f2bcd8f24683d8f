/* SPDX-License-Identifier: Apache-2.0 */
#include "authd/credentials.h"

#include <stdlib.h>

#include "common/err.h"

void credentials_deinit(struct credentials *c)
{
	free(c->rows);
	*c = (struct credentials){0};
}

static int credentials_compare(const struct credentials_row *row, const char *provider, struct span tenant)
{
	int c = strcmp(row->provider, provider);
	size_t len = strlen(row->tenant);

	if (c == 0)
		c = memcmp(row->tenant, tenant.p, MIN(len, tenant.len));
	return c ? c : (len > tenant.len) - (len < tenant.len);
}

/* The first row that does not stand before this provider and tenant. */
static size_t credentials_place(const struct credentials *c, const char *provider, struct span tenant)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (credentials_compare(&c->rows[mid], provider, tenant) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool credentials_is(const struct credentials *c, size_t at, const char *provider, struct span tenant)
{
	return at < c->n && credentials_compare(&c->rows[at], provider, tenant) == 0;
}

int credentials_add(struct credentials *c, const struct credentials_row *row)
{
	size_t at = credentials_place(c, row->provider, span_str(row->tenant));

	while (credentials_is(c, at, row->provider, span_str(row->tenant)) && c->rows[at].version < row->version)
		at++;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		struct credentials_row *rows = realloc(c->rows, cap * sizeof(*rows));
		if (!rows)
			return err_origin(-ENOMEM);
		c->rows = rows;
		c->cap = cap;
	}
	memmove(c->rows + at + 1, c->rows + at, (c->n - at) * sizeof(*c->rows));
	c->rows[at] = *row;
	c->n++;
	return 0;
}

void credentials_void(struct credentials *c, struct span id, uint64_t below)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->rows[i].version < below && span_eq_str(id, c->rows[i].id))
			c->rows[i].live = false;
}

struct credentials_loading {
	struct credentials fresh;
	int r;
};

static int credentials_load_one(void *ctx, const struct store_credential *stored)
{
	struct credentials_loading *loading = ctx;
	struct credentials_row row = {
		.version = stored->version, .created_s = stored->created_s, .live = stored->blob.len > 0};

	memcpy(row.id, stored->id, sizeof(row.id));
	memcpy(row.provider, stored->provider, sizeof(row.provider));
	memcpy(row.tenant, stored->tenant, sizeof(row.tenant));
	loading->r = credentials_add(&loading->fresh, &row);
	return loading->r;
}

int credentials_load(struct credentials *c, struct store *store)
{
	struct credentials_loading loading = {.r = 0};
	int r = store_credential_each(store, credentials_load_one, &loading);

	if (r || loading.r) {
		credentials_deinit(&loading.fresh);
		return r == STORE_E_GONE ? CREDENTIALS_E_GONE : r ? err_fold(r) : loading.r;
	}
	credentials_deinit(c);
	*c = loading.fresh;
	return 0;
}

static const char *credentials_of(const struct credentials *c, const char *provider, struct span tenant,
				  unsigned *ret_versions)
{
	const char *id = NULL;

	*ret_versions = 0;
	for (size_t i = credentials_place(c, provider, tenant); credentials_is(c, i, provider, tenant); i++) {
		if (!c->rows[i].live)
			continue;
		id = c->rows[i].id;
		++*ret_versions;
	}
	return id;
}

const char *credentials_find(const struct credentials *c, const char *provider, struct span tenant,
			     unsigned *ret_versions)
{
	const char *own = credentials_of(c, provider, tenant, ret_versions);

	return own ? own : credentials_of(c, provider, SPAN_LIT("*"), ret_versions);
}

const struct credentials_row *credentials_row(const struct credentials *c, struct span id)
{
	const struct credentials_row *newest = NULL;

	for (size_t i = 0; i < c->n; i++)
		if (span_eq_str(id, c->rows[i].id))
			newest = &c->rows[i];
	return newest;
}

bool credentials_id_valid(struct span id, struct span provider, struct span tenant)
{
	if (span_eq_str(tenant, "*"))
		return span_eq(id, provider);
	return id.len == provider.len + 1 + tenant.len && span_eq(span_of(id.p, provider.len), provider) &&
	       id.p[provider.len] == '@' && span_eq(span_of(id.p + provider.len + 1, tenant.len), tenant);
}
