/* SPDX-License-Identifier: Apache-2.0 */
/* A pool while others go: the dialer, whoever waits, the pool itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/support/pool_world.h"

struct last_waiter {
	struct pool_waiter w;
	struct pool *pool;
};

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

static void end_pool(struct pool_waiter *w, struct upstream *u, enum reason why)
{
	struct pool *p = TAKE(container_of(w, struct last_waiter, w)->pool);

	assert_null(u);
	assert_int_equal(why, REASON_DIAL_RESOLVE);
	pool_close(p, why);
	pool_deinit(p);
	memset(p, 0, sizeof(*p)); /* as what comes next at that place might look */
	p->n_waiters = 1;
}

/* A call for a token goes on after its credential is retired; then nobody else holds the pool. */
static void who_waits_may_be_the_last_to_hold_the_pool(void **state)
{
	struct env *e = *state;
	struct last_waiter last = {.w.ready = end_pool, .pool = &e->pool};
	struct upstream *u;

	assert_int_equal(pool_take(&e->pool, &last.w, true, &u), POOL_E_WAIT);
	refused(1, REASON_DIAL_RESOLVE);
	assert_null(last.pool);
	pool_init(&e->pool, &e->env, NULL, SPAN_LIT("a.test"), 443, SPAN_NULL);
}

/* Who wants a fresh one waits for nothing when there are idle ones alone. */
static void idle_ones_are_not_waited_for(void **state)
{
	struct env *e = *state;
	struct upstream *u[POOL_MAX], *none;
	struct waiter w = a_waiter();

	for (size_t i = 0; i < POOL_MAX; i++)
		u[i] = connect_one(e);
	for (size_t i = 0; i < POOL_MAX; i++)
		pool_give_back(u[i], true);
	assert_int_equal(pool_take(&e->pool, &w.w, true, &none), POOL_E_WAIT);
	assert_int_equal(fake.dials, POOL_MAX + 1); /* in place of one of them */
	assert_int_equal(e->pool.n, POOL_MAX);
	refused(POOL_MAX + 1, REASON_DIAL_RESOLVE);
	expect_failed(&w, REASON_DIAL_RESOLVE);
	fake.call_says = IPC_E_DOWN;
	assert_int_equal(pool_take(&e->pool, &w.w, true, &none), POOL_E_DOWN);
	assert_int_equal(e->pool.n_waiters, 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, pool_setup, pool_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_dial_is_forgotten_while_the_dialer_closes),
		TEST(who_waits_may_be_the_last_to_hold_the_pool),
		TEST(idle_ones_are_not_waited_for),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("pool_gone", tests, NULL, NULL);
}
