/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of a producer that are not yet known to be durable, in order of their sequence numbers, without I/O.
 *
 * Fixed memory: places for `events_max` items and a ring of bytes for their messages, packed once: an item is sent, and
 * sent again, as it lies there. An event that finds no room is counted and becomes part of a gap: an item that covers
 * all the sequence numbers lost in a row, put in line as soon as there is room, before the next event. So the items of
 * the ring cover the sequence without holes, whatever happens.
 */
#pragma once

#include "common/tally.h"
#include "proto/events.h"

/* An EVENT or GAP, packed, all its strings at their longest. */
#define AUDIT_MESSAGE_BYTES_MAX 1472

struct audit_item {
	uint64_t last_seq; /* the event's, or the gap's last */
	size_t begin, len; /* of its message in the ring's bytes */
	bool is_gap;       /* GAP; else EVENT */
	void (*done)(void *ctx, bool durable);
	void *ctx;
	uint64_t deadline_ms; /* with done */
};

struct audit_ring {
	struct audit_item *items;
	uint8_t *bytes;
	size_t items_max, bytes_max;
	size_t first, n;
	size_t write_at; /* where the next message goes */
	uint64_t seq;    /* given out last */
	uint64_t owed;   /* promises */
	struct tally *tally;
	uint64_t lost_first, lost_last;
};

/* Goes on where the tally ends: its first item is a gap over all that whoever was here before has made, of which auditd
 * knows which part it has. The tally is not the ring's. 0 or -ENOMEM. */
MUST_USE int audit_ring_init(struct audit_ring *r, size_t items_max, struct tally *tally);
void audit_ring_deinit(struct audit_ring *r);

/* Takes a copy and numbers it. NULL: it was lost and counted. The item stays where it is until it is popped. */
struct audit_item *audit_ring_push(struct audit_ring *r, const struct proto_event *event, uint64_t time_ns);
/* An event will be pushed: should the process die before that, it is counted as missing. `redeem`: the next push is it.
 * `forget`: there will be none after all. */
void audit_ring_promise(struct audit_ring *r);
void audit_ring_redeem(struct audit_ring *r);
void audit_ring_forget(struct audit_ring *r);
/* The i-th oldest, i < n. */
struct audit_item *audit_ring_at(struct audit_ring *r, size_t i);
/* Its message: a frame's body, with id 0. Lives as long as the item. */
struct span audit_ring_message(const struct audit_ring *r, const struct audit_item *item);
/* Removes the oldest, n > 0. */
void audit_ring_pop(struct audit_ring *r);
/* Puts a pending gap in line if there is room. */
void audit_ring_settle(struct audit_ring *r);
