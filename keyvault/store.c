/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/store.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

void store_deinit(struct store *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t v = 0; v < STORE_LIVE_MAX; v++)
			free(s->entries[i].live[v].blob);
	free(s->entries);
	*s = STORE_NULL;
}

size_t store_count(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		for (size_t v = 0; v < STORE_LIVE_MAX; v++)
			n += s->entries[i].live[v].blob != NULL;
	return n;
}

static int store_compare(struct span id, const struct store_entry *e)
{
	size_t len = strlen(e->id);
	int c = memcmp(id.p, e->id, MIN(id.len, len));

	return c ? c : (id.len > len) - (id.len < len);
}

/* Where `id` is, or would have to be. */
static size_t store_place(const struct store *s, struct span id, bool *ret_found)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (store_compare(id, &s->entries[mid]) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_found = low < s->n && store_compare(id, &s->entries[low]) == 0;
	return low;
}

struct store_entry *store_find(const struct store *s, struct span id)
{
	bool found;
	size_t at = store_place(s, id, &found);

	return found ? &s->entries[at] : NULL;
}

struct store_version *store_version(struct store_entry *e, uint32_t version)
{
	for (size_t i = 0; e && i < STORE_LIVE_MAX; i++)
		if (e->live[i].blob && e->live[i].version == version)
			return &e->live[i];
	return NULL;
}

struct store_version *store_current(struct store_entry *e)
{
	struct store_version *newest = NULL;

	for (size_t i = 0; e && i < STORE_LIVE_MAX; i++) {
		if (!e->live[i].blob || !e->live[i].checked)
			continue;
		newest = &e->live[i];
		if (!newest->refused)
			return newest;
	}
	return newest;
}

/* An empty entry at `at`. */
static int store_insert(struct store *s, size_t at, struct span id)
{
	if (s->n == STORE_ENTRIES_MAX)
		return STORE_E_FULL;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct store_entry *entries = realloc(s->entries, cap * sizeof(*entries));
		if (!entries)
			return err_origin(-ENOMEM);
		s->entries = entries;
		s->cap = cap;
	}
	memmove(s->entries + at + 1, s->entries + at, (s->n - at) * sizeof(*s->entries));
	s->entries[at] = (struct store_entry){0};
	memcpy(s->entries[at].id, id.p, id.len);
	s->n++;
	return 0;
}

/* The place of this version, emptied; NULL when all are taken by others. */
static struct store_version *store_slot(struct store_entry *e, uint32_t version)
{
	struct store_version *old = store_version(e, version);

	if (old)
		return old;
	if (e->live[STORE_LIVE_MAX - 1].blob)
		return NULL;
	size_t at = 0;
	while (e->live[at].blob && e->live[at].version < version)
		at++;
	memmove(&e->live[at + 1], &e->live[at], (STORE_LIVE_MAX - 1 - at) * sizeof(e->live[0]));
	e->live[at] = (struct store_version){.version = version};
	return &e->live[at];
}

int store_put(struct store *s, struct span id, uint32_t version, struct span blob, bool checked)
{
	bool found;

	assert(id.len > 0 && id.len <= STORE_ID_BYTES_MAX && blob.len > 0);
	size_t at = store_place(s, id, &found);
	uint8_t *copy = malloc(blob.len);
	if (!copy)
		return err_origin(-ENOMEM);
	int r = found ? 0 : store_insert(s, at, id);
	struct store_version *v = r ? NULL : store_slot(&s->entries[at], version);
	if (!v) {
		free(copy);
		return r ? r : STORE_E_FULL;
	}
	memcpy(copy, blob.p, blob.len);
	free(v->blob);
	v->blob = copy;
	v->blob_len = blob.len;
	v->checked = checked;
	v->seen = true;
	return 0;
}

/* Closes the gaps; an entry without a blob goes. */
static void store_tidy(struct store *s, size_t at)
{
	struct store_entry *e = &s->entries[at];
	size_t n = 0;

	for (size_t i = 0; i < STORE_LIVE_MAX; i++)
		if (e->live[i].blob)
			e->live[n++] = e->live[i];
	memset(&e->live[n], 0, (STORE_LIVE_MAX - n) * sizeof(e->live[0]));
	if (n > 0)
		return;
	memmove(s->entries + at, s->entries + at + 1, (s->n - at - 1) * sizeof(*s->entries));
	s->n--;
}

static bool store_drop_range(struct store *s, struct span id, uint64_t from, uint64_t to)
{
	bool found, any = false;
	size_t at = store_place(s, id, &found);

	for (size_t i = 0; found && i < STORE_LIVE_MAX; i++) {
		struct store_version *v = &s->entries[at].live[i];
		if (!v->blob || v->version < from || v->version >= to)
			continue;
		free(TAKE(v->blob));
		any = true;
	}
	if (any)
		store_tidy(s, at);
	return any;
}

bool store_drop_below(struct store *s, struct span id, uint32_t version)
{
	return store_drop_range(s, id, 0, version);
}

void store_drop(struct store *s, struct span id, uint32_t version)
{
	(void)store_drop_range(s, id, version, (uint64_t)version + 1);
}

void store_unsee(struct store *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t v = 0; v < STORE_LIVE_MAX; v++)
			s->entries[i].live[v].seen = false;
}

size_t store_drop_unseen(struct store *s)
{
	size_t dropped = 0;

	for (size_t i = s->n; i-- > 0;) {
		size_t before = dropped;
		for (size_t v = 0; v < STORE_LIVE_MAX; v++) {
			struct store_version *version = &s->entries[i].live[v];
			if (!version->blob || version->seen)
				continue;
			free(TAKE(version->blob));
			dropped++;
		}
		if (dropped > before)
			store_tidy(s, i);
	}
	return dropped;
}
