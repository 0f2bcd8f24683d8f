/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that changes the state of a key. Each change is made in memory, saved, and taken back when it could
 * not be saved. */
#include "keyvault/rotate.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/err.h"

const char *rotate_what_name(enum rotate_what what)
{
	static const char *const names[] = {"", "root", "tenant", "credential"};

	assert(what < ARRAY_LEN(names));
	return names[what];
}

const char *rotate_step_name(enum rotate_step step)
{
	static const char *const names[N_ROTATE_STEPS] = {
		"", "pending", "acknowledged", "active", "rewrapped", "verified", "retired",
	};

	assert(step < N_ROTATE_STEPS);
	return names[step];
}

enum rotate_step rotate_step(const struct vault *v)
{
	return (enum rotate_step)v->keys.rotation.step;
}

static enum rotate_what rotate_what(const struct vault *v)
{
	return (enum rotate_what)v->keys.rotation.what;
}

/* ---- a change of the table, or none ---- */

static int rotate_copy(const struct keys *k, struct keys *ret_before)
{
	*ret_before = *k;
	ret_before->tenants = calloc(k->cap + 1, sizeof(*k->tenants));
	if (!ret_before->tenants)
		return err_origin(-ENOMEM);
	if (k->n_tenants)
		memcpy(ret_before->tenants, k->tenants, k->n_tenants * sizeof(*k->tenants));
	return 0;
}

/* Saves what was changed when `r` is 0; puts `before` back when that fails or `r` is not 0. */
static int rotate_commit(struct keys *k, struct keys *before, int r)
{
	if (!r && keys_save(k))
		r = VAULT_E_STORAGE;
	if (!r) {
		free(before->tenants);
		return 0;
	}
	before->count = k->count; /* one half may have been written */
	free(k->tenants);
	*k = *before;
	return r;
}

/* ---- PENDING ---- */

static bool rotate_is_of(const struct keys_rotation *r, const char *tenant)
{
	return !r->tenant[0] || strcmp(r->tenant, tenant) == 0;
}

int rotate_check(const struct vault *v, enum rotate_what what, struct span tenant)
{
	if (rotate_what(v) != ROTATE_NONE)
		return VAULT_E_BUSY;
	if (what == ROTATE_ROOT)
		return tenant.len ? VAULT_E_NOTHING : 0;
	if (tenant.len ? !keys_active(&v->keys, tenant) : v->keys.n_tenants == 0)
		return VAULT_E_NOTHING;
	return 0;
}

/* Rows are added behind the ACTIVE one of the same tenant, so each is met before its successor. */
static int rotate_add_successors(struct keys *k)
{
	int r = 0;

	for (size_t i = 0; !r && i < k->n_tenants; i++) {
		char tenant[KEYS_TENANT_BYTES];
		if (k->tenants[i].state != KEYS_ACTIVE || !rotate_is_of(&k->rotation, k->tenants[i].tenant))
			continue;
		memcpy(tenant, k->tenants[i].tenant, sizeof(tenant)); /* the table moves */
		r = keys_add(k, span_str(tenant), KEYS_PENDING) ? VAULT_E_FULL : 0;
	}
	return r;
}

int rotate_begin(struct vault *v, enum rotate_what what, struct span tenant, uint32_t rate)
{
	struct keys *k = &v->keys, before;
	int r = rotate_check(v, what, tenant);

	assert(what == ROTATE_TENANT || what == ROTATE_CREDENTIAL);
	if (!r)
		r = rotate_copy(k, &before);
	if (r)
		return r;
	k->rotation = (struct keys_rotation){
		.what = (uint8_t)what, .step = ROTATE_PENDING, .rate = rate, .generation = k->generation + 1};
	if (tenant.len)
		memcpy(k->rotation.tenant, tenant.p, tenant.len);
	return rotate_commit(k, &before, what == ROTATE_TENANT ? rotate_add_successors(k) : 0);
}

/* Does the new root key open what lies on the disk? */
static int rotate_try_root(struct vault *v, const struct secret *root)
{
	struct keyring keyring = KEYRING_NULL;
	struct keys keys;

	keyring_init(&keyring, v->arena);
	keys_init(&keys, v->arena, &keyring, v->keys.fd);
	int r = keys_open(&keys, root);
	keys_deinit(&keys);
	return r == 0 ? 0 : r == KEYS_E_FULL ? VAULT_E_FULL : r < 0 ? r : VAULT_E_ROOT;
}

int rotate_begin_root(struct vault *v, const struct secret *by, const struct secret *root, struct span file)
{
	struct keys *k = &v->keys, before;
	int r = rotate_check(v, ROTATE_ROOT, SPAN_NULL);

	if (!r && file.len && files_write_next(&v->files, file))
		r = VAULT_E_STORAGE;
	if (!r)
		r = rotate_copy(k, &before);
	if (r)
		return r;
	k->rotation = (struct keys_rotation){.what = ROTATE_ROOT, .step = ROTATE_PENDING};
	r = keys_add_root(k, by, root);
	r = rotate_commit(k, &before, r == 0 ? 0 : r == KEYS_E_FULL ? VAULT_E_FULL : VAULT_E_ROOT);
	return r ? r : rotate_try_root(v, root);
}

/* ---- ACKNOWLEDGED ---- */

/* What the file holds, read again: it must be this table, and every key that is to be used must come out of it. */
static int rotate_read_back(struct vault *v)
{
	struct keys disk;

	keys_init(&disk, v->arena, &v->keyring, v->keys.fd);
	int r = keys_reload(&disk);
	if (!r && (disk.count != v->keys.count || disk.n_tenants != v->keys.n_tenants))
		r = VAULT_E_ROOT;
	for (size_t i = 0; !r && i < disk.n_tenants; i++) {
		struct secret key = SECRET_NULL;
		if (disk.tenants[i].state != KEYS_PENDING)
			continue;
		r = keys_unwrap(&disk, &disk.tenants[i], &key);
		secret_free(v->arena, &key);
	}
	free(disk.tenants);
	return r == 0 ? 0 : r == KEYS_E_FULL ? VAULT_E_FULL : r < 0 ? r : VAULT_E_ROOT;
}

/* ---- ACTIVE ---- */

static int rotate_activate(struct vault *v)
{
	struct keys *k = &v->keys;

	if (k->rotation.what == ROTATE_ROOT)
		return v->files.configured_key || files_take_next(&v->files, v->arena) == 0 ? 0 : VAULT_E_STORAGE;
	if (k->rotation.what == ROTATE_CREDENTIAL)
		k->generation = k->rotation.generation;
	for (size_t i = 0; k->rotation.what == ROTATE_TENANT && i < k->n_tenants; i++) {
		struct keys_tenant *t = &k->tenants[i];
		if (!rotate_is_of(&k->rotation, t->tenant) || !keys_find_state(k, t->tenant, KEYS_PENDING))
			continue; /* a tenant that came meanwhile has a new key already */
		if (t->state == KEYS_ACTIVE)
			t->state = KEYS_RETIRING;
	}
	for (size_t i = 0; k->rotation.what == ROTATE_TENANT && i < k->n_tenants; i++)
		if (k->tenants[i].state == KEYS_PENDING)
			k->tenants[i].state = KEYS_ACTIVE;
	return 0;
}

/* ---- RETIRED ---- */

/* Out of one half of the file before the rotation is over, and out of the other with its end: one that is cut off in
 * between is gone on with, and does this again. */
static int rotate_wipe(struct keys *k)
{
	int r = keys_save(k) ? VAULT_E_STORAGE : 0;

	k->rotation = (struct keys_rotation){0};
	return r;
}

static int rotate_retire(struct vault *v)
{
	struct keys *k = &v->keys;

	switch (rotate_what(v)) {
	case ROTATE_ROOT:
		(void)keys_keep_root(k, k->roots[KEYS_ROOTS_MAX - 1].id);
		memcpy(k->root_id, k->roots[0].id, sizeof(k->root_id));
		break;
	case ROTATE_TENANT:
		(void)keys_remove(k, KEYS_RETIRING);
		break;
	default:
		for (size_t i = 0; i < k->n_tenants; i++)
			if (rotate_is_of(&k->rotation, k->tenants[i].tenant))
				k->tenants[i].generation_min = k->rotation.generation;
	}
	return rotate_wipe(k);
}

int rotate_restored(struct vault *v)
{
	struct keys *k = &v->keys, before;

	if (rotate_what(v) != ROTATE_ROOT)
		return 0;
	int r = rotate_copy(k, &before);
	if (r)
		return r;
	(void)keys_keep_root(k, k->root_id);
	r = rotate_commit(k, &before, rotate_wipe(k));
	return r || files_drop_next(&v->files) == 0 ? r : VAULT_E_STORAGE;
}

/* ---- from step to step ---- */

const char *rotate_waits(const struct vault *v)
{
	const struct keys *k = &v->keys;

	/* The operator's own file: until the core was opened with the new key, the old one must do. */
	if (rotate_what(v) == ROTATE_ROOT && rotate_step(v) == ROTATE_ACKNOWLEDGED && v->files.configured_key &&
	    memcmp(k->root_id, k->roots[KEYS_ROOTS_MAX - 1].id, sizeof(k->root_id)) != 0)
		return "root key";
	return NULL;
}

static int rotate_effect(struct vault *v)
{
	switch (rotate_step(v)) {
	case ROTATE_PENDING:
		return rotate_read_back(v);
	case ROTATE_ACKNOWLEDGED:
		return rotate_activate(v);
	case ROTATE_VERIFIED:
		return rotate_retire(v);
	default:
		assert(rotate_left(v) == 0);
		return 0;
	}
}

int rotate_advance(struct vault *v)
{
	struct keys *k = &v->keys, before;
	enum rotate_step from = rotate_step(v);
	bool root = rotate_what(v) == ROTATE_ROOT;

	assert(from != ROTATE_IDLE && !rotate_waits(v));
	int r = rotate_copy(k, &before);
	if (r)
		return r;
	r = rotate_effect(v);
	if (from != ROTATE_VERIFIED)
		k->rotation.step = (uint8_t)(from + 1);
	r = rotate_commit(k, &before, r);
	if (!r && root && from == ROTATE_VERIFIED && files_drop_next(&v->files))
		r = VAULT_E_STORAGE;
	return r;
}

void rotate_reopen(struct vault *v)
{
	v->keys.rotation.step = ROTATE_ACTIVE; /* also what a core would do that is killed before the next save */
}

/* ---- the credentials ---- */

/* NULL when it is no affair of this rotation. */
static bool rotate_concerns(const struct vault *v, const struct store_version *of, struct seal_view *ret_view,
			    bool *ret_left)
{
	const struct keys_rotation *r = &v->keys.rotation;
	char tenant[KEYS_TENANT_BYTES] = "";

	if (r->what == ROTATE_ROOT || !of->blob || !of->checked ||
	    seal_parse(span_of(of->blob, of->blob_len), ret_view))
		return false;
	memcpy(tenant, ret_view->binding.tenant.p, ret_view->binding.tenant.len);
	if (!rotate_is_of(r, tenant))
		return false;
	const struct keys_tenant *key = keys_find(&v->keys, ret_view->binding.tenant, ret_view->key_id);
	*ret_left =
		r->what == ROTATE_TENANT ? key && key->state == KEYS_RETIRING : ret_view->generation < r->generation;
	return true;
}

void rotate_count(const struct vault *v, size_t *ret_left, size_t *ret_total)
{
	struct seal_view view;
	bool left;

	*ret_left = *ret_total = 0;
	for (size_t i = 0; i < v->store.n; i++)
		for (size_t j = 0; j < STORE_LIVE_MAX; j++)
			if (rotate_concerns(v, &v->store.entries[i].live[j], &view, &left)) {
				++*ret_total;
				*ret_left += left;
			}
}

size_t rotate_left(const struct vault *v)
{
	size_t left, total;

	rotate_count(v, &left, &total);
	return left;
}

static bool rotate_reseal(struct vault *v, const struct store_entry *e, const struct store_version *of,
			  const struct seal_view *view, struct rotate_swap *swap)
{
	bool tenant = rotate_what(v) == ROTATE_TENANT;

	if (tenant ? seal_rewrap(&v->keys, view, swap->blob, &swap->blob_len)
		   : seal_again(&v->keys, view, swap->blob, &swap->blob_len))
		return false;
	memcpy(swap->id, e->id, sizeof(swap->id));
	swap->version = of->version;
	swap->at = tenant ? view->head.len : 0;
	swap->len = tenant ? view->key_id.len + view->wrapped.len : swap->blob_len;
	(void)crypto_generichash(swap->old, sizeof(swap->old), of->blob, of->blob_len, NULL, 0);
	return true;
}

/* *at counts places of versions, so that two of one credential are two. */
bool rotate_pick(struct vault *v, size_t *at, struct rotate_swap *ret_swap)
{
	struct seal_view view;
	bool left;

	for (; *at < v->store.n * STORE_LIVE_MAX; ++*at) {
		const struct store_entry *e = &v->store.entries[*at / STORE_LIVE_MAX];
		const struct store_version *of = &e->live[*at % STORE_LIVE_MAX];
		if (rotate_concerns(v, of, &view, &left) && left && rotate_reseal(v, e, of, &view, ret_swap)) {
			++*at;
			return true;
		}
	}
	return false;
}

int rotate_swapped(struct vault *v, const struct rotate_swap *swap)
{
	struct span id = span_str(swap->id);
	const struct store_version *of = store_version(store_find(&v->store, id), swap->version);
	uint8_t digest[32];

	if (!of)
		return 0; /* removed since */
	(void)crypto_generichash(digest, sizeof(digest), of->blob, of->blob_len, NULL, 0);
	if (memcmp(digest, swap->old, sizeof(digest)) != 0)
		return 0;
	int r = store_put(&v->store, id, swap->version, span_of(swap->blob, swap->blob_len), true);
	return r < 0 ? r : 0;
}
