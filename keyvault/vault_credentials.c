/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials in the open vault. What decides whether a blob from authd's store is believed, in this order: it
 * authenticates; its version is not void (marks.h); it is not an older form of what is there already. Only then its own
 * word on which versions it replaces (`since`) is written down and followed.
 */
#include <assert.h>

#include "keyvault/vault_credentials.h"

static int vault_seal_err(int e)
{
	switch (e) {
	case 0:
		return 0;
	case SEAL_E_FULL:
		return VAULT_E_FULL;
	case SEAL_E_OLD:
		return VAULT_E_OLD;
	default:
		return VAULT_E_FORGED;
	}
}

/* Does the blob authenticate, and may it be used at all? The secret is not kept. */
static int vault_check(struct vault *v, const struct seal_view *view)
{
	struct secret plain = SECRET_NULL;
	int r = vault_seal_err(seal_open(&v->keys, view, &plain));

	secret_free(v->arena, &plain);
	if (!r && view->binding.version < marks_get(&v->marks, view->binding.credential))
		r = VAULT_E_OLD;
	return r;
}

/* Of two that authenticate and have one version: does `blob` come after `old`? By its credential key, then by the
 * tenant key that this is wrapped under. */
static bool vault_is_newer(const struct vault *v, const struct store_version *old, const struct seal_view *blob)
{
	struct seal_view was;

	if (seal_parse(span_of(old->blob, old->blob_len), &was))
		return true;
	if (blob->generation != was.generation)
		return blob->generation > was.generation;
	const struct keys_tenant *active = keys_active(&v->keys, blob->binding.tenant);
	return active && memcmp(active->id, blob->key_id.p, KEYS_ID_BYTES) == 0 &&
	       memcmp(active->id, was.key_id.p, KEYS_ID_BYTES) != 0;
}

static int vault_marks_err(int e)
{
	switch (e) {
	case 0:
		return 0;
	case MARKS_E_STORAGE:
		return VAULT_E_STORAGE;
	case MARKS_E_FULL:
		return VAULT_E_PLACES;
	default:
		return VAULT_E_FULL;
	}
}

/* It has been authenticated: what it says about older ones is remembered, and they go. */
static int vault_obey(struct vault *v, const struct seal_view *view)
{
	const struct proto_binding *b = &view->binding;

	int r = marks_raise(&v->marks, b->credential, (uint32_t)b->since);
	if (!r)
		(void)store_drop_below(&v->store, b->credential, (uint32_t)b->since);
	return vault_marks_err(r);
}

static uint32_t vault_current(const struct vault *v, struct span id)
{
	const struct store_version *current = store_current(store_find(&v->store, id));

	return current ? current->version : 0;
}

static int vault_keep(struct vault *v, const struct seal_view *view, struct span blob, bool checked)
{
	int r = store_put(&v->store, view->binding.credential, (uint32_t)view->binding.version, blob, checked);

	return r > 0 ? VAULT_E_FULL : r;
}

int vault_load(struct vault *v, struct span id, struct span blob, bool *ret_changed)
{
	struct seal_view view;

	*ret_changed = false;
	if (seal_parse(blob, &view) || !span_eq(view.binding.credential, id))
		return VAULT_E_FORGED;
	struct store_version *old = store_version(store_find(&v->store, id), (uint32_t)view.binding.version);
	bool open = vault_is_open(v), same = old && span_eq(span_of(old->blob, old->blob_len), blob);
	if (same && (old->checked || !open)) {
		old->seen = true;
		return 0;
	}
	if (!open)
		return old && old->checked ? VAULT_E_OLD : vault_keep(v, &view, blob, false);
	int r = vault_check(v, &view);
	if (!r && old && old->checked && !vault_is_newer(v, old, &view))
		r = VAULT_E_OLD;
	uint32_t before = vault_current(v, id);
	if (!r)
		r = vault_obey(v, &view);
	if (!r)
		r = vault_keep(v, &view, blob, true);
	*ret_changed = before && vault_current(v, id) != before;
	return r;
}

int vault_check_new(struct vault *v, struct span id, struct span blob)
{
	struct seal_view view;

	if (!vault_is_open(v))
		return VAULT_E_SEALED;
	if (seal_parse(blob, &view) || !span_eq(view.binding.credential, id))
		return VAULT_E_FORGED;
	const struct keys_tenant *active = keys_active(&v->keys, view.binding.tenant);
	if (!active || memcmp(active->id, view.key_id.p, KEYS_ID_BYTES) != 0 || view.generation < v->keys.generation)
		return VAULT_E_ROTATED;
	int r = vault_check(v, &view);
	return r ? r : vault_marks_err(marks_try(&v->marks, id)); /* else it is stored, and cannot be loaded */
}

int vault_drop(struct vault *v, struct span id, uint32_t version, bool *ret_changed)
{
	const struct store_entry *e = store_find(&v->store, id);
	uint32_t before = vault_current(v, id), newest = 0;
	int r = 0;

	for (size_t i = 0; e && i < STORE_LIVE_MAX; i++)
		if (e->live[i].checked)
			newest = e->live[i].version;
	/* Bounded by what was authenticated: else one lie would void every version that is ever to come. */
	if (newest && vault_is_open(v))
		r = marks_raise(&v->marks, id, MIN(version, newest) + 1);
	/* Also where that cannot be remembered: nobody is to be given what was removed. */
	(void)store_drop_below(&v->store, id, version == UINT32_MAX ? version : version + 1);
	*ret_changed = before && vault_current(v, id) != before;
	return vault_marks_err(r);
}

bool vault_refuse(struct vault *v, struct span id, uint32_t version)
{
	struct store_entry *e = store_find(&v->store, id);
	struct store_version *refused = store_version(e, version);

	if (!refused || refused->refused || store_current(e) != refused)
		return false;
	refused->refused = true;
	if (store_current(e) != refused)
		return true;
	refused->refused = false; /* there is no other */
	return false;
}

/* One that waited: in use from now on, or why not. */
static int vault_settle(struct vault *v, struct store_version *waiting)
{
	struct seal_view view;

	if (seal_parse(span_of(waiting->blob, waiting->blob_len), &view))
		return VAULT_E_FORGED;
	int r = vault_check(v, &view);
	if (r)
		return r;
	if (marks_raise(&v->marks, view.binding.credential, (uint32_t)view.binding.since))
		return VAULT_E_STORAGE;
	waiting->checked = true;
	return 0;
}

bool vault_next_rejected(struct vault *v, size_t *at, char ret_id[STORE_ID_BYTES_MAX + 1], int *ret_why)
{
	assert(vault_is_open(v));
	while (*at < v->store.n) {
		struct store_entry *e = &v->store.entries[*at];
		/* The newest first: what it says is void is then found to be. */
		for (size_t i = STORE_LIVE_MAX; i-- > 0;) {
			if (!e->live[i].blob || e->live[i].checked)
				continue;
			*ret_why = vault_settle(v, &e->live[i]);
			if (*ret_why == 0 || *ret_why == VAULT_E_FULL)
				continue; /* no room to check it now: it is not used */
			memcpy(ret_id, e->id, sizeof(e->id));
			store_drop(&v->store, span_str(ret_id), e->live[i].version);
			return true;
		}
		/* What was believed before may be void by the word of one that came while the vault was sealed. */
		size_t n = v->store.n;
		(void)store_drop_below(&v->store, span_str(e->id), marks_get(&v->marks, span_str(e->id)));
		*at += v->store.n == n;
	}
	return false;
}

static bool vault_is_in_time(const struct proto_binding *b, uint64_t unix_s)
{
	return unix_s >= b->not_before && (b->not_after == 0 || unix_s < b->not_after);
}

int vault_fetch(struct vault *v, struct span id, uint64_t unix_s, struct span *ret_binding, struct secret *ret_secret)
{
	struct seal_view view;

	if (!vault_is_open(v))
		return VAULT_E_SEALED;
	for (;;) {
		const struct store_version *current = store_current(store_find(&v->store, id));
		if (!current)
			return VAULT_E_UNKNOWN;
		if (seal_parse(span_of(current->blob, current->blob_len), &view))
			return VAULT_E_FORGED;
		if (vault_is_in_time(&view.binding, unix_s))
			break;
		if (!vault_refuse(v, id, current->version))
			return VAULT_E_EXPIRED;
	}
	int r = vault_seal_err(seal_open(&v->keys, &view, ret_secret));
	if (!r)
		*ret_binding = view.binding_packed;
	return r;
}

int vault_add(struct vault *v, struct span binding, struct span secret, uint8_t ret_blob[SEAL_BYTES_MAX],
	      size_t *ret_len)
{
	const struct keys_tenant *key;
	struct proto_binding b;

	if (!vault_is_open(v))
		return v->files.initialised ? VAULT_E_SEALED : VAULT_E_UNINITIALISED;
	if (proto_unpack_record(&proto_binding_desc, binding, &b) || seal_check_binding(&b))
		return VAULT_E_BINDING;
	int r = keys_ensure(&v->keys, b.tenant, &key);
	if (r)
		return r == KEYS_E_STORAGE ? VAULT_E_STORAGE : VAULT_E_FULL;
	switch (seal_credential(&v->keys, binding, secret, ret_blob, ret_len)) {
	case 0:
		return 0;
	case SEAL_E_FULL:
		return VAULT_E_FULL;
	case SEAL_E_SECRET:
		return VAULT_E_SECRET;
	default:
		return VAULT_E_BINDING;
	}
}
