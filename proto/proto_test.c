/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec is table-driven, so the tests are too: every message of messages.def is packed with all fields at their
 * lower and upper bounds, read back, and then damaged in every way that the format allows.
 */
#include "proto/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/nul.h"
#include "proto/events.h"
#include "proto/reasons.h"

#define BYTES_MAX (4U << 20)

/* Fills `msg` with every field at its minimum or maximum; long strings share one block. */
static void fill(const struct proto_desc *d, bool upper, const uint8_t *block, void *items, void *msg)
{
	uint8_t *at = msg;

	for (size_t i = 0; i < d->n_fields; i++) {
		const struct proto_field *f = &d->fields[i];
		uint64_t v = upper ? f->max : f->min;

		if (f->kind == PROTO_KIND_U64) {
			memcpy(at, &v, sizeof v);
			at += sizeof v;
		} else if (f->kind == PROTO_KIND_LIST) {
			struct proto_list l = {.items = items, .count = upper ? MIN(f->max, 3U) : 0};
			for (size_t k = 0; k < l.count; k++)
				fill(f->item, false, block, NULL, (uint8_t *)items + k * f->item->size);
			memcpy(at, &l, sizeof l);
			at += sizeof l;
			if (l.count) /* the next list has its own */
				items = (uint8_t *)items + l.count * f->item->size;
		} else {
			struct span s = {block, v};
			memcpy(at, &s, sizeof s);
			at += sizeof s;
		}
	}
}

static enum role role_in(uint64_t mask)
{
	return (enum role)__builtin_ctzll(mask);
}

static int unpack(const struct proto_desc *d, const uint8_t *p, size_t len, union proto_any *msg, uint64_t *id)
{
	const struct proto_desc *got;
	int e = proto_unpack(span_of(p, len), role_in(d->from), role_in(d->to), id, &got, msg);

	if (!e)
		assert_ptr_equal(got, d);
	return e;
}

static void test_every_message_survives_the_way_there_and_back(void **state)
{
	uint8_t *block = malloc(BYTES_MAX), *wire = malloc(BYTES_MAX), *again = malloc(BYTES_MAX);
	void *items = calloc(8, sizeof(union proto_any));
	const struct proto_desc *const *descs;
	size_t n;

	(void)state;
	memset(block, 'a', BYTES_MAX);
	descs = proto_descs(&n);
	for (size_t i = 0; i < n; i++)
		for (int upper = 0; upper < 2; upper++) {
			union proto_any msg, back;
			size_t len, len_again;
			uint64_t id;

			fill(descs[i], upper, block, items, &msg);
			assert_int_equal(proto_pack(descs[i], 7, &msg, wire, BYTES_MAX, &len), 0);
			assert_int_equal(unpack(descs[i], wire, len, &back, &id), 0);
			assert_int_equal(id, 7);
			assert_int_equal(proto_pack(descs[i], 7, &back, again, BYTES_MAX, &len_again), 0);
			assert_int_equal(len, len_again);
			assert_memory_equal(wire, again, len);
			assert_int_equal(proto_pack(descs[i], 7, &msg, wire, len - 1, &len_again), PROTO_E_SPACE);
		}
	free(items);
	free(again);
	free(wire);
	free(block);
}

static void test_truncated_extended_and_misdirected_frames_are_refused(void **state)
{
	const struct proto_desc *const *descs;
	static uint8_t block[16384], wire[65536];
	union proto_any msg;
	uint64_t id;
	size_t n, len;

	(void)state;
	memset(block, 'a', sizeof block);
	descs = proto_descs(&n);
	for (size_t i = 0; i < n; i++) {
		const struct proto_desc *got;

		fill(descs[i], false, block, NULL, &msg);
		assert_int_equal(proto_pack(descs[i], 1, &msg, wire, sizeof wire, &len), 0);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(unpack(descs[i], wire, cut, &msg, &id), PROTO_E_MALFORMED);
		wire[len] = 0;
		assert_int_equal(unpack(descs[i], wire, len + 1, &msg, &id), PROTO_E_MALFORMED);
		for (unsigned role = 0; role < N_ROLES; role++) {
			int e = proto_unpack(span_of(wire, len), (enum role)role, role_in(descs[i]->to), &id, &got,
					     &msg);
			assert_int_equal(e, descs[i]->from & BIT(role) ? 0 : PROTO_E_DIRECTION);
			e = proto_unpack(span_of(wire, len), role_in(descs[i]->from), (enum role)role, &id, &got, &msg);
			assert_int_equal(e, descs[i]->to & BIT(role) ? 0 : PROTO_E_DIRECTION);
		}
	}
}

static void test_bounds_hold_when_packing_and_when_reading(void **state)
{
	struct proto_vault_add none = {.binding = SPAN_LIT("0123456789abcdef"), .secret = SPAN_NULL};
	struct proto_link nul = {.edge = span_of("a\0b", 3)};
	uint8_t wire[256];
	size_t len;

	(void)state;
	assert_int_equal(proto_pack(&proto_vault_add_desc, 1, &none, wire, sizeof wire, &len), PROTO_E_BOUNDS);
	assert_int_equal(proto_pack(&proto_link_desc, 1, &nul, wire, sizeof wire, &len), PROTO_E_BOUNDS);

	static const struct {
		const char *what;
		uint8_t bytes[16];
		size_t len;
		int expected;
	} cases[] = {
		{"LINK{a}", {0x93, 9, 1, 0xa1, 'a'}, 5, 0},
		{"str8 for a short string", {0x93, 9, 1, 0xd9, 1, 'a'}, 6, PROTO_E_MALFORMED},
		{"bin for str", {0x93, 9, 1, 0xc4, 1, 'a'}, 6, PROTO_E_MALFORMED},
		{"uint8 for a small id", {0x93, 9, 0xcc, 1, 0xa1, 'a'}, 6, PROTO_E_MALFORMED},
		{"array16", {0xdc, 0, 3, 9, 1, 0xa1, 'a'}, 7, PROTO_E_MALFORMED},
		{"empty string", {0x93, 9, 1, 0xa0}, 4, PROTO_E_BOUNDS},
		{"NUL in a string", {0x93, 9, 1, 0xa1, 0}, 5, PROTO_E_BOUNDS},
		{"one field too many", {0x94, 9, 1, 0xa1, 'a', 0}, 6, PROTO_E_MALFORMED},
		{"unknown type", {0x93, 127, 1, 0xa1, 'a'}, 5, PROTO_E_TYPE},
		{"negative id", {0x93, 9, 0xff, 0xa1, 'a'}, 5, PROTO_E_MALFORMED},
		{"four gigabytes in five bytes", {0x93, 9, 1, 0xdb, 0xff, 0xff, 0xff, 0xff}, 8, PROTO_E_MALFORMED},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct proto_desc *desc;
		union proto_any msg;
		uint64_t id;
		int e = proto_unpack(span_of(cases[i].bytes, cases[i].len), ROLE_ROUTER, ROLE_LAUNCHER, &id, &desc,
				     &msg);
		if (e != cases[i].expected)
			print_error("%s: %d instead of %d\n", cases[i].what, e, cases[i].expected);
		assert_int_equal(e, cases[i].expected);
	}
}

static void test_lists_hand_out_their_items(void **state)
{
	struct proto_model models[3] = {
		{SPAN_LIT("a"), SPAN_LIT("p")}, {SPAN_LIT("b"), SPAN_LIT("q")}, {SPAN_LIT("c"), SPAN_LIT("r")}};
	struct proto_models_rep rep = {
		.tenant = SPAN_LIT("t"), .principal = SPAN_LIT("k"), .models = {.items = models, .count = 3}};
	const struct proto_desc *desc;
	union proto_any back;
	struct proto_model m;
	uint8_t wire[256];
	size_t len, n = 0;
	uint64_t id;

	(void)state;
	assert_int_equal(proto_pack(&proto_models_rep_desc, 3, &rep, wire, sizeof wire, &len), 0);
	assert_int_equal(proto_unpack(span_of(wire, len), ROLE_AUTHD, ROLE_ROUTER, &id, &desc, &back), 0);
	for (struct proto_list l = back.models_rep.models; proto_model_next(&l, &m); n++)
		assert_true(span_eq(m.name, models[n].name) && span_eq(m.provider, models[n].provider));
	assert_int_equal(n, 3);
	n = 0;
	for (struct proto_list l = rep.models; proto_model_next(&l, &m); n++)
		assert_true(span_eq(m.name, models[n].name));
	assert_int_equal(n, 3);
}

static void test_frames(void **state)
{
	uint8_t wire[] = {0, 0, 0, 2, 'a', 'b', 'x'}, big[] = {0, 2, 0, 1, 0}, zero[] = {0, 0, 0, 0};
	struct span body;
	size_t used;

	(void)state;
	for (size_t n = 0; n < 6; n++)
		assert_int_equal(frame_next(span_of(wire, n), &body, &used), FRAME_E_MORE);
	assert_int_equal(frame_next(span_of(wire, sizeof wire), &body, &used), 0);
	assert_int_equal(used, 6);
	assert_true(span_eq_str(body, "ab"));
	assert_int_equal(frame_next(span_of(big, sizeof big), &body, &used), FRAME_E_LENGTH);
	assert_int_equal(frame_next(span_of(zero, sizeof zero), &body, &used), FRAME_E_LENGTH);
}

static void test_tables_are_consistent(void **state)
{
	const struct proto_desc *const *descs;
	const struct event_row *events;
	size_t n;

	(void)state;
	descs = proto_descs(&n);
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(proto_desc_of(descs[i]->type), descs[i]);
		assert_true(descs[i]->from && descs[i]->to);
		for (size_t k = 0; k < descs[i]->n_fields; k++)
			assert_true(descs[i]->fields[k].min <= descs[i]->fields[k].max);
	}
	events = event_rows(&n);
	for (size_t i = 0; i < n; i++)
		assert_ptr_equal(event_row(events[i].code), &events[i]);
	assert_null(event_row(1000));
	assert_string_equal(reason_row(UINT64_MAX)->code, "internal_error");
	for (unsigned i = 1; i < N_REASONS; i++)
		assert_true(reason_row(i)->status >= 400 && reason_row(i)->status < 600);
	assert_int_equal(proto_schema_hash(), proto_schema_hash());
}

/* Every place in every length around a word; what is next to the string does not count. */
static void test_a_nul_is_found_anywhere(void **state)
{
	uint8_t bytes[68];

	(void)state;
	for (size_t len = 0; len <= sizeof(bytes) - 2; len++) {
		memset(bytes, 0x80, sizeof(bytes));
		bytes[0] = bytes[len + 1] = 0;
		assert_false(proto_has_nul(span_of(bytes + 1, len)));
		for (size_t at = 0; at < len; at++) {
			bytes[1 + at] = 0;
			assert_true(proto_has_nul(span_of(bytes + 1, len)));
			bytes[1 + at] = 1;
			assert_false(proto_has_nul(span_of(bytes + 1, len)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_nul_is_found_anywhere),
		cmocka_unit_test(test_every_message_survives_the_way_there_and_back),
		cmocka_unit_test(test_truncated_extended_and_misdirected_frames_are_refused),
		cmocka_unit_test(test_bounds_hold_when_packing_and_when_reading),
		cmocka_unit_test(test_lists_hand_out_their_items),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_tables_are_consistent),
	};

	return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
