/* SPDX-License-Identifier: Apache-2.0 */
/* A secret that its service replaces with each use: no successor is lost, whoever dies, and none is used too early. And
 * whose word is taken for what came of a lease. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/support/token_world.h"

static void nobody_has_the_token_before_the_successor_is_stored(void **state)
{
	struct token_world *w = *state;

	token_take_once(w, 'a');
	token_take_once(w, 'b');
	assert_null(tokens_pending(&w->tokens, ID));
	assert_false(tokens_any_pending(&w->tokens));
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t1", "next"), 0);
	assert_true(tokens_any_pending(&w->tokens));
	token_expect(w, "a:lease store:next");
	const struct tokens_entry *e = tokens_pending(&w->tokens, ID);
	assert_non_null(e);
	assert_int_equal(e->blob_version, 7);
	token_take_once(w, 'c');
	assert_true(token_pass(w, TOKENS_RESEND_MS - 1));
	token_expect(w, "");
	assert_true(token_pass(w, 1));
	token_expect(w, "store:next");
	assert_true(token_pass(w, TOKENS_RESEND_MS - 1));
	token_expect(w, "");
	assert_true(token_pass(w, 1));
	token_expect(w, "store:next");
	tokens_stored(&w->tokens, ID, w->now_ms);
	token_expect(w, "c=t1/56000 a=t1/56000 b=t1/56000");
	assert_null(tokens_pending(&w->tokens, ID));
	assert_false(tokens_any_pending(&w->tokens));
	assert_int_equal(e->lease, 0);
	assert_null(e->holder);
	assert_false(token_pass(w, TOKENS_RESEND_MS));
	token_expect(w, "");
}

static void what_is_pending_cannot_be_replaced_failed_or_given_up(void **state)
{
	struct token_world *w = *state;

	token_take_once(w, 'a');
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t1", "next"), 0);
	uint64_t lease = w->lease, serial = token_entry(w)->serial;
	token_expect(w, "a:lease store:next");
	assert_int_equal(token_put(w, 'a', lease, 60000, "t2", "other"),
			 0); /* waits for long: once more, and the first counts */
	token_expect(w, "store:next");
	assert_int_equal(token_put(w, 'b', lease, 60000, "t2", "other"), TOKENS_E_LEASE);
	token_give_up(w, 'a', lease, REASON_TOKEN_DENIED);
	tokens_hold(&w->tokens, ID, true, lease, token_peer('a'), w->now_ms + 1);
	assert_int_equal(token_entry(w)->lease, lease);
	assert_int_equal(token_entry(w)->lease_until_ms, w->now_ms + TOKENS_LEASE_MS);
	assert_int_equal(token_take_of(w, ID, true, 'b', serial), 0);
	assert_true(token_pass(w, TOKENS_LEASE_MS)); /* no lease ends it either */
	token_expect(w, "store:next");
	tokens_stored(&w->tokens, ID, w->now_ms);
	token_expect(w, "b=t1/45000 a=t1/45000");
}

static void a_worker_that_dies_with_such_a_lease_is_waited_for(void **state)
{
	struct token_world *w = *state;

	token_take_once(w, 'a');
	token_take_once(w, 'b');
	uint64_t lease = w->lease;
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	token_expect(w, "a:lease");
	assert_true(token_pass(w, TOKENS_SETTLE_MS - 1));
	token_expect(w, "");
	assert_false(tokens_holds(&w->tokens, ID, lease + 1, token_peer('b'), w->now_ms));
	assert_true(tokens_holds(&w->tokens, ID, lease, token_peer('b'),
				 w->now_ms)); /* the same worker, on its next connection */
	assert_true(token_pass(w, 1));
	token_expect(w, "b:lease");
}

static void a_worker_that_dies_with_another_lease_is_not(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	token_take(w, 'b', 0);
	token_take(w, 'c', 0);
	tokens_peer_gone(&w->tokens, token_peer('c'), w->now_ms); /* it only waited */
	token_expect(w, "a:lease");
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	token_expect(w, "b:lease");
	tokens_peer_gone(&w->tokens, token_peer('b'), w->now_ms);
	assert_int_equal(token_entry(w)->n_waiters, 0);
	assert_true(token_entry(w)->late);
	assert_false(token_pass(w, 1));
	token_expect(w, "");
}

static void after_a_start_such_a_credential_settles_first(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	assert_int_equal(token_take_of(w, SPAN_LIT("other"), false, 'b', 0), 0);
	token_expect(w, "b:lease"); /* nothing is lost by two calls */
	tokens_drop(&w->tokens, SPAN_LIT("other"));
	token_take_once(w, 'a');
	assert_true(token_pass(w, TOKENS_SETTLE_MS - 1));
	token_expect(w, "");
	assert_true(token_pass(w, 1));
	token_expect(w, "a:lease");
}

static void a_lease_of_before_is_honoured(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	assert_true(tokens_holds(&w->tokens, ID, 3, token_peer('a'), w->now_ms)); /* nothing is known */
	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms);
	token_take_once(w, 'b');
	assert_false(tokens_holds(&w->tokens, ID, 3, token_peer('b'), w->now_ms));
	assert_false(tokens_holds(&w->tokens, ID, 4, token_peer('a'), w->now_ms));
	tokens_hold(&w->tokens, ID, true, 4, token_peer('b'), w->now_ms + 500); /* there is one already */
	assert_int_equal(token_entry(w)->lease, 3);
	assert_true(token_pass(w, TOKENS_LEASE_MS - 1));
	token_expect(w, "");
	assert_int_equal(token_put(w, 'a', 3, 60000, "t", "next"), 0);
	tokens_stored(&w->tokens, ID, w->now_ms);
	token_expect(w, "store:next a=t/60000 b=t/60000");
}

static void a_lease_of_before_ends_as_any_other(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms);
	assert_true(token_entry(w)->rotating);
	token_take_once(w, 'b');
	assert_true(token_pass(w, TOKENS_LEASE_MS - 1));
	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms); /* which makes it no longer */
	token_expect(w, "");
	assert_true(token_pass(w, 1));
	token_expect(w, "b:lease");
}

static void a_lease_of_before_is_one_of_a_moment_ago(void **state)
{
	struct token_world *w = *state;

	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms); /* the vault was never open */
	assert_int_equal(w->tokens.n, 0);
	tokens_open(&w->tokens, w->now_ms);
	w->now_ms += TOKENS_LEASE_MS;
	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms); /* nobody's can be as old as that */
	assert_int_equal(w->tokens.n, 0);
	w->now_ms -= 1;
	tokens_hold(&w->tokens, ID, true, 3, token_peer('a'), w->now_ms);
	assert_int_equal(token_entry(w)->lease, 3);
}

static void who_comes_back_has_the_rest_of_the_lease(void **state)
{
	struct token_world *w = *state;

	token_take_once(w, 'a');
	token_take_once(w, 'b');
	uint64_t lease = w->lease;
	token_expect(w, "a:lease");
	assert_true(token_pass(w, 5000));
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	tokens_hold(&w->tokens, ID, true, lease + 1, token_peer('c'), w->now_ms); /* another's */
	assert_null(token_entry(w)->holder);
	tokens_hold(&w->tokens, ID, true, lease, token_peer('c'), w->now_ms);
	assert_ptr_equal(token_entry(w)->holder, token_peer('c'));
	tokens_hold(&w->tokens, ID, true, lease, token_peer('d'), w->now_ms); /* it is not lost any more */
	assert_ptr_equal(token_entry(w)->holder, token_peer('c'));
	assert_true(token_pass(w, TOKENS_LEASE_MS - 5000 - 1));
	token_expect(w, "");
	for (int i = 0; i < 4; i++) { /* over and over */
		tokens_peer_gone(&w->tokens, token_peer('c'), w->now_ms);
		assert_true(token_pass(w, TOKENS_SETTLE_MS / 4));
		tokens_hold(&w->tokens, ID, true, lease, token_peer('c'), w->now_ms);
	}
	assert_true(token_pass(w, 1));
	token_expect(w, "b:lease");
}

/* ---- whose word it is ---- */

static void without_a_lease_nothing_is_put(void **state)
{
	struct token_world *w = *state;

	assert_int_equal(token_put(w, 'b', 1, 60000, "mine", ""), TOKENS_E_LEASE); /* nobody has it */
	assert_int_equal(w->tokens.n, 0);
	token_take(w, 'a', 0);
	uint64_t lease = w->lease;
	assert_int_equal(token_put(w, 'a', lease, 60000, "t", ""), 0);
	token_expect(w, "a:lease a=t/60000");
	assert_int_equal(token_put(w, 'b', lease, 60000, "mine", ""), TOKENS_E_LEASE); /* nobody any more */
	assert_int_equal(token_put(w, 'a', lease, 60000, "mine", ""), TOKENS_E_LEASE); /* once is all */
	assert_false(tokens_holds(&w->tokens, ID, 0, token_peer('a'), w->now_ms));
	token_take(w, 'b', token_entry(w)->serial);
	token_give_up(w, 'b', w->lease, REASON_TOKEN_DENIED);
	assert_int_equal(token_put(w, 'b', w->lease, 60000, "mine", ""), TOKENS_E_LEASE); /* it has said what came */
	token_expect(w, "b:lease");
}

static void one_of_a_core_before_counts_for_a_moment(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	w->now_ms += TOKENS_LEASE_MS - 1;
	assert_int_equal(token_put(w, 'a', 3, 60000, "t", ""), 0);
	token_expect(w, "a=t/60000");
	w->now_ms += 1;
	assert_int_equal(token_put(w, 'a', 3, 60000, "t", ""), TOKENS_E_LEASE);
	tokens_drop(&w->tokens, ID);
	assert_int_equal(token_put(w, 'a', 3, 60000, "t", ""), TOKENS_E_LEASE);
	assert_int_equal(w->tokens.n, 0);
}

/* The only copy of a refresh token may be in it. */
static void what_comes_late_is_taken_while_nobody_has_the_next(void **state)
{
	struct token_world *w = *state;

	token_take_once(w, 'a');
	uint64_t lease = w->lease;
	assert_false(token_pass(w, TOKENS_LEASE_MS)); /* the timer need not run for it */
	token_give_up(w, 'a', lease, REASON_TOKEN_DENIED);
	tokens_hold(&w->tokens, ID, true, lease, token_peer('a'), w->now_ms); /* which is no longer its own */
	assert_false(token_pass(w, 0));
	assert_int_equal(token_put(w, 'b', lease, 60000, "mine", ""), TOKENS_E_LEASE);
	assert_int_equal(token_put(w, 'a', lease, 60000, "t", "next"), 0);
	token_expect(w, "a:lease store:next");
	tokens_stored(&w->tokens, ID, w->now_ms);
	token_expect(w, "a=t/60000");
	w->now_ms += 60000;
	token_take_once(w, 'a');
	token_take_once(w, 'b');
	lease = w->lease;
	assert_true(token_pass(w, TOKENS_LEASE_MS));
	token_expect(w, "a:lease b:lease");
	assert_int_equal(token_put(w, 'a', lease, 60000, "late", "next"), TOKENS_E_LEASE);
	assert_int_equal(token_entry(w)->holder == token_peer('b'), true);
	assert_false(token_entry(w)->late);
}

static void who_has_lost_his_connection_puts_on_the_next(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	assert_int_equal(token_put(w, 'b', w->lease + 1, 60000, "mine", ""), TOKENS_E_LEASE);
	assert_int_equal(token_put(w, 'b', w->lease, 60000, "t", ""), 0);
	token_expect(w, "a:lease b=t/60000");
	tokens_drop(&w->tokens, ID);
	token_take_once(w, 'a');
	assert_false(token_pass(w, TOKENS_LEASE_MS)); /* over first, then gone */
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	assert_false(token_pass(w, TOKENS_SETTLE_MS));
	tokens_hold(&w->tokens, ID, true, w->lease, token_peer('c'), w->now_ms); /* there is nothing to hold any more */
	assert_int_equal(token_put(w, 'b', w->lease, 60000, "t", "next"), 0);
	token_expect(w, "a:lease store:next");
}

static void what_is_over_takes_no_room_from_its_holder(void **state)
{
	struct token_world *w = *state;
	char id[16];

	for (unsigned i = 0; i < 2 * TOKENS_PEER_MAX; i++) {
		if (i == TOKENS_PEER_MAX)
			assert_false(token_pass(w, TOKENS_LEASE_MS));
		(void)snprintf(id, sizeof(id), "x%u", i);
		assert_int_equal(token_take_of(w, span_str(id), true, 'a', 0), 0);
		w->said[0] = 0;
	}
	assert_int_equal(token_take_of(w, ID, true, 'a', 0), TOKENS_E_FULL);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, token_setup, token_teardown)
	const struct CMUnitTest tests[] = {
		TEST(nobody_has_the_token_before_the_successor_is_stored),
		TEST(what_is_pending_cannot_be_replaced_failed_or_given_up),
		TEST(a_worker_that_dies_with_such_a_lease_is_waited_for),
		TEST(a_worker_that_dies_with_another_lease_is_not),
		TEST(after_a_start_such_a_credential_settles_first),
		TEST(a_lease_of_before_is_honoured),
		TEST(a_lease_of_before_ends_as_any_other),
		TEST(a_lease_of_before_is_one_of_a_moment_ago),
		TEST(who_comes_back_has_the_rest_of_the_lease),
		TEST(without_a_lease_nothing_is_put),
		TEST(one_of_a_core_before_counts_for_a_moment),
		TEST(what_comes_late_is_taken_while_nobody_has_the_next),
		TEST(who_has_lost_his_connection_puts_on_the_next),
		TEST(what_is_over_takes_no_room_from_its_holder),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("tokens_rotating", tests, NULL, NULL);
}
