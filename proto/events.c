/* SPDX-License-Identifier: Apache-2.0 */
/* The words that events.def is written in, and the rows that come out. */
#include "proto/events.h"

#include <assert.h>

#define FIELD_BIT(name) ((uint32_t)1 << EVENT_FIELD_##name)

/* clang-format off */
#define ROUTER     BIT(ROLE_ROUTER)
#define AUTHD      BIT(ROLE_AUTHD)
#define KEYVAULT   BIT(ROLE_KEYVAULT)
#define EGRESS     BIT(ROLE_EGRESS)
#define AUDITD     BIT(ROLE_AUDITD)
#define ALL        (ROUTER | AUTHD | KEYVAULT | EGRESS | AUDITD)

#define ACTOR      FIELD_BIT(actor)
#define TENANT     FIELD_BIT(tenant)
#define ADDRESS    FIELD_BIT(address)
#define RESOURCE   FIELD_BIT(resource)
#define REQUEST_ID FIELD_BIT(request_id)
#define STATUS     FIELD_BIT(status)
#define REASON     FIELD_BIT(reason)
#define MODEL      FIELD_BIT(model)
#define PROVIDER   FIELD_BIT(provider)
#define CREDENTIAL FIELD_BIT(credential)
#define TOKENS     (FIELD_BIT(tokens_in) | FIELD_BIT(tokens_out))
#define LATENCY    FIELD_BIT(latency_us)
#define BYTES      FIELD_BIT(bytes)
#define DIGEST     FIELD_BIT(digest)
#define SUBJECT    FIELD_BIT(subject)
#define SEALED     FIELD_BIT(sealed)
#define COST       FIELD_BIT(cost_nano)
#define HEAD_DIGEST FIELD_BIT(head_digest)
#define SCRUBBED   FIELD_BIT(scrubbed)
/* clang-format on */

#define EVENT(...)
#define FIELD(name, sensitivity) +1
static_assert(N_EVENT_FIELDS == 3
#include "proto/events.def"
	      ,
	      "a field without a row; only seq, time_ns and code need none");
#undef FIELD
#undef EVENT

static const struct event_row events[] = {
#define FIELD(name, sensitivity)
#define EVENT(NAME, number, text, class, producers, fields, doc) \
	{EVENT_##NAME, (text), EVENT_CLASS_##class, (producers), (fields), (doc)},
#include "proto/events.def"
#undef EVENT
#undef FIELD
};

/* A name's place in events[]. */
enum events_place {
#define FIELD(name, sensitivity)
#define EVENT(NAME, ...) PLACE_##NAME,
#include "proto/events.def"
#undef EVENT
#undef FIELD
};

const struct event_row *event_row(uint64_t code)
{
	switch (code) {
#define FIELD(name, sensitivity)
#define EVENT(NAME, ...)   \
	case EVENT_##NAME: \
		return &events[PLACE_##NAME];
#include "proto/events.def"
#undef EVENT
#undef FIELD
	default:
		return NULL;
	}
}

const struct event_row *event_rows(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(events);
	return events;
}

enum event_sensitivity event_sensitivity(enum event_field field)
{
	static const enum event_sensitivity sensitivities[N_EVENT_FIELDS] = {
#define FIELD(name, sensitivity) [EVENT_FIELD_##name] = EVENT_##sensitivity,
#define EVENT(...)
#include "proto/events.def"
#undef EVENT
#undef FIELD
	};

	return sensitivities[field];
}

#define HAS_U64(value) ((value) != 0)
#define HAS_STR(value) ((value).len != 0)
#define HAS_BIN(value) HAS_STR(value)

bool event_fits(const struct event_row *row, enum role producer, const struct proto_event *event)
{
	const uint32_t always = FIELD_BIT(seq) | FIELD_BIT(time_ns) | FIELD_BIT(code);
	uint32_t carried = 0;

#define CARRIED(kind, field, min, max, class, doc) carried |= (uint32_t)HAS_##kind(event->field) << EVENT_FIELD_##field;
	MSG_event(CARRIED, CARRIED);
#undef CARRIED
	return (row->producers & BIT(producer)) && !(carried & ~(row->fields | always));
}

#define EMPTY_U64(value) (value) = 0
#define EMPTY_STR(value) (value) = SPAN_NULL
#define EMPTY_BIN(value) EMPTY_STR(value)

void event_trim(const struct event_row *row, struct proto_event *event)
{
	const uint32_t keep = FIELD_BIT(seq) | FIELD_BIT(time_ns) | FIELD_BIT(code) | (row ? row->fields : UINT32_MAX);

#define TRIM(kind, field, min, max, class, doc) \
	if (!(keep >> EVENT_FIELD_##field & 1)) \
		EMPTY_##kind(event->field);
	MSG_event(TRIM, TRIM)
#undef TRIM
}
