/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit_ring.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

/* An event's strings are 150 bytes or so; twice that, and the places are what runs out first. */
#define AUDIT_RING_BYTES_EACH 320

int audit_ring_init(struct audit_ring *r, size_t items_max)
{
	*r = (struct audit_ring){.items_max = items_max};
	r->bytes_max = items_max * AUDIT_RING_BYTES_EACH + 2 * AUDIT_EVENT_TEXT_MAX;
	r->items = calloc(items_max, sizeof(*r->items));
	r->bytes = malloc(r->bytes_max);
	if (r->items && r->bytes)
		return 0;
	audit_ring_deinit(r);
	return -ENOMEM;
}

void audit_ring_deinit(struct audit_ring *r)
{
	free(r->items);
	free(r->bytes);
	*r = (struct audit_ring){0};
}

struct audit_item *audit_ring_at(struct audit_ring *r, size_t i)
{
	assert(i < r->n);
	return &r->items[(r->first + i) % r->items_max];
}

void audit_ring_pop(struct audit_ring *r)
{
	assert(r->n > 0);
	r->first = (r->first + 1) % r->items_max;
	if (--r->n == 0)
		r->write_at = 0;
}

/* Contiguous room for one event's strings. The bytes in use run from the oldest item's to write_at, around the end. */
static bool audit_ring_room(struct audit_ring *r)
{
	size_t oldest = r->n > 0 ? audit_ring_at(r, 0)->begin : 0;

	if (r->n > 0 && r->write_at <= oldest)
		return oldest - r->write_at > AUDIT_EVENT_TEXT_MAX;
	if (r->bytes_max - r->write_at > AUDIT_EVENT_TEXT_MAX)
		return true;
	if (oldest <= AUDIT_EVENT_TEXT_MAX)
		return false;
	r->write_at = 0;
	return true;
}

/* One byte is taken by every item, so that no two begin at the same place: equal ends mean full, never empty. */
static struct audit_item *audit_ring_add(struct audit_ring *r)
{
	struct audit_item *item = &r->items[(r->first + r->n) % r->items_max];

	*item = (struct audit_item){.begin = r->write_at++};
	r->n++;
	return item;
}

void audit_ring_settle(struct audit_ring *r)
{
	if (r->lost_first == 0 || r->n == r->items_max || !audit_ring_room(r))
		return;
	struct audit_item *item = audit_ring_add(r);
	item->is_gap = true;
	item->gap = (struct proto_gap){.first_seq = r->lost_first, .last_seq = r->lost_last};
	item->last_seq = r->lost_last;
	r->lost_first = 0;
}

/* Copies what a field views, at most `max` bytes of it, and makes it view the copy. */
static void audit_ring_copy(struct audit_ring *r, struct span *field, size_t max)
{
	uint8_t *to = r->bytes + r->write_at;

	field->len = MIN(field->len, max);
	if (field->len > 0)
		memcpy(to, field->p, field->len);
	field->p = to;
	r->write_at += field->len;
}

static void audit_ring_copy_all(struct audit_ring *r, struct proto_event *event)
{
#define COPY_U64(field, max)
#define COPY_STR(field, max)                        audit_ring_copy(r, &event->field, max);
#define COPY_BIN(field, max)                        COPY_STR(field, max)
#define COPY(kind, field, min, max, class, meaning) COPY_##kind(field, max)
	MSG_event(COPY, COPY)
#undef COPY
#undef COPY_BIN
#undef COPY_STR
#undef COPY_U64
}

static struct audit_item *audit_ring_lose(struct audit_ring *r)
{
	if (r->lost_first == 0)
		r->lost_first = r->seq;
	r->lost_last = r->seq;
	return NULL;
}

struct audit_item *audit_ring_push(struct audit_ring *r, const struct proto_event *event, uint64_t time_ns)
{
	audit_ring_settle(r);
	r->seq++;
	if (r->lost_first != 0 || r->n == r->items_max || !audit_ring_room(r))
		return audit_ring_lose(r);
	struct audit_item *item = audit_ring_add(r);
	item->event = *event;
	item->event.seq = item->last_seq = r->seq;
	item->event.time_ns = time_ns;
	audit_ring_copy_all(r, &item->event);
	assert(r->write_at - item->begin <= AUDIT_EVENT_TEXT_MAX);
	return item;
}
