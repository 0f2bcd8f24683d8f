/* SPDX-License-Identifier: Apache-2.0 */
/* A slot: "BHM1" | u64 BE count | u32 BE version | u8 length | id, zero-padded | MAC 32, over its place too. */
#include "keyvault/marks.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/err.h"

#define MARKS_MAGIC     "BHM1"
#define MARKS_MAC_BYTES 32

enum {
	MARKS_AT_COUNT = 4,
	MARKS_AT_VERSION = MARKS_AT_COUNT + 8,
	MARKS_AT_ID = MARKS_AT_VERSION + 4,
	MARKS_AT_MAC = MARKS_AT_ID + 1 + MARKS_ID_BYTES_MAX + 1,
	MARKS_SLOT_BYTES = MARKS_AT_MAC + MARKS_MAC_BYTES,
	MARKS_SLOT_EVERY = 256,
};

_Static_assert(MARKS_SLOT_BYTES <= MARKS_SLOT_EVERY, "a slot has room");

void marks_init(struct marks *m, struct secret_arena *arena, const struct keyring *keyring, int fd)
{
	*m = (struct marks){.arena = arena, .keyring = keyring, .fd = fd};
}

void marks_close(struct marks *m)
{
	free(m->marks);
	marks_init(m, m->arena, m->keyring, m->fd);
}

/* ---- a slot as bytes ---- */

static void marks_mac(const struct marks *m, const uint8_t *slot, size_t place, uint8_t ret_mac[MARKS_MAC_BYTES])
{
	const struct secret *key = keyring_purpose(m->keyring, PURPOSE_MARKS);
	crypto_generichash_state h;
	uint8_t where[8];

	put_be64(where, place);
	secret_open(m->arena);
	(void)crypto_generichash_init(&h, key->p, key->len, MARKS_MAC_BYTES);
	(void)crypto_generichash_update(&h, where, sizeof(where));
	(void)crypto_generichash_update(&h, slot, MARKS_AT_MAC);
	(void)crypto_generichash_final(&h, ret_mac, MARKS_MAC_BYTES);
	secret_close(m->arena);
	secret_wipe(&h, sizeof(h)); /* its first block is the key */
}

static bool marks_parse(const struct marks *m, const uint8_t *slot, size_t place, struct mark *ret)
{
	uint8_t mac[MARKS_MAC_BYTES];

	if (!span_eq(span_of(slot, 4), SPAN_LIT(MARKS_MAGIC)))
		return false;
	marks_mac(m, slot, place, mac);
	if (!secret_eq(mac, slot + MARKS_AT_MAC, sizeof(mac)))
		return false;
	size_t len = slot[MARKS_AT_ID];
	*ret = (struct mark){.count = get_be64(slot + MARKS_AT_COUNT),
			     .version_min = get_be32(slot + MARKS_AT_VERSION),
			     .place = place};
	memcpy(ret->id, slot + MARKS_AT_ID + 1, MIN(len, (size_t)MARKS_ID_BYTES_MAX));
	return true;
}

static bool marks_write(const struct marks *m, const struct mark *mark)
{
	uint8_t slot[MARKS_SLOT_BYTES] = {0};
	size_t len = strlen(mark->id);

	memcpy(slot, MARKS_MAGIC, 4);
	put_be64(slot + MARKS_AT_COUNT, mark->count);
	put_be32(slot + MARKS_AT_VERSION, mark->version_min);
	slot[MARKS_AT_ID] = (uint8_t)len;
	memcpy(slot + MARKS_AT_ID + 1, mark->id, len);
	marks_mac(m, slot, mark->place, slot + MARKS_AT_MAC);
	off_t at = (off_t)(mark->place * 2 + mark->count % 2) * MARKS_SLOT_EVERY;
	return pwrite(m->fd, slot, sizeof(slot), at) == sizeof(slot) && fdatasync(m->fd) == 0;
}

/* ---- by id ---- */

static int marks_compare(struct span id, const struct mark *mark)
{
	size_t len = strlen(mark->id);
	int c = memcmp(id.p, mark->id, MIN(id.len, len));

	return c ? c : (id.len > len) - (id.len < len);
}

/* Where `id` is, or would have to be. */
static size_t marks_search(const struct marks *m, struct span id, bool *ret_found)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (marks_compare(id, &m->marks[mid]) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_found = low < m->n && marks_compare(id, &m->marks[low]) == 0;
	return low;
}

static int marks_reserve(struct marks *m)
{
	if (m->n < m->cap)
		return 0;
	size_t cap = m->cap ? m->cap * 2 : 16;
	struct mark *marks = realloc(m->marks, cap * sizeof(*marks));
	if (!marks)
		return err_origin(-ENOMEM);
	m->marks = marks;
	m->cap = cap;
	return 0;
}

static int marks_insert(struct marks *m, const struct mark *mark)
{
	bool found;
	size_t at = marks_search(m, span_str(mark->id), &found);

	if (found)
		return MARKS_E_DAMAGED; /* two places, one credential: we never wrote that */
	int r = marks_reserve(m);
	if (r)
		return r;
	memmove(m->marks + at + 1, m->marks + at, (m->n - at) * sizeof(*m->marks));
	m->marks[at] = *mark;
	m->n++;
	return 0;
}

/* One place. *ret_end: there is none at `place`. */
static int marks_read(struct marks *m, size_t place, bool *ret_end)
{
	uint8_t slots[2 * MARKS_SLOT_EVERY] = {0};
	struct mark found[2] = {0};
	ssize_t n = pread(m->fd, slots, sizeof(slots), (off_t)(place * 2) * MARKS_SLOT_EVERY);

	if (n < 0)
		return err_origin(-errno);
	*ret_end = n == 0;
	if (n == 0)
		return 0;
	m->places = place + 1;
	for (unsigned i = 0; i < 2; i++)
		if (!marks_parse(m, slots + i * MARKS_SLOT_EVERY, place, &found[i]))
			found[i].count = 0;
	const struct mark *newest = &found[found[1].count > found[0].count];
	if (newest->count)
		return marks_insert(m, newest);
	/* A place that was never written to the end was never acted on. */
	return sodium_is_zero(slots, sizeof(slots)) ? 0 : MARKS_E_DAMAGED;
}

int marks_open(struct marks *m)
{
	bool end = false;
	int r = 0;

	for (size_t place = 0; !r && !end && place < MARKS_MAX; place++)
		r = marks_read(m, place, &end);
	if (r)
		marks_close(m);
	return r;
}

uint32_t marks_get(const struct marks *m, struct span id)
{
	bool found;
	size_t at = marks_search(m, id, &found);

	return found ? m->marks[at].version_min : 0;
}

/* `at` is where marks_search() found it. */
static int marks_put(struct marks *m, struct span id, uint32_t version_min, bool found, size_t at)
{
	assert(id.len > 0 && id.len <= MARKS_ID_BYTES_MAX);
	if (!found && m->places == MARKS_MAX)
		return MARKS_E_FULL;
	int r = marks_reserve(m); /* before it is written: what could not be kept would get a second place */
	if (r)
		return r;
	struct mark next = {.place = m->places};
	if (found)
		next = m->marks[at];
	memcpy(next.id, id.p, id.len);
	next.version_min = version_min;
	next.count++;
	if (!marks_write(m, &next))
		return MARKS_E_STORAGE;
	if (found) {
		m->marks[at] = next;
		return 0;
	}
	m->places++;
	return marks_insert(m, &next);
}

int marks_raise(struct marks *m, struct span id, uint32_t version_min)
{
	bool found;
	size_t at = marks_search(m, id, &found);

	return found && m->marks[at].version_min >= version_min ? 0 : marks_put(m, id, version_min, found, at);
}

int marks_try(struct marks *m, struct span id)
{
	bool found;
	size_t at = marks_search(m, id, &found);

	return marks_put(m, id, found ? m->marks[at].version_min : 0, found, at);
}
