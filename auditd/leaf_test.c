/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auditd/leaf.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_largest_leaf_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
