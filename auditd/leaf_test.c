/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/leaf.h"
#include "proto/splice.h"

/* Each field at its bound. A leaf of that size must fit wherever one is kept. */
static void test_the_largest_leaf_fits(void **state)
{
	static const uint8_t big[512] = {[0 ... 511] = 'x'};
	struct proto_leaf leaf, back;
	uint8_t packed[LEAF_BYTES_MAX];
	size_t len;

	(void)state;
#define FILL_U64(field, max)                        leaf.field = (max);
#define FILL_STR(field, max)                        leaf.field = span_of(big, (max));
#define FILL_BIN(field, max)                        FILL_STR(field, max)
#define FILL(kind, field, min, max, class, meaning) FILL_##kind(field, max)
	MSG_leaf(FILL, FILL);
	assert_int_equal(leaf_pack(&leaf, packed, sizeof(packed), &len), 0);
	assert_int_equal(leaf_unpack(span_of(packed, len), &back), 0);
	assert_int_equal(back.sealed.len, 128);
	assert_int_equal(back.cost_nano, UINT64_MAX);
}

/* What is copied is what would be packed. */
static void test_an_event_as_it_came_is_the_same_leaf(void **state)
{
	static const uint8_t boot[16] = {9};
	const struct proto_event event = {
		.seq = 77,
		.time_ns = 1700000000000000000,
		.code = EVENT_REQUEST_COMPLETE,
		.actor = SPAN_LIT("key_2xug4xqf"),
		.request_id = SPAN_LIT("0190d9a0-3c5e-7f21-9d4c-000000000001"),
		.status = 200,
		.digest = span_of(boot, 16),
		.scrubbed = UINT32_MAX,
	};
	struct proto_leaf leaf = {.version = LEAF_VERSION, .role = ROLE_EGRESS, .worker = 3, .recorded_ns = 5};
	uint8_t body[LEAF_BYTES_MAX], anew[LEAF_BYTES_MAX], copied[LEAF_BYTES_MAX];
	size_t body_len, anew_len, copied_len;
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;

	(void)state;
	leaf.boot = span_of(boot, sizeof(boot));
	leaf.last_seq = event.seq;
#define COPY(kind, field, min, max, class, meaning) leaf.field = event.field;
	MSG_event(COPY, COPY);
	assert_int_equal(proto_pack(&proto_event_desc, 0x12345, &event, body, sizeof(body), &body_len), 0);
	assert_int_equal(proto_unpack(span_of(body, body_len), ROLE_EGRESS, ROLE_AUDITD, &id, &desc, &msg), 0);
	assert_int_equal(leaf_pack(&leaf, anew, sizeof(anew), &anew_len), 0);
	const struct proto_leaf_head head = {leaf.version, leaf.role,        leaf.worker,
					     leaf.boot,    leaf.recorded_ns, leaf.last_seq};
	const struct span fields = proto_fields(span_of(body, body_len));
	assert_int_equal(leaf_pack_event(&head, fields, copied, sizeof(copied), &copied_len), 0);
	assert_int_equal(copied_len, anew_len);
	assert_memory_equal(copied, anew, anew_len);
	assert_int_equal(leaf_pack_event(&head, fields, copied, anew_len, &copied_len), 0);
	assert_int_equal(leaf_pack_event(&head, fields, copied, anew_len - 1, &copied_len), PROTO_E_SPACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_largest_leaf_fits),
		cmocka_unit_test(test_an_event_as_it_came_is_the_same_leaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
