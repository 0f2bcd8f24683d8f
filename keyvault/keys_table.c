/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table as bytes, all numbers big-endian:
 *
 *      "BHK1" | u64 count | u32 generation | u8 roots | 2 * (id 32, wrapped 72)
 *      | u8 what | u8 step | u32 rate | u32 generation | tenant 65 | u32 keys
 *      | keys * (id 16, u8 state, u32 version, u32 generation_min, tenant 65, wrapped 72) | BLAKE2b-256 MAC of all that
 *
 * A tenant's name is padded with zeros. Nothing in here is believed before the MAC is right, but for the lengths that
 * are needed to find it and the wrapped master key, which is authenticated by itself.
 */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/err.h"
#include "keyvault/keys_wrap.h"

#define KEYS_MAGIC     "BHK1"
#define KEYS_MAC_BYTES 32

enum {
	KEYS_ROOTS_AT = 4 + 8 + 4 + 1,
	KEYS_ROOT_BYTES = KEYS_ROOT_ID_BYTES + KEYS_WRAPPED_BYTES,
	KEYS_ROTATION_AT = KEYS_ROOTS_AT + KEYS_ROOTS_MAX * KEYS_ROOT_BYTES,
	KEYS_ROWS_AT = KEYS_ROTATION_AT + 1 + 1 + 4 + 4 + KEYS_TENANT_BYTES + 4,
	KEYS_ROW_BYTES = KEYS_ID_BYTES + 1 + 4 + 4 + KEYS_TENANT_BYTES + KEYS_WRAPPED_BYTES,
};

_Static_assert(KEYS_ROWS_AT + KEYS_TENANTS_MAX * KEYS_ROW_BYTES + KEYS_MAC_BYTES <= KEYS_HALF_EVERY,
	       "a half holds all");

/* ---- a cursor ---- */

static void table_put(uint8_t **at, const void *bytes, size_t len)
{
	memcpy(*at, bytes, len);
	*at += len;
}

static void table_put_number(uint8_t **at, uint64_t n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		(*at)[i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
	*at += bytes;
}

static void table_get(const uint8_t **at, void *to, size_t len)
{
	memcpy(to, *at, len);
	*at += len;
}

static uint64_t table_get_number(const uint8_t **at, size_t bytes)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | (*at)[i];
	*at += bytes;
	return n;
}

static void table_mac(const struct keys *k, const uint8_t *bytes, size_t len, uint8_t ret_mac[KEYS_MAC_BYTES])
{
	const struct secret *key = keyring_purpose(k->keyring, PURPOSE_KEY_TABLE);

	secret_open(k->arena);
	(void)crypto_generichash(ret_mac, KEYS_MAC_BYTES, bytes, len, key->p, key->len);
	secret_close(k->arena);
}

/* ---- writing ---- */

static void table_put_head(const struct keys *k, uint64_t count, uint8_t **at)
{
	const struct keys_rotation *r = &k->rotation;

	table_put(at, KEYS_MAGIC, 4);
	table_put_number(at, count, 8);
	table_put_number(at, k->generation, 4);
	table_put_number(at, k->n_roots, 1);
	for (size_t i = 0; i < KEYS_ROOTS_MAX; i++) {
		table_put(at, k->roots[i].id, KEYS_ROOT_ID_BYTES);
		table_put(at, k->roots[i].wrapped, KEYS_WRAPPED_BYTES);
	}
	table_put_number(at, r->what, 1);
	table_put_number(at, r->step, 1);
	table_put_number(at, r->rate, 4);
	table_put_number(at, r->generation, 4);
	table_put(at, r->tenant, KEYS_TENANT_BYTES);
	table_put_number(at, k->n_tenants, 4);
}

int keys_format(const struct keys *k, uint64_t count, uint8_t **ret_bytes, size_t *ret_len)
{
	size_t len = KEYS_ROWS_AT + k->n_tenants * KEYS_ROW_BYTES + KEYS_MAC_BYTES;
	uint8_t *bytes = calloc(1, len), *at = bytes;

	if (!bytes)
		return err_origin(-ENOMEM);
	table_put_head(k, count, &at);
	for (size_t i = 0; i < k->n_tenants; i++) {
		const struct keys_tenant *t = &k->tenants[i];

		table_put(&at, t->id, KEYS_ID_BYTES);
		table_put_number(&at, t->state, 1);
		table_put_number(&at, t->version, 4);
		table_put_number(&at, t->generation_min, 4);
		table_put(&at, t->tenant, KEYS_TENANT_BYTES);
		table_put(&at, t->wrapped, KEYS_WRAPPED_BYTES);
	}
	assert(at + KEYS_MAC_BYTES == bytes + len);
	table_mac(k, bytes, len - KEYS_MAC_BYTES, at);
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* ---- reading ---- */

size_t keys_parse_roots(struct span bytes, uint64_t *ret_count, struct keys_root ret_roots[KEYS_ROOTS_MAX])
{
	const uint8_t *at = bytes.p + 4;

	if (bytes.len < KEYS_ROWS_AT + KEYS_MAC_BYTES || !span_eq(span_of(bytes.p, 4), SPAN_LIT(KEYS_MAGIC)))
		return 0;
	*ret_count = table_get_number(&at, 8);
	(void)table_get_number(&at, 4);
	size_t n = (size_t)table_get_number(&at, 1);
	for (size_t i = 0; i < KEYS_ROOTS_MAX; i++) {
		table_get(&at, ret_roots[i].id, KEYS_ROOT_ID_BYTES);
		table_get(&at, ret_roots[i].wrapped, KEYS_WRAPPED_BYTES);
	}
	return *ret_count > 0 && n <= KEYS_ROOTS_MAX ? n : 0;
}

static void table_get_rotation(struct keys *k, const uint8_t **at)
{
	struct keys_rotation *r = &k->rotation;

	r->what = (uint8_t)table_get_number(at, 1);
	r->step = (uint8_t)table_get_number(at, 1);
	r->rate = (uint32_t)table_get_number(at, 4);
	r->generation = (uint32_t)table_get_number(at, 4);
	table_get(at, r->tenant, KEYS_TENANT_BYTES);
}

static void table_get_row(struct keys_tenant *t, const uint8_t **at)
{
	table_get(at, t->id, KEYS_ID_BYTES);
	t->state = (enum keys_state)table_get_number(at, 1);
	t->version = (uint32_t)table_get_number(at, 4);
	t->generation_min = (uint32_t)table_get_number(at, 4);
	table_get(at, t->tenant, KEYS_TENANT_BYTES);
	table_get(at, t->wrapped, KEYS_WRAPPED_BYTES);
}

/* The whole of it: how many rows, where the MAC is, is it right? */
static bool table_is_whole(const struct keys *k, struct span bytes, size_t *ret_rows)
{
	const uint8_t *at = bytes.p + KEYS_ROWS_AT - 4;
	uint8_t mac[KEYS_MAC_BYTES];

	*ret_rows = (size_t)table_get_number(&at, 4);
	if (*ret_rows > KEYS_TENANTS_MAX || bytes.len < KEYS_ROWS_AT + *ret_rows * KEYS_ROW_BYTES + KEYS_MAC_BYTES)
		return false;
	size_t len = KEYS_ROWS_AT + *ret_rows * KEYS_ROW_BYTES;
	table_mac(k, bytes.p, len, mac);
	return secret_eq(mac, bytes.p + len, sizeof(mac));
}

bool keys_is_cut(struct span half)
{
	return half.len < KEYS_ROWS_AT + KEYS_MAC_BYTES || sodium_is_zero(half.p + KEYS_ROWS_AT, KEYS_MAC_BYTES);
}

int keys_parse(struct keys *k, struct span bytes)
{
	const uint8_t *at = bytes.p + 4;
	size_t n;

	if (!table_is_whole(k, bytes, &n))
		return KEYS_E_ROOT;
	struct keys_tenant *tenants = calloc(n + 1, sizeof(*tenants));
	if (!tenants)
		return err_origin(-ENOMEM);
	k->count = table_get_number(&at, 8);
	k->generation = (uint32_t)table_get_number(&at, 4);
	k->n_roots = keys_parse_roots(bytes, &k->count, k->roots);
	at = bytes.p + KEYS_ROTATION_AT;
	table_get_rotation(k, &at);
	at = bytes.p + KEYS_ROWS_AT;
	for (size_t i = 0; i < n; i++)
		table_get_row(&tenants[i], &at);
	free(k->tenants);
	k->tenants = tenants;
	k->n_tenants = n;
	k->cap = n + 1;
	return 0;
}
