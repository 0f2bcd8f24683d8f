/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of a producer that are not yet known to be durable, in order of their sequence numbers, without I/O.
 *
 * Fixed memory: places for `events_max` items and a ring of bytes for their strings. An event that finds no room is
 * counted and becomes part of a gap: an item that covers all the sequence numbers lost in a row, put in line as soon as
 * there is room, before the next event. So the items of the ring cover the sequence without holes, whatever happens.
 */
#pragma once

#include "proto/proto.h"

/* Strings of one event, all at their longest. */
#define AUDIT_EVENT_TEXT_MAX 1280

struct audit_item {
	uint64_t last_seq;        /* the event's, or the gap's last */
	bool is_gap;              /* then `gap` says what to send, else `event` */
	struct proto_gap gap;     /* cause 0: overflow */
	struct proto_event event; /* spans into the ring's bytes */
	size_t begin;             /* of its strings */
	void (*done)(void *ctx, bool durable);
	void *ctx;
	uint64_t deadline_ms; /* with done */
};

struct audit_ring {
	struct audit_item *items;
	uint8_t *bytes;
	size_t items_max, bytes_max;
	size_t first, n;
	size_t write_at; /* where the next strings go */
	uint64_t seq;    /* given out last */
	uint64_t lost_first, lost_last;
};

/* 0 or -ENOMEM. */
MUST_USE int audit_ring_init(struct audit_ring *r, size_t items_max);
void audit_ring_deinit(struct audit_ring *r);

/* Takes a copy and numbers it. NULL: it was lost and counted. The item stays where it is until it is popped. */
struct audit_item *audit_ring_push(struct audit_ring *r, const struct proto_event *event, uint64_t time_ns);
/* The i-th oldest, i < n. */
struct audit_item *audit_ring_at(struct audit_ring *r, size_t i);
/* Removes the oldest, n > 0. */
void audit_ring_pop(struct audit_ring *r);
/* Puts a pending gap in line if there is room. */
void audit_ring_settle(struct audit_ring *r);
