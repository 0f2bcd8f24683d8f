/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit_ring.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

/* An event has 350 bytes or so: the places are what runs out first. */
#define AUDIT_RING_BYTES_EACH 448

static void audit_ring_inherit(struct audit_ring *r);

int audit_ring_init(struct audit_ring *r, size_t items_max, struct tally *tally)
{
	*r = (struct audit_ring){.items_max = items_max, .tally = tally};
	r->bytes_max = items_max * AUDIT_RING_BYTES_EACH + 2 * AUDIT_MESSAGE_BYTES_MAX;
	r->items = calloc(items_max, sizeof(*r->items));
	r->bytes = malloc(r->bytes_max);
	if (!r->items || !r->bytes) {
		audit_ring_deinit(r);
		return -ENOMEM;
	}
	audit_ring_inherit(r);
	return 0;
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

struct span audit_ring_message(const struct audit_ring *r, const struct audit_item *item)
{
	return span_of(r->bytes + item->begin, item->len);
}

/* Contiguous room for one message. The bytes in use run from the oldest item's to write_at, around the end. */
static bool audit_ring_room(struct audit_ring *r)
{
	size_t oldest = r->n > 0 ? audit_ring_at(r, 0)->begin : 0;

	if (r->n > 0 && r->write_at <= oldest)
		return oldest - r->write_at > AUDIT_MESSAGE_BYTES_MAX;
	if (r->bytes_max - r->write_at > AUDIT_MESSAGE_BYTES_MAX)
		return true;
	if (oldest <= AUDIT_MESSAGE_BYTES_MAX)
		return false;
	r->write_at = 0;
	return true;
}

/* In line, packed; there is room. A message has at least one byte, so no two begin at the same place: equal ends mean
 * full, never empty. */
static struct audit_item *audit_ring_add(struct audit_ring *r, const struct proto_desc *desc, const void *msg)
{
	struct audit_item *item = &r->items[(r->first + r->n) % r->items_max];

	*item = (struct audit_item){.begin = r->write_at};
	int e = proto_pack(desc, 0, msg, r->bytes + r->write_at, AUDIT_MESSAGE_BYTES_MAX, &item->len);
	assert(!e); /* every field is within its bounds */
	r->write_at += item->len;
	r->n++;
	return item;
}

static void audit_ring_add_gap(struct audit_ring *r, uint64_t first_seq, uint64_t last_seq, enum gap_cause cause)
{
	const struct proto_gap gap = {.first_seq = first_seq, .last_seq = last_seq, .cause = cause};
	struct audit_item *item = audit_ring_add(r, &proto_gap_desc, &gap);

	item->is_gap = true;
	item->last_seq = last_seq;
}

static void audit_ring_inherit(struct audit_ring *r)
{
	r->seq = r->tally->made;
	if (r->seq > 0)
		audit_ring_add_gap(r, 1, r->seq, GAP_DIED);
}

void audit_ring_settle(struct audit_ring *r)
{
	if (r->lost_first == 0 || r->n == r->items_max || !audit_ring_room(r))
		return;
	audit_ring_add_gap(r, r->lost_first, r->lost_last, GAP_OVERFLOW);
	r->lost_first = 0;
}

static void audit_ring_count(struct audit_ring *r)
{
	tally_set(r->tally, r->seq + r->owed);
}

void audit_ring_promise(struct audit_ring *r)
{
	r->owed++;
	audit_ring_count(r);
}

/* What is counted does not change: the push takes the number. */
void audit_ring_redeem(struct audit_ring *r)
{
	assert(r->owed > 0);
	r->owed--;
}

void audit_ring_forget(struct audit_ring *r)
{
	audit_ring_redeem(r);
	audit_ring_count(r);
}

/* A producer that says too much is cut short, never refused: numbers to the largest that may be said, strings too. */
static void audit_ring_clip(struct proto_event *event)
{
#define CLIP_U64(field, max)                        event->field = MIN(event->field, (uint64_t)(max));
#define CLIP_STR(field, max)                        event->field.len = MIN(event->field.len, (size_t)(max));
#define CLIP_BIN(field, max)                        CLIP_STR(field, max)
#define CLIP(kind, field, min, max, class, meaning) CLIP_##kind(field, max)
	MSG_event(CLIP, CLIP)
#undef CLIP
#undef CLIP_BIN
#undef CLIP_STR
#undef CLIP_U64
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
	audit_ring_count(r);
	if (r->lost_first != 0 || r->n == r->items_max || !audit_ring_room(r))
		return audit_ring_lose(r);
	struct proto_event e = *event;
	e.seq = r->seq;
	e.time_ns = time_ns;
	event_trim(event_row(e.code), &e);
	audit_ring_clip(&e);
	struct audit_item *item = audit_ring_add(r, &proto_event_desc, &e);
	item->last_seq = r->seq;
	return item;
}
