/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.def as enums and rows: what the log can record, who may say it, and which fields it may carry.
 *
 * A field that is empty or 0 is not carried. seq, time_ns and code belong to every event. The table is enforced at both
 * ends: event_trim() keeps a producer's mistake out of the log, event_fits() makes auditd drop the peer that says what
 * is not its to say: a captured router can invent requests, but neither a use of a key nor an erasure.
 */
#pragma once

#include "proto/proto.h"

enum event_class { EVENT_CLASS_DATA, EVENT_CLASS_MUST_ACK };

enum event_code {
#define FIELD(name, sensitivity)
#define EVENT(NAME, number, text, class, producers, fields, doc) EVENT_##NAME = (number),
#include "proto/events.def"
#undef EVENT
#undef FIELD
};

/* What a field says about people. */
enum event_sensitivity {
	EVENT_PLAIN,     /* nothing */
	EVENT_PSEUDONYM, /* who it is, to those who can look the name up elsewhere */
	EVENT_DIGEST,    /* nothing, but whoever has the bytes can tell that they were it */
	EVENT_SEALED,    /* personal, under a key of its subject that can be destroyed */
};

/* Places of EVENT's fields in a set. */
enum event_field {
#define EVENT_FIELD(kind, field, min, max, class, doc) EVENT_FIELD_##field,
	MSG_event(EVENT_FIELD, EVENT_FIELD) N_EVENT_FIELDS,
#undef EVENT_FIELD
};

struct event_row {
	enum event_code code;
	const char *name; /* "request.complete" */
	enum event_class class;
	uint32_t producers; /* BIT(role) */
	uint32_t fields;    /* BIT(enum event_field) */
	const char *doc;
};

/* Why events are missing: what GAP says in `cause`, and log.gap in `reason`. */
#define GAP_CAUSES(C)           \
	C(OVERFLOW, "overflow") \
	C(JUMP, "jump")         \
	C(DIED, "died")

enum gap_cause {
#define C(NAME, text) GAP_##NAME,
	GAP_CAUSES(C)
#undef C
		N_GAP_CAUSES,
};

/* NULL for an unknown code. */
const struct event_row *event_row(uint64_t code);
const struct event_row *event_rows(size_t *ret_n);
enum event_sensitivity event_sensitivity(enum event_field field);

/* Whether this producer may say this. */
bool event_fits(const struct event_row *row, enum role producer, const struct proto_event *event);
/* Leaves out what the row has not; `row` may be NULL: then nothing. */
void event_trim(const struct event_row *row, struct proto_event *event);
