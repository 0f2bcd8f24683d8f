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

/* As many connections as there are descriptors, whosever: an idle one of another provider's goes, the eldest first. */
static void there_are_only_so_many_descriptors(void **state)
{
	struct env *e = *state;
	struct pool other;
	struct upstream *u[2], *mine, *none;
	struct waiter w = a_waiter(), second = a_waiter(), third = a_waiter();

	pool_init(&other, &e->env, NULL, SPAN_LIT("a.test"), 443, e->pool.pins);
	e->env.total_max = 2;
	for (size_t i = 0; i < 2; i++)
		u[i] = connect_one(e);
	assert_int_equal(pool_take(&other, &w.w, false, &none), POOL_E_FULL); /* all are in use */
	assert_int_equal(other.n + other.n_waiters, 0);
	pool_give_back(u[1], true);
	pool_give_back(u[0], true);
	assert_int_equal(pool_take(&other, &w.w, false, &none), POOL_E_WAIT);
	assert_int_equal(e->pool.n, 1);
	assert_ptr_equal(list_first(&e->pool.idle), &u[0]->in_pool);
	dialed(fake.dials);
	fake.tls->handshake = 0;
	happens(container_of(other.opening.prev, struct upstream, in_pool), 0);
	mine = w.upstream;
	assert_int_equal(pool_take(&other, &second.w, false, &none), POOL_E_WAIT);
	assert_int_equal(e->pool.n, 0);
	assert_int_equal(pool_take(&other, &third.w, false, &none), POOL_E_WAIT); /* for what others use */
	assert_int_equal(e->env.total, 2);
	refused(fake.dials, REASON_DIAL_RESOLVE);
	expect_failed(&second, REASON_DIAL_RESOLVE);
	assert_int_equal(other.n_opening, 1);
	e->env.total_max = 1;
	refused(fake.dials, REASON_DIAL_RESOLVE);
	expect_failed(&third, REASON_DIAL_RESOLVE);
	third = a_waiter();
	assert_int_equal(pool_take(&other, &third.w, false, &none), POOL_E_WAIT);
	assert_int_equal(other.n_opening, 0);
	pool_give_back(mine, true);
	assert_ptr_equal(third.upstream, mine);
	pool_give_back(mine, false);
	pool_close(&other, REASON_EGRESS_GONE);
	pool_deinit(&other);
	assert_int_equal(e->env.total, 0);
}

/* Who waited for the last one that was in use is told, when nothing comes free. */
static void who_waits_for_a_descriptor_is_told(void **state)
{
	struct env *e = *state;
	struct waiter w;

	e->env.total_max = 1;
	struct upstream *u = connect_one(e);
	wait_in(e, &w);
	e->env.total_max = 0;
	pool_give_back(u, false);
	expect_failed(&w, REASON_OVERLOADED);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, pool_setup, pool_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_dial_is_forgotten_while_the_dialer_closes),
		TEST(who_waits_may_be_the_last_to_hold_the_pool),
		TEST(idle_ones_are_not_waited_for),
		TEST(there_are_only_so_many_descriptors),
		TEST(who_waits_for_a_descriptor_is_told),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("pool_gone", tests, NULL, NULL);
}
