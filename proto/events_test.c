/* SPDX-License-Identifier: Apache-2.0 */
/* Each row, each role, each field by itself and all of them: what fits, and what is left when it is trimmed. What the
 * rows say is tests/integration/test_events.py's to know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/events.h"

#define ALWAYS ((uint32_t)(BIT(EVENT_FIELD_seq) | BIT(EVENT_FIELD_time_ns) | BIT(EVENT_FIELD_code)))
#define FIELDS ((uint32_t)(BIT(N_EVENT_FIELDS) - 1))

#define FILL_U64(value) (value) = 1
#define FILL_STR(value) (value) = SPAN_LIT("x")
#define FILL_BIN(value) FILL_STR(value)
#define HAS_U64(value)  ((value) != 0)
#define HAS_STR(value)  ((value).len != 0)
#define HAS_BIN(value)  HAS_STR(value)

static struct proto_event with(uint32_t fields)
{
	struct proto_event e = {0};

#define FILL(kind, field, min, max, class, doc) \
	if (fields & BIT(EVENT_FIELD_##field))  \
		FILL_##kind(e.field);
	MSG_event(FILL, FILL)
#undef FILL
		return e;
}

static uint32_t fields_of(const struct proto_event *e)
{
	uint32_t fields = 0;

#define LOOK(kind, field, min, max, class, doc) fields |= HAS_##kind(e->field) ? (uint32_t)BIT(EVENT_FIELD_##field) : 0;
	MSG_event(LOOK, LOOK)
#undef LOOK
		return fields;
}

static bool fits(const struct event_row *row, enum role role, uint32_t fields)
{
	const struct proto_event e = with(fields);

	assert_int_equal(fields_of(&e), fields);
	return event_fits(row, role, &e);
}

static void test_what_fits(void **state)
{
	size_t n;
	const struct event_row *rows = event_rows(&n);

	(void)state;
	assert_true(n > 30);
	for (size_t i = 0; i < n; i++)
		for (enum role role = 0; role < N_ROLES; role++) {
			const uint32_t may = rows[i].fields | ALWAYS;
			const bool is = rows[i].producers & BIT(role);
			assert_int_equal(fits(&rows[i], role, 0), is);
			assert_int_equal(fits(&rows[i], role, may), is);
			assert_int_equal(fits(&rows[i], role, FIELDS), is && may == FIELDS);
			for (unsigned f = 0; f < N_EVENT_FIELDS; f++) {
				assert_int_equal(fits(&rows[i], role, (uint32_t)BIT(f)), is && may & BIT(f));
				assert_int_equal(fits(&rows[i], role, may | (uint32_t)BIT(f)), is && may & BIT(f));
			}
		}
}

static void test_what_is_left(void **state)
{
	size_t n;
	const struct event_row *rows = event_rows(&n);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		struct proto_event e = with(FIELDS);
		event_trim(&rows[i], &e);
		assert_int_equal(fields_of(&e), rows[i].fields | ALWAYS);
	}
	struct proto_event e = with(FIELDS);
	event_trim(NULL, &e);
	assert_int_equal(fields_of(&e), FIELDS);
}

static void test_rows_and_codes(void **state)
{
	size_t n, found = 0;
	const struct event_row *rows = event_rows(&n);

	(void)state;
	for (uint64_t code = 0; code < 2048; code++) {
		const struct event_row *row = event_row(code);
		if (!row)
			continue;
		assert_int_equal(row->code, code);
		assert_true(row >= rows && row < rows + n);
		found++;
	}
	assert_int_equal(found, n);
	assert_null(event_row(UINT64_MAX));
	assert_null(event_row((1ULL << 32) + EVENT_REQUEST_COMPLETE));
}

/* Nobody but auditd speaks of the log itself, and no role that has no edge to it of anything. */
static void test_whose_they_are(void **state)
{
	const uint64_t producers =
		BIT(ROLE_ROUTER) | BIT(ROLE_AUTHD) | BIT(ROLE_KEYVAULT) | BIT(ROLE_EGRESS) | BIT(ROLE_AUDITD);
	static const enum event_code of_the_log[] = {EVENT_LOG_START, EVENT_LOG_RECOVER, EVENT_LOG_GAP, EVENT_LOG_PRUNE,
						     EVENT_LOG_REBUILD};
	size_t n;
	const struct event_row *rows = event_rows(&n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_true(rows[i].producers != 0 && (rows[i].producers & ~producers) == 0);
	for (size_t i = 0; i < ARRAY_LEN(of_the_log); i++)
		assert_int_equal(event_row(of_the_log[i])->producers, BIT(ROLE_AUDITD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_fits),
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_rows_and_codes),
		cmocka_unit_test(test_whose_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
