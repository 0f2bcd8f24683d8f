/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/store.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

void store_deinit(struct store *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->entries[i].blob);
	free(s->entries);
	*s = STORE_NULL;
}

size_t store_count(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->entries[i].blob != NULL;
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

	*ret_found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = store_compare(id, &s->entries[mid]);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct store_entry *store_find(const struct store *s, struct span id)
{
	bool found;
	size_t at = store_place(s, id, &found);

	return found && s->entries[at].blob ? &s->entries[at] : NULL;
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

int store_put(struct store *s, struct span id, uint64_t version, struct span blob, bool checked, bool *ret_replaced)
{
	bool found;

	assert(id.len > 0 && id.len <= STORE_ID_BYTES_MAX && blob.len > 0);
	size_t at = store_place(s, id, &found);
	struct store_entry *e = found ? &s->entries[at] : NULL;
	bool same = e && e->blob && span_eq(span_of(e->blob, e->blob_len), blob);
	if (e && (version < e->version_seen || (version == e->version_seen && e->blob && !same)))
		return STORE_E_OLD;
	if (same && (e->checked || !checked)) {
		*ret_replaced = false;
		return 0;
	}
	uint8_t *copy = malloc(blob.len);
	if (!copy)
		return err_origin(-ENOMEM);
	int r = found ? 0 : store_insert(s, at, id);
	if (r) {
		free(copy);
		return r;
	}
	assert(s->entries); /* found, or inserted just now */
	e = &s->entries[at];
	*ret_replaced = e->blob && !same;
	memcpy(copy, blob.p, blob.len);
	free(e->blob);
	e->blob = copy;
	e->blob_len = blob.len;
	e->checked = false;
	if (checked)
		store_mark_checked(e, version);
	return 0;
}

void store_mark_checked(struct store_entry *e, uint64_t version)
{
	assert(e->blob && version >= e->version_seen);
	e->checked = true;
	e->version_seen = version;
}

bool store_drop(struct store *s, struct span id)
{
	struct store_entry *e = store_find(s, id);

	if (!e)
		return false;
	free(TAKE(e->blob));
	e->blob_len = 0;
	e->checked = false;
	return true;
}
