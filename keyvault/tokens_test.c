/* SPDX-License-Identifier: Apache-2.0 */
/* One call for everybody: who is told what, in which order and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/support/token_world.h"

static void one_makes_the_call_and_all_have_the_token(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	token_expect(w, "a:lease");
	token_take(w, 'b', 0);
	token_take(w, 'c', 0);
	token_take(w, 'b', 0); /* asks again: still one answer */
	token_expect(w, "");
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t1", ""), 0);
	token_expect(w, "a=t1/60000 c=t1/60000 b=t1/60000");
	w->now_ms += 59999;
	token_take(w, 'd', 0);
	token_expect(w, "d=t1/1");
	w->now_ms += 1;
	token_take(w, 'd', 0); /* its life is over */
	token_expect(w, "d:lease");
}

static void a_peer_is_answered_for_what_it_asked_last(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	token_take(w, 'b', 0);
	token_take(w, 'b', 0);
	assert_int_equal(token_entry(w)->n_waiters, 1);
	assert_int_equal(token_entry(w)->waiters[0].id, 3);
}

static void a_peer_that_goes_is_not_answered_and_the_others_are(void **state)
{
	struct token_world *w = *state;

	for (char who = 'a'; who <= 'e'; who++)
		token_take(w, who, 0);
	tokens_peer_gone(&w->tokens, token_peer('c'), w->now_ms);
	tokens_peer_gone(&w->tokens, token_peer('b'), w->now_ms);
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t1", ""), 0);
	token_expect(w, "a:lease a=t1/60000 e=t1/60000 d=t1/60000");
}

static void whoever_waits_longest_is_next_to_call(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	token_take(w, 'b', 0);
	token_take(w, 'c', 0);
	token_expect(w, "a:lease");
	assert_true(token_pass(w, TOKENS_LEASE_MS - 1));
	token_expect(w, "");
	assert_true(token_pass(w, 1));
	token_expect(w, "b:lease");
	assert_int_equal(token_entry(w)->n_waiters, 1);
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "late", ""), TOKENS_E_LEASE);
	assert_int_equal(token_put(w, 'b', w->lease - 1, 60000, "early", ""), TOKENS_E_LEASE);
	token_expect(w, "");
	assert_int_equal(token_put(w, 'b', w->lease, 60000, "t", ""), 0);
	token_expect(w, "b=t/60000 c=t/60000");
	assert_false(token_pass(w, 1));
}

static void a_token_that_was_refused_is_given_up_by_its_serial(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t1", ""), 0);
	uint64_t first = token_entry(w)->serial;
	token_expect(w, "a:lease a=t1/60000");
	token_take(w, 'b', first + 1); /* of another one: not this */
	token_expect(w, "b=t1/60000");
	token_take(w, 'b', first);
	token_expect(w, "b:lease");
	assert_int_equal(secret_arena_used(w->arena), 0); /* wiped at once */
	assert_int_equal(token_put(w, 'b', w->lease, 60000, "t2", ""), 0);
	assert_true(token_entry(w)->serial > first);
	token_take(w, 'a', first); /* has not heard: is told, and t2 stays */
	token_expect(w, "b=t2/60000 a=t2/60000");
}

static void serials_and_leases_grow_across_a_restart(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	assert_int_equal(w->lease, UNIX_MS + 1);
	assert_int_equal(token_put(w, 'a', w->lease, 10, "t", ""), 0);
	assert_int_equal(token_entry(w)->serial, UNIX_MS + 2);
	w->unix_ms = UNIX_MS + 5000;
	w->now_ms += 10;
	token_take(w, 'a', 0);
	assert_int_equal(w->lease, UNIX_MS + 5001);
	w->unix_ms = UNIX_MS; /* the clock is set back */
	assert_int_equal(token_put(w, 'a', w->lease, 10, "t", ""), 0);
	assert_int_equal(token_entry(w)->serial, UNIX_MS + 5002);
	w->now_ms += 10;
	token_take(w, 'a', 0);
	w->unix_ms = UNIX_MS + 9000;
	assert_int_equal(token_put(w, 'a', w->lease, 10, "t", ""), 0);
	assert_int_equal(token_entry(w)->serial, UNIX_MS + 9001);
}

/* ---- failure ---- */

static void after_a_failure_nobody_tries_for_a_moment(void **state)
{
	static const struct {
		enum reason why;
		uint64_t ms;
		const char *said;
	} rows[] = {
		{REASON_TOKEN_DENIED, TOKENS_DENIED_MS, "token_denied"},
		{REASON_TOKEN_UNAVAILABLE, TOKENS_FAILED_MS, "token_unavailable"},
		{REASON_TOKEN_INVALID, TOKENS_FAILED_MS, "token_invalid"},
	};
	struct token_world *w = *state;
	char want[64];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		token_take(w, 'a', 0);
		token_take(w, 'b', 0);
		token_expect(w, "a:lease");
		token_give_up(w, 'a', w->lease, rows[i].why);
		(void)snprintf(want, sizeof(want), "b:%s", rows[i].said);
		token_expect(w, want);
		w->now_ms += rows[i].ms - 1;
		token_take(w, 'b', 0);
		token_expect(w, want);
		w->now_ms += 1;
		token_take(w, 'c', 0);
		token_expect(w, "c:lease");
		assert_int_equal(token_put(w, 'c', w->lease, 1, "t", ""), 0);
		token_expect(w, "c=t/1");
		w->now_ms += 1;
	}
}

static void a_success_ends_the_pause(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	token_take(w, 'a', 0);
	token_give_up(w, 'a', w->lease, REASON_TOKEN_DENIED);
	assert_int_equal(token_put(w, 'a', 99, 10, "t", ""), 0); /* of a core before this one */
	token_expect(w, "a:lease a=t/10");
	w->now_ms += 10;
	token_take(w, 'b', 0);
	token_expect(w, "b:lease");
}

static void only_the_holder_can_fail(void **state)
{
	struct token_world *w = *state;

	token_give_up(w, 'a', 0, REASON_TOKEN_DENIED); /* of nothing */
	token_take(w, 'a', 0);
	token_take(w, 'b', 0);
	token_expect(w, "a:lease");
	token_give_up(w, 'b', w->lease, REASON_TOKEN_DENIED);
	token_give_up(w, 'a', w->lease + 1, REASON_TOKEN_DENIED);
	token_expect(w, "");
	assert_int_equal(token_entry(w)->lease, w->lease);
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t", ""), 0);
	token_expect(w, "a=t/60000 b=t/60000");
	token_give_up(w, 'a', w->lease, REASON_TOKEN_DENIED); /* it is over */
	token_take(w, 'c', 0);
	token_expect(w, "c=t/60000");
	w->now_ms += 60000;
	token_take(w, 'c', 0);
	token_expect(w, "c:lease");
}

static void a_lease_without_a_secret_is_a_failure(void **state)
{
	struct token_world *w = *state;

	w->lease_fails = REASON_NO_CREDENTIAL;
	token_take(w, 'a', 0);
	token_expect(w, "a:lease a:no_credential");
	assert_int_equal(token_entry(w)->lease, 0);
	token_take(w, 'b', 0);
	token_expect(w, "b:no_credential");
	w->lease_fails = REASON_NONE;
	w->now_ms += TOKENS_FAILED_MS;
	token_take(w, 'b', 0);
	token_expect(w, "b:lease");
}

/* ---- the end ---- */

static void close_answers_all_and_wipes(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t", ""), 0);
	assert_int_equal(token_take_of(w, SPAN_LIT("other"), true, 'b', 0), 0);
	assert_int_equal(token_take_of(w, SPAN_LIT("other"), true, 'c', 0), 0);
	token_expect(w, "a:lease a=t/60000 b:lease");
	tokens_close(&w->tokens);
	token_expect(w, "c:vault_sealed");
	assert_int_equal(w->tokens.n, 0);
	assert_int_equal(secret_arena_used(w->arena), 0);
}

static void a_dropped_credential_has_no_token(void **state)
{
	struct token_world *w = *state;

	tokens_drop(&w->tokens, ID);
	token_take_once(w, 'a');
	assert_int_equal(token_put(w, 'a', w->lease, 60000, "t", "next"), 0);
	assert_int_equal(token_take_of(w, SPAN_LIT("googl"), false, 'b', 0), 0);
	tokens_drop(&w->tokens, ID);
	token_expect(w, "a:lease store:next b:lease a:no_credential");
	assert_int_equal(w->tokens.n, 1);
	assert_null(tokens_pending(&w->tokens, ID));
	assert_int_equal(secret_arena_used(w->arena), 0);
	assert_false(token_pass(w, TOKENS_LEASE_MS));
}

static void what_has_no_room_is_refused_and_changes_nothing(void **state)
{
	struct token_world *w = *state;
	static char big[ARENA_BYTES];
	struct secret fill = SECRET_NULL;

	token_take(w, 'a', 0);
	assert_int_equal(token_put(w, 'a', w->lease, 5, "t", ""), 0);
	w->now_ms += 5;
	token_take(w, 'a', 0);
	assert_int_equal(secret_alloc(w->arena, ARENA_BYTES * 3 / 4, &fill), 0);
	memset(big, 'x', sizeof(big) / 2);
	assert_int_equal(token_put(w, 'a', w->lease, 5, big, ""), TOKENS_E_FULL);
	assert_int_equal(token_put(w, 'a', w->lease, 5, big, "next"), TOKENS_E_FULL);
	assert_null(tokens_pending(&w->tokens, ID));
	assert_int_equal(token_entry(w)->lease, w->lease);
	secret_free(w->arena, &fill);
	token_expect(w, "a:lease a=t/5 a:lease");
	assert_int_equal(token_put(w, 'a', w->lease, 5, "t2", ""), 0);
	token_expect(w, "a=t2/5");
}

/* ---- room ---- */

/* `n` credentials called `of`NUMBER, by this peer. How many of them it got. */
static size_t take_many(struct token_world *w, char of, size_t n, char who)
{
	char id[32];
	size_t got = 0;

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(id, sizeof(id), "%c%zu", of, i);
		got += token_take_of(w, span_str(id), false, who, 0) == 0;
		w->said[0] = 0;
	}
	return got;
}

static void a_peer_has_its_part_and_no_more(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	assert_int_equal(take_many(w, 'x', TOKENS_MAX, 'a'), TOKENS_PEER_MAX);
	assert_int_equal(w->tokens.n, TOKENS_PEER_MAX);
	assert_int_equal(take_many(w, 'x', TOKENS_PEER_MAX, 'a'), TOKENS_PEER_MAX); /* those it has, once more */
	assert_int_equal(token_put(w, 'a', 1, 5, "t", ""), TOKENS_E_FULL);
	tokens_hold(&w->tokens, ID, true, 1, token_peer('a'), w->now_ms);
	assert_int_equal(w->tokens.n, TOKENS_PEER_MAX);
	assert_int_equal(take_many(w, 'x', TOKENS_MAX, 'b'), TOKENS_PEER_MAX); /* waiting counts */
	assert_int_equal(take_many(w, 'y', 1, 'b'), 0);
	assert_int_equal(take_many(w, 'y', 1, 'c'), 1);
	tokens_drop(&w->tokens, SPAN_LIT("x0"));
	assert_int_equal(take_many(w, 'z', 2, 'a'), 1);
	tokens_peer_gone(&w->tokens, token_peer('b'), w->now_ms);
	assert_int_equal(take_many(w, 'y', 1, 'b'), 1);
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	assert_int_equal(take_many(w, 'x', TOKENS_MAX, 'a'), TOKENS_PEER_MAX);
}

static void the_number_of_entries_is_bounded(void **state)
{
	struct token_world *w = *state;

	tokens_open(&w->tokens, w->now_ms);
	for (char who = 'a'; who < 'a' + TOKENS_MAX / TOKENS_PEER_MAX; who++)
		assert_int_equal(take_many(w, who, TOKENS_PEER_MAX, who), TOKENS_PEER_MAX);
	assert_int_equal(w->tokens.n, TOKENS_MAX);
	assert_int_equal(token_take_of(w, ID, false, 'h', 0), TOKENS_E_FULL);
	assert_int_equal(token_put(w, 'h', 1, 5, "t", ""), TOKENS_E_FULL);
	tokens_hold(&w->tokens, ID, true, 1, token_peer('h'), w->now_ms);
	assert_int_equal(w->tokens.n, TOKENS_MAX);
	assert_int_equal(token_take_of(w, SPAN_LIT("a0"), false, 'h', 0), 0); /* there already */
	tokens_peer_gone(&w->tokens, token_peer('b'), w->now_ms);             /* nobody waits for what it did */
	assert_int_equal(take_many(w, 'z', TOKENS_MAX, 'h'), TOKENS_PEER_MAX - 1);
	assert_int_equal(w->tokens.n, TOKENS_MAX);
}

static void the_token_that_ends_first_makes_room(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'h', 0);
	assert_int_equal(token_put(w, 'h', w->lease, 5000, "first", ""), 0);
	assert_int_equal(token_take_of(w, SPAN_LIT("last"), false, 'h', 0), 0);
	secret_open(w->arena);
	assert_int_equal(tokens_put(&w->tokens, SPAN_LIT("last"), w->lease, 9000, SPAN_LIT("l"), SPAN_NULL, 1,
				    (struct tokens_waiter){token_peer('h'), 1}, w->unix_ms, w->now_ms),
			 0);
	secret_close(w->arena);
	w->said[0] = 0;
	for (char who = 'a'; who < 'a' + TOKENS_MAX / TOKENS_PEER_MAX; who++)
		(void)take_many(w, who, TOKENS_PEER_MAX - (who == 'a'), who);
	assert_int_equal(w->tokens.n, TOKENS_MAX);
	assert_int_equal(token_take_of(w, SPAN_LIT("last"), false, 'g', 0), 0);
	token_expect(w, "g=l/9000"); /* it is there, */
	token_take(w, 'g', 0);
	token_expect(w, "g:lease"); /* and the other is not: it takes the place of the one that is left */
	assert_int_equal(token_take_of(w, SPAN_LIT("last"), false, 'g', 0), TOKENS_E_FULL);
	assert_int_equal(w->tokens.n, TOKENS_MAX);
	assert_int_equal(secret_arena_used(w->arena), 0);
}

/* A token of this size, of NAME, put by `who` with a lease of the core before. Whether it found room. */
static bool put_sized(struct token_world *w, const char *name, char who, size_t bytes, uint64_t life_ms,
		      const char *blob)
{
	static const uint8_t big[ARENA_BYTES];

	tokens_open(&w->tokens, w->now_ms);
	int r = tokens_put(&w->tokens, span_str(name), 1, life_ms, span_of(big, bytes), span_str(blob), 1,
			   (struct tokens_waiter){token_peer(who), 1}, w->unix_ms, w->now_ms);
	w->said[0] = 0;
	assert_true(r == 0 || r == TOKENS_E_FULL);
	return r == 0;
}

/* The names of which there are tokens. */
static void expect_kept(const struct token_world *w, const char *names)
{
	char kept[256] = "";

	list_for_each (it, &w->tokens.all) {
		const struct tokens_entry *e = container_of(it, struct tokens_entry, in_tokens);
		if (e->token.p)
			(void)strcat(kept, e->id);
	}
	assert_string_equal(kept, names);
}

#define QUARTER (ARENA_BYTES / 4 - 32) /* with its canaries */

static void put_quarter(struct token_world *w, const char *name, char who, uint64_t life_ms)
{
	assert_true(put_sized(w, name, who, QUARTER, life_ms, ""));
}

static void what_ends_first_makes_room_for_a_token(void **state)
{
	struct token_world *w = *state;

	put_quarter(w, "1", 'a', 300);
	put_quarter(w, "2", 'b', 100);
	put_quarter(w, "3", 'c', 200);
	put_quarter(w, "4", 'd', 400);
	expect_kept(w, "1234");
	put_quarter(w, "5", 'e', 50);
	expect_kept(w, "1345");
	assert_true(put_sized(w, "6", 'e', 2 * QUARTER, 500, "")); /* as many as it takes */
	expect_kept(w, "146");
	assert_int_equal(token_take_of(w, SPAN_LIT("3"), false, 'b', 0), 0);
	token_expect(w, "b:lease");
}

static void who_has_most_makes_room_of_its_own(void **state)
{
	struct token_world *w = *state;

	put_quarter(w, "1", 'a', 1);
	put_quarter(w, "2", 'b', 200);
	put_quarter(w, "3", 'b', 300);
	put_quarter(w, "4", 'b', 400);
	put_quarter(w, "5", 'b', 500);
	expect_kept(w, "1345");
	put_quarter(w, "2", 'a', 2);
	expect_kept(w, "2345"); /* one that has less takes what ends first, here its own */
	put_quarter(w, "6", 'c', 600);
	expect_kept(w, "3456");
	put_quarter(w, "1", 'a', 700);
	expect_kept(w, "1456");
	put_quarter(w, "2", 'a', 800);
	expect_kept(w, "1256");
	put_quarter(w, "3", 'a', 900); /* half of all is not most */
	expect_kept(w, "1236");
}

static void what_a_worker_left_behind_goes_first(void **state)
{
	struct token_world *w = *state;

	put_quarter(w, "1", 'a', 100);
	put_quarter(w, "2", 'b', 900);
	put_quarter(w, "3", 'b', 800);
	put_quarter(w, "4", 'b', 700);
	tokens_peer_gone(&w->tokens, token_peer('b'), w->now_ms);
	put_quarter(w, "5", 'c', 1000); /* who comes anew has nothing */
	expect_kept(w, "1235");
	put_quarter(w, "6", 'c', 1000);
	put_quarter(w, "7", 'c', 1000);
	expect_kept(w, "1567");
	tokens_peer_gone(&w->tokens, token_peer('a'), w->now_ms);
	put_quarter(w, "8", 'c', 1000); /* also for who has most */
	expect_kept(w, "5678");
}

static void what_waits_for_authd_keeps_its_room(void **state)
{
	struct token_world *w = *state;

	assert_true(put_sized(w, "1", 'a', QUARTER, 1, "next"));
	assert_true(put_sized(w, "2", 'a', QUARTER, 1, "next"));
	assert_true(put_sized(w, "3", 'a', QUARTER, 1, "next"));
	put_quarter(w, "4", 'b', 900);
	assert_false(put_sized(w, "5", 'a', QUARTER, 1, "next")); /* of its own there is none that could go */
	expect_kept(w, "1234");
	put_quarter(w, "5", 'b', 1);
	expect_kept(w, "1235");
	tokens_stored(&w->tokens, SPAN_LIT("2"), w->now_ms);
	put_quarter(w, "5", 'a', 1);
	expect_kept(w, "135");
}

static bool is_google(void *ctx, struct span id)
{
	assert_ptr_equal(ctx, id.p ? ctx : NULL);
	return span_eq(id, ID);
}

static void what_turned_out_to_be_nothing_is_dropped(void **state)
{
	struct token_world *w = *state;

	token_take(w, 'a', 0);
	token_take(w, 'b', 0);
	assert_int_equal(token_take_of(w, SPAN_LIT("other"), false, 'a', 0), 0);
	token_expect(w, "a:lease a:lease");
	tokens_drop_if(&w->tokens, is_google, w);
	token_expect(w, "b:no_credential");
	assert_int_equal(w->tokens.n, 1);
	assert_true(span_eq_str(SPAN_LIT("other"), token_entry(w)->id));
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, token_setup, token_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_makes_the_call_and_all_have_the_token),
		TEST(a_peer_is_answered_for_what_it_asked_last),
		TEST(a_peer_that_goes_is_not_answered_and_the_others_are),
		TEST(whoever_waits_longest_is_next_to_call),
		TEST(a_token_that_was_refused_is_given_up_by_its_serial),
		TEST(serials_and_leases_grow_across_a_restart),
		TEST(after_a_failure_nobody_tries_for_a_moment),
		TEST(a_success_ends_the_pause),
		TEST(only_the_holder_can_fail),
		TEST(a_lease_without_a_secret_is_a_failure),
		TEST(close_answers_all_and_wipes),
		TEST(a_dropped_credential_has_no_token),
		TEST(what_has_no_room_is_refused_and_changes_nothing),
		TEST(a_peer_has_its_part_and_no_more),
		TEST(the_number_of_entries_is_bounded),
		TEST(the_token_that_ends_first_makes_room),
		TEST(what_ends_first_makes_room_for_a_token),
		TEST(who_has_most_makes_room_of_its_own),
		TEST(what_a_worker_left_behind_goes_first),
		TEST(what_waits_for_authd_keeps_its_room),
		TEST(what_turned_out_to_be_nothing_is_dropped),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
