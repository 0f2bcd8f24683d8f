/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void id_of(uint64_t n, uint8_t id[16])
{
	/* splitmix64: ids are random in life too */
	for (size_t i = 0; i < 2; i++) {
		uint64_t z = (n * 2 + i + 1) * 0x9E3779B97F4A7C15u;
		z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
		z = (z ^ z >> 27) * 0x94D049BB133111EBu;
		z ^= z >> 31;
		memcpy(id + 8 * i, &z, 8);
	}
}

static void each_route_once(void **state)
{
	struct replay r;
	uint8_t id[16];

	(void)state;
	assert_int_equal(replay_init(&r), 0);
	id_of(1, id);
	for (unsigned route = 0; route < REPLAY_ROUTES_MAX; route++) {
		assert_int_equal(replay_use(&r, id, route, 60000, 1000), 0);
		assert_int_equal(replay_use(&r, id, route, 60000, 1000), REPLAY_E_USED);
	}
	assert_int_equal(replay_use(&r, id, 0, 1, 60999), REPLAY_E_USED);
	replay_reset(&r);
	assert_int_equal(replay_use(&r, id, 0, 60000, 1000), 0);
	replay_deinit(&r);
}

/* Whatever comes in between, and wherever the clock stands, a grant is remembered to its end. */
static void remembers_to_the_end(void **state)
{
	struct replay r;
	uint8_t id[16], other[16];

	(void)state;
	assert_int_equal(replay_init(&r), 0);
	for (uint64_t start = 0; start < 300000; start += 7919) {
		id_of(start, id);
		assert_int_equal(replay_use(&r, id, 2, 60000, start), 0);
		for (uint64_t t = 0; t <= 60000; t += 500) {
			id_of(1000000 + start * 1000 + t, other);
			assert_int_equal(replay_use(&r, other, 0, 100, start + t), 0);
			assert_int_equal(replay_use(&r, id, 2, 60000 - t, start + t), REPLAY_E_USED);
		}
	}
	replay_deinit(&r);
}

static void full_is_refused_then_recovers(void **state)
{
	struct replay r;
	uint8_t id[16];
	uint64_t n = 0;

	(void)state;
	assert_int_equal(replay_init(&r), 0);
	for (int answer = 0; answer == 0; n += answer == 0) {
		id_of(n, id);
		answer = replay_use(&r, id, 0, 60000, 0);
		assert_true(answer == 0 || answer == REPLAY_E_FULL);
	}
	print_message("replay: first refusal at %.0f %% of the table\n", (double)n / (1 << 20) * 100);
	assert_true(n > 750000);
	id_of(0, id);
	assert_int_equal(replay_use(&r, id, 0, 60000, 0), REPLAY_E_USED);
	for (uint64_t i = 0; i < 100000; i++) {
		id_of(5000000 + i, id);
		assert_int_equal(replay_use(&r, id, 0, 60000, 61000), 0);
	}
	replay_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_route_once),
		cmocka_unit_test(remembers_to_the_end),
		cmocka_unit_test(full_is_refused_then_recovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
