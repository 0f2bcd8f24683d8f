/* SPDX-License-Identifier: Apache-2.0 */
/* A pool while others go: the dialer, whoever waits, the pool itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/pool_world.h"

/* Core and dialer are lost in one turn of the loop: credentials go before the dialer's calls are told. */
static void a_dial_is_forgotten_while_the_dialer_closes(void **state)
{
	struct env *e = *state;
	struct waiter w;

	wait_in(e, &w);
	fake.dialer_closes = true;
	pool_close(&e->pool, REASON_VAULT_SEALED);
	expect_failed(&w, REASON_VAULT_SEALED);
	assert_int_equal(fake.forgotten, 1);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, pool_setup, pool_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_dial_is_forgotten_while_the_dialer_closes),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("pool_gone", tests, NULL, NULL);
}
