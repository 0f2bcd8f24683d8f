/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reasons.h"

#include <assert.h>

const struct reason_row *reason_row(uint64_t reason)
{
	static const struct reason_row rows[] = {
#define R(NAME, code, status, type, retry_ms, text) {(code), (status), (type), (retry_ms), (text)},
#include "proto/reasons.def"
#undef R
	};

	return &rows[reason < ARRAY_LEN(rows) ? reason : REASON_INTERNAL];
}

static const struct event_row events[] = {
#define EVENT(NAME, number, text, class, doc) {EVENT_##NAME, (text), EVENT_CLASS_##class, (doc)},
#include "proto/events.def"
#undef EVENT
};

const struct event_row *event_row(uint64_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if ((uint64_t)events[i].code == code)
			return &events[i];
	return NULL;
}

const struct event_row *event_rows(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(events);
	return events;
}

const struct class_row *class_row(enum class class)
{
	static const struct class_row rows[] = {
#define CLASS(NAME, number, text, label) [number] = {(text), (label)},
#include "proto/classes.def"
#undef CLASS
	};

	assert((size_t) class < ARRAY_LEN(rows));
	return &rows[class];
}
