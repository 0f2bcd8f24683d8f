/* SPDX-License-Identifier: Apache-2.0 */
/* Tenant keys. What wraps one binds its id, version and tenant, so none can stand in for another. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "keyvault/keys.h"
#include "keyvault/keys_wrap.h"

#define KEYS_NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

_Static_assert(KEYS_WRAPPED_BYTES == KEYS_NONCE_BYTES + KEYRING_KEY_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
	       "nonce and box");

void keys_wrap(struct secret_arena *a, const struct secret *by, struct span context, const struct secret *key,
	       uint8_t ret_wrapped[KEYS_WRAPPED_BYTES])
{
	assert(by->len == KEYRING_KEY_BYTES && key->len == KEYRING_KEY_BYTES);
	randombytes_buf(ret_wrapped, KEYS_NONCE_BYTES);
	secret_open(a);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret_wrapped + KEYS_NONCE_BYTES, NULL, key->p, key->len,
							 context.p, context.len, NULL, ret_wrapped, by->p);
	secret_close(a);
}

int keys_unwrap_with(struct secret_arena *a, const struct secret *by, struct span context,
		     const uint8_t wrapped[KEYS_WRAPPED_BYTES], struct secret *ret_key)
{
	struct secret key = SECRET_NULL;

	if (secret_alloc(a, KEYRING_KEY_BYTES, &key))
		return KEYS_E_FULL;
	secret_open(a);
	int r = crypto_aead_xchacha20poly1305_ietf_decrypt(key.p, NULL, NULL, wrapped + KEYS_NONCE_BYTES,
							   KEYS_WRAPPED_BYTES - KEYS_NONCE_BYTES, context.p,
							   context.len, wrapped, by->p);
	secret_close(a);
	if (r) {
		secret_free(a, &key);
		return KEYS_E_ROOT;
	}
	*ret_key = key;
	return 0;
}

/* ---- finding ---- */

static int tenant_compare(struct span name, const struct keys_tenant *t)
{
	size_t len = strlen(t->tenant);
	int c = memcmp(name.p, t->tenant, MIN(name.len, len));

	return c ? c : (name.len > len) - (name.len < len);
}

/* The first row of this tenant, or where it would have to be. */
static size_t tenant_place(const struct keys *k, struct span name)
{
	size_t low = 0, high = k->n_tenants;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (tenant_compare(name, &k->tenants[mid]) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool tenant_is(const struct keys *k, size_t at, struct span name)
{
	return at < k->n_tenants && tenant_compare(name, &k->tenants[at]) == 0;
}

static const struct keys_tenant *tenant_in(const struct keys *k, struct span tenant, enum keys_state state)
{
	for (size_t i = tenant_place(k, tenant); tenant_is(k, i, tenant); i++)
		if (k->tenants[i].state == state)
			return &k->tenants[i];
	return NULL;
}

const struct keys_tenant *keys_active(const struct keys *k, struct span tenant)
{
	return tenant_in(k, tenant, KEYS_ACTIVE);
}

bool keys_find_state(const struct keys *k, const char *tenant, enum keys_state state)
{
	return tenant_in(k, span_str(tenant), state) != NULL;
}

const struct keys_tenant *keys_find(const struct keys *k, struct span tenant, struct span id)
{
	assert(id.len == KEYS_ID_BYTES);
	for (size_t i = tenant_place(k, tenant); tenant_is(k, i, tenant); i++)
		if (memcmp(k->tenants[i].id, id.p, KEYS_ID_BYTES) == 0)
			return &k->tenants[i];
	return NULL;
}

/* ---- making ---- */

#define TENANT_CONTEXT_BYTES (7 + KEYS_ID_BYTES + 4 + KEYS_TENANT_BYTES)

static struct span tenant_context(const struct keys_tenant *t, uint8_t to[TENANT_CONTEXT_BYTES])
{
	uint8_t *at = to;

	memcpy(at, "tenant", 7);
	at += 7;
	memcpy(at, t->id, KEYS_ID_BYTES);
	at += KEYS_ID_BYTES;
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(t->version >> shift);
	memcpy(at, t->tenant, KEYS_TENANT_BYTES);
	return span_of(to, TENANT_CONTEXT_BYTES);
}

static int tenant_make(struct keys *k, struct keys_tenant *t)
{
	uint8_t context[TENANT_CONTEXT_BYTES];
	struct secret key = SECRET_NULL;

	if (secret_alloc(k->arena, KEYRING_KEY_BYTES, &key))
		return KEYS_E_FULL;
	secret_open(k->arena);
	randombytes_buf(key.p, key.len);
	secret_close(k->arena);
	randombytes_buf(t->id, sizeof(t->id));
	keys_wrap(k->arena, keyring_purpose(k->keyring, PURPOSE_CREDENTIALS), tenant_context(t, context), &key,
		  t->wrapped);
	secret_free(k->arena, &key);
	return 0;
}

/* Room for one more row. */
static bool tenant_room(struct keys *k)
{
	if (k->n_tenants == KEYS_TENANTS_MAX)
		return false;
	if (k->n_tenants < k->cap)
		return true;
	size_t cap = k->cap ? k->cap * 2 : 8;
	struct keys_tenant *tenants = realloc(k->tenants, cap * sizeof(*tenants));
	if (!tenants)
		return false;
	k->tenants = tenants;
	k->cap = cap;
	return true;
}

int keys_add(struct keys *k, struct span tenant, enum keys_state state)
{
	struct keys_tenant t = {.state = state, .version = 1, .generation_min = 1};
	size_t at = tenant_place(k, tenant);

	assert(tenant.len > 0 && tenant.len < sizeof(t.tenant));
	memcpy(t.tenant, tenant.p, tenant.len);
	for (; tenant_is(k, at, tenant); at++) {
		t.version = k->tenants[at].version + 1;
		t.generation_min = MAX(t.generation_min, k->tenants[at].generation_min);
	}
	if (tenant_make(k, &t) || !tenant_room(k))
		return KEYS_E_FULL;
	memmove(k->tenants + at + 1, k->tenants + at, (k->n_tenants - at) * sizeof(*k->tenants));
	k->tenants[at] = t;
	k->n_tenants++;
	return 0;
}

int keys_ensure(struct keys *k, struct span tenant, const struct keys_tenant **ret_key)
{
	const struct keys_tenant *key = keys_active(k, tenant);

	if (!key) {
		int r = keys_add(k, tenant, KEYS_ACTIVE);
		if (r)
			return r;
		size_t at = (size_t)(keys_active(k, tenant) - k->tenants);
		r = keys_save(k);
		if (r) {
			memmove(k->tenants + at, k->tenants + at + 1, (--k->n_tenants - at) * sizeof(*k->tenants));
			return r;
		}
		key = &k->tenants[at];
	}
	*ret_key = key;
	return 0;
}

int keys_unwrap(struct keys *k, const struct keys_tenant *t, struct secret *ret_key)
{
	uint8_t context[TENANT_CONTEXT_BYTES];

	return keys_unwrap_with(k->arena, keyring_purpose(k->keyring, PURPOSE_CREDENTIALS), tenant_context(t, context),
				t->wrapped, ret_key);
}

size_t keys_remove(struct keys *k, enum keys_state state)
{
	size_t kept = 0, before = k->n_tenants;

	for (size_t i = 0; i < before; i++)
		if (k->tenants[i].state != state)
			k->tenants[kept++] = k->tenants[i];
	memset(k->tenants + kept, 0, (before - kept) * sizeof(*k->tenants));
	k->n_tenants = kept;
	return before - kept;
}
