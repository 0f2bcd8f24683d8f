/* SPDX-License-Identifier: Apache-2.0 */
/* Every answer of core and service, in every state; and a new refresh token is told to cores until one has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/way_world.h"

/* ---- take ---- */

static void the_core_has_one(void **state)
{
	static const struct {
		uint64_t life_ms, renew_ms, stale_ms;
	} rows[] = {
		{3600000, 3300000, 3570000}, /* 5 minutes and 30 seconds before */
		{600000, 450000, 570000},    /* a quarter, 30 seconds */
		{80000, 60000, 70000},       /* a quarter, an eighth */
	};
	struct way_world *w = *state;
	struct credential_key used = {.serial = 4};

	w->credential.key = &used;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		way_start(w);
		assert_int_equal(w->take.serial, 4);
		assert_true(span_eq_str(w->take.credential, "id"));
		way_core_says_token(w, "tok", rows[i].life_ms);
		way_expect_over(w, REASON_NONE);
		assert_int_equal(w->key->serial, 5);
		assert_int_equal(w->key->born_ms, w->now_ms);
		assert_int_equal(w->key->renew_ms, w->now_ms + rows[i].renew_ms);
		assert_int_equal(w->key->stale_ms, w->now_ms + rows[i].stale_ms);
	}
	assert_int_equal(w->woken, ARRAY_LEN(rows));
	way_start(w);
	way_core_says_token(w, "", 1000);
	way_expect_over(w, REASON_OVERLOADED);
}

/* Another worker got it, of whom nothing is known but that it speaks. */
static void a_token_that_breaks_a_head_is_not_used(void **state)
{
	static const char *const tokens[] = {"tok\r\nx: y", "tok\n", "a b", "\t", "tok\x7f", "t\xc3\xb6k"};
	struct way_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		way_start(w);
		way_core_says_token(w, tokens[i], 3600000);
		way_expect_over(w, REASON_TOKEN_INVALID);
	}
}

static void the_core_has_none(void **state)
{
	static const struct {
		uint64_t says;
		enum reason why;
	} rows[] = {
		{REASON_TOKEN_DENIED, REASON_TOKEN_DENIED},
		{REASON_NONE, REASON_INTERNAL}, /* no failure: not believed */
		{N_REASONS, REASON_INTERNAL},
		{UINT64_MAX, REASON_INTERNAL},
	};
	struct way_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		way_start(w);
		way_core_says(w, PROTO_TOKEN_NONE, &(struct proto_token_none){.reason = rows[i].says});
		way_expect_over(w, rows[i].why);
	}
	way_start(w);
	way_core_refuses(w, "sealed");
	way_expect_over(w, REASON_VAULT_SEALED);
	way_start(w);
	way_core_refuses(w, "not_found");
	way_expect_over(w, REASON_NO_CREDENTIAL);
	way_start(w);
	way_core_is_silent(w, IPC_LOST);
	way_expect_over(w, REASON_VAULT_SEALED);
	way_start(w);
	way_core_is_silent(w, IPC_TIMEOUT);
	way_expect_over(w, REASON_TOKEN_UNAVAILABLE);
	w->call_says = IPC_E_DOWN;
	assert_int_equal(token_start(&w->credential), TOKEN_E_DOWN);
	assert_int_equal(w->noted, 0);
}

/* ---- call ---- */

static void a_lease_is_a_call(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	assert_true(w->calling);
	assert_string_equal(w->called_with, "refresh_token=old");
	assert_true(token_tick(&w->cache, w->now_ms));
	assert_int_equal(w->ticked, 1);
	way_service_says(w, REASON_NONE, "");
	assert_int_equal(w->recorded, 1);
	assert_int_equal(w->last, PROTO_TOKEN_PUT);
	assert_int_equal(w->put.lease, 9);
	assert_int_equal(w->put.version, 3);
	assert_int_equal(w->put.life_ms, 3600000);
	assert_true(span_eq_str(w->put.credential, "id"));
	assert_string_equal(w->put_token, "tok");
	assert_string_equal(w->put_secret, "");
	way_core_says_token(w, "tok", 3600000);
	way_expect_over(w, REASON_NONE);
	assert_false(token_tick(&w->cache, w->now_ms));
}

static void a_call_that_fails_is_told(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_TOKEN_DENIED, "");
	assert_int_equal(w->last, PROTO_TOKEN_FAIL);
	assert_int_equal(w->fail.lease, 9);
	assert_int_equal(w->fail.reason, REASON_TOKEN_DENIED);
	assert_int_equal(w->recorded, 1);
	assert_int_equal(w->dropped, 0);
	way_expect_over(w, REASON_TOKEN_DENIED);
	w->start_says = REASON_TOKEN_UNAVAILABLE;
	w->send_says = IPC_E_FULL; /* a core that does not read is no use */
	way_lease(w);
	assert_int_equal(w->last, PROTO_TOKEN_FAIL);
	assert_int_equal(w->dropped, 1);
	way_expect_over(w, REASON_TOKEN_UNAVAILABLE);
}

static void what_has_no_room_fails(void **state)
{
	struct way_world *w = *state;
	struct secret fill[64] = {{0}};

	way_fill_arena(w, 16, fill, ARRAY_LEN(fill));
	way_lease(w);
	assert_false(w->calling);
	assert_int_equal(w->last, PROTO_TOKEN_FAIL);
	way_expect_over(w, REASON_OVERLOADED);
	way_free_all(w, fill, ARRAY_LEN(fill));
	way_lease(w);
	assert_true(w->calling);
	way_fill_arena(w, 16, fill, ARRAY_LEN(fill));
	way_service_says(w, REASON_NONE, "new");
	assert_int_equal(w->last, PROTO_TOKEN_FAIL);
	way_expect_over(w, REASON_OVERLOADED);
	way_free_all(w, fill, ARRAY_LEN(fill));
	way_lease(w); /* the token has room, the new secret has not: then the token is not used either */
	way_fill_arena(w, 2048, fill, ARRAY_LEN(fill));
	way_service_says(w, REASON_NONE, "new");
	assert_int_equal(w->last, PROTO_TOKEN_FAIL);
	way_expect_over(w, REASON_OVERLOADED);
	way_free_all(w, fill, ARRAY_LEN(fill));
}

/* ---- put ---- */

static void a_core_that_refuses_a_token_ends_it(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_NONE, "");
	way_core_refuses(w, "sealed");
	way_expect_over(w, REASON_VAULT_SEALED);
	way_lease(w);
	way_service_says(w, REASON_NONE, "");
	way_core_is_silent(w, IPC_LOST);
	way_expect_over(w, REASON_VAULT_SEALED);
	way_lease(w);
	w->call_says = IPC_E_DOWN;
	way_service_says(w, REASON_NONE, "");
	way_expect_over(w, REASON_VAULT_SEALED);
}

static void only_another_refresh_token_is_a_new_secret(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_NONE, "old");
	assert_string_equal(w->put_secret, "");
	way_core_says_token(w, "tok", 3600000);
	way_expect_over(w, REASON_NONE);
	way_lease(w);
	way_service_says(w, REASON_NONE, "a/b");
	assert_string_equal(w->put_secret, "refresh_token=a%2Fb");
	way_core_says_token(w, "tok", 3600000);
	way_expect_over(w, REASON_NONE);
	w->credential.scheme = &auth_oauth_client; /* has no refresh token, whatever its service says */
	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	assert_string_equal(w->put_secret, "");
	way_core_refuses(w, "sealed");
	way_expect_over(w, REASON_VAULT_SEALED);
}

static void a_new_secret_is_put_until_a_core_has_it(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	way_core_is_silent(w, IPC_LOST);
	way_expect_noted(w, REASON_TOKEN_NOT_STORED);
	assert_non_null(w->credential.token);
	w->now_ms += 999;
	assert_true(token_tick(&w->cache, w->now_ms));
	assert_null(w->reply);
	w->now_ms += 1;
	w->call_says = IPC_E_DOWN;
	assert_true(token_tick(&w->cache, w->now_ms));
	w->call_says = 0;
	assert_true(token_tick(&w->cache, w->now_ms + 999));
	assert_null(w->reply);
	w->now_ms += 1000;
	w->put_secret[0] = 0;
	assert_true(token_tick(&w->cache, w->now_ms));
	assert_string_equal(w->put_secret, "refresh_token=new");
	way_core_refuses(w, "not_found"); /* a core that has just started has not heard of it */
	way_expect_noted(w, REASON_TOKEN_NOT_STORED);
	w->put_secret[0] = 0;
	token_resume(&w->cache); /* at once, not when it is time */
	assert_string_equal(w->put_secret, "refresh_token=new");
	assert_string_equal(w->put_token, "tok");
	way_core_says_token(w, "tok", 3600000);
	way_expect_over(w, REASON_NONE);
}

static void it_ends_when_the_credential_was_replaced(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	way_core_refuses(w, "rollback");
	way_expect_over(w, REASON_NO_CREDENTIAL);
	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	way_core_says(w, PROTO_TOKEN_NONE, &(struct proto_token_none){.reason = REASON_VAULT_SEALED});
	way_expect_over(w, REASON_VAULT_SEALED);
}

static void it_is_given_up_after_an_hour(void **state)
{
	struct way_world *w = *state;

	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	way_core_is_silent(w, IPC_TIMEOUT);
	way_expect_noted(w, REASON_TOKEN_NOT_STORED);
	w->call_says = IPC_E_DOWN;
	w->now_ms += 3599999;
	assert_true(token_tick(&w->cache, w->now_ms));
	w->now_ms += 1;
	assert_false(token_tick(&w->cache, w->now_ms));
	way_expect_over(w, REASON_TOKEN_NOT_STORED);
}

/* ---- the core comes back; the end ---- */

static void a_core_that_comes_back_hears_of_the_lease(void **state)
{
	struct way_world *w = *state;

	way_start(w);
	token_resume(&w->cache); /* has asked: nothing to say */
	assert_int_equal(w->last, PROTO_TOKEN_TAKE);
	way_core_is_silent(w, IPC_LOST);
	way_lease(w);
	token_resume(&w->cache);
	assert_int_equal(w->last, PROTO_TOKEN_HOLD);
	assert_int_equal(w->hold.lease, 9);
	assert_int_equal(w->hold.version, 3);
	assert_true(span_eq_str(w->hold.credential, "id"));
	w->send_says = IPC_E_FULL;
	token_resume(&w->cache);
	assert_true(w->calling);
	w->send_says = -EIO;
	token_resume(&w->cache);
	assert_false(w->calling);
}

static void cancelled_in_each_state(void **state)
{
	struct way_world *w = *state;

	way_start(w);
	token_cancel(w->credential.token);
	assert_int_equal(w->forgotten, 1);
	way_lease(w);
	token_cancel_of(&w->cache, SPAN_LIT("other"));
	assert_true(w->calling);
	token_cancel_of(&w->cache, SPAN_LIT("id"));
	assert_false(w->calling);
	assert_int_equal(w->forgotten, 1);
	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	token_cancel(w->credential.token);
	assert_int_equal(w->forgotten, 2);
	way_lease(w);
	way_service_says(w, REASON_NONE, "new");
	way_core_is_silent(w, IPC_LOST);
	token_cancel_all(&w->cache);
	assert_int_equal(w->forgotten, 2);
	assert_int_equal(w->noted_end, 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, way_setup, way_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_core_has_one),
		TEST(a_token_that_breaks_a_head_is_not_used),
		TEST(the_core_has_none),
		TEST(a_lease_is_a_call),
		TEST(a_call_that_fails_is_told),
		TEST(what_has_no_room_fails),
		TEST(a_core_that_refuses_a_token_ends_it),
		TEST(only_another_refresh_token_is_a_new_secret),
		TEST(a_new_secret_is_put_until_a_core_has_it),
		TEST(it_ends_when_the_credential_was_replaced),
		TEST(it_is_given_up_after_an_hour),
		TEST(a_core_that_comes_back_hears_of_the_lease),
		TEST(cancelled_in_each_state),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
