/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to a token service and where, what each answer comes to, and that nothing of it is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/call_world.h"

#define GOOD "{\"access_token\":\"tok\",\"token_type\":\"Bearer\",\"expires_in\":3600,\"refresh_token\":\"next\"}"

/* ---- the request ---- */

static void what_is_sent_and_on_what(void **state)
{
	struct call_world *w = *state;

	call_start(w);
	assert_true(w->fresh);
	assert_int_equal(w->credential.refs, 2);
	assert_int_equal(w->sent_len, 0);
	call_connect(w);
	w->sent[w->sent_len] = 0;
	/* "me:hush" */
	assert_string_equal(w->sent, "POST /token HTTP/1.1\r\nhost: t.test:8443\r\naccept: application/json\r\n"
				     "accept-encoding: identity\r\nconnection: close\r\n"
				     "content-type: application/x-www-form-urlencoded\r\ncontent-length: 41\r\n"
				     "authorization: Basic bWU6aHVzaA==\r\n\r\n"
				     "grant_type=client_credentials&scope=a%20b");
	assert_int_equal(w->watched, UV_READABLE);
	call_answer_json(w, 200, GOOD);
	call_expect_end(w, REASON_NONE, 200);
	assert_string_equal(w->token, "tok");
	assert_string_equal(w->refresh, "next");
	assert_int_equal(w->end.answer.life_s, 3600);
	assert_false(w->kept); /* a connection of its own */
}

static void it_is_sent_once_in_whatever_pieces(void **state)
{
	struct call_world *w = *state;
	char whole[32768];

	call_start(w);
	call_connect(w);
	size_t len = w->sent_len;
	memcpy(whole, w->sent, len);
	token_call_cancel(w->call);
	w->sent_len = 0;
	w->room = 0;
	w->write_says = TLS_E_WRITE;
	call_start(w);
	call_connect(w);
	assert_int_equal(w->watched, UV_WRITABLE);
	for (size_t step = 7; w->sent_len < len; step = 100) {
		w->room = step;
		w->upstream.on_event(w->upstream.ctx, true);
		assert_int_equal(w->watched, w->sent_len < len ? UV_WRITABLE : UV_READABLE);
	}
	assert_int_equal(w->sent_len, len);
	assert_memory_equal(w->sent, whole, len);
	call_answer_json(w, 200, GOOD);
	assert_int_equal(w->sent_len, len);
	assert_string_equal(w->token, "tok");
}

/* Is it in the first part of the arena, where the call's memory is? */
static bool lies_in_arena(struct call_world *w, const struct secret *first, const char *text)
{
	secret_open(w->arena);
	bool found = memmem(first->p, 100000, text, strlen(text)) != NULL;
	secret_close(w->arena);
	return found;
}

static void what_was_sent_and_read_is_wiped_at_once(void **state)
{
	struct call_world *w = *state;
	struct secret first, last; /* between them the arena opens, also where nothing is any more */

	assert_int_equal(secret_alloc(w->arena, 16, &first), 0);
	call_start(w);
	assert_int_equal(secret_alloc(w->arena, 1 << 17, &last), 0);
	assert_true(lies_in_arena(w, &first, "bWU6aHVz")); /* else the rest proves nothing */
	assert_false(lies_in_arena(w, &first, "hush"));
	call_connect(w);
	assert_false(lies_in_arena(w, &first, "bWU6aHVz"));
	call_answer(w, "HTTP/1.1 200 X\r\nx-token: in-head\r\ncontent-length: 99\r\n\r\nin-body", TLS_E_READ);
	assert_true(lies_in_arena(w, &first, "in-body"));
	assert_false(lies_in_arena(w, &first, "in-head"));
	token_call_cancel(w->call);
	assert_false(lies_in_arena(w, &first, "in-body"));
	secret_free(w->arena, &first);
	secret_free(w->arena, &last);
}

static void what_cannot_be_composed_is_not_begun(void **state)
{
	struct call_world *w = *state;
	static char big[20000];

	assert_int_equal(call_start_with(w, "nonsense"), REASON_NO_CREDENTIAL);
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "client_secret=", 14);
	assert_int_equal(call_start_with(w, big), REASON_INTERNAL);
	assert_null(w->waiter);
	w->pool_says = POOL_E_DOWN;
	assert_int_equal(call_start_with(w, SECRET), REASON_TOKEN_UNAVAILABLE);
	w->pool_says = POOL_E_FULL;
	assert_int_equal(call_start_with(w, SECRET), REASON_TOKEN_UNAVAILABLE);
	w->pool_says = 0; /* not a fresh one: never used */
	assert_int_equal(call_start_with(w, SECRET), REASON_TOKEN_UNAVAILABLE);
	assert_null(w->call);
	assert_int_equal(w->credential.refs, 1);
	assert_int_equal(w->ended, 0);
}

static void a_full_arena_is_told(void **state)
{
	struct call_world *w = *state;
	struct secret fill = SECRET_NULL;

	assert_int_equal(secret_alloc(w->arena, 220000, &fill), 0);
	assert_int_equal(call_start_with(w, SECRET), REASON_OVERLOADED);
	secret_free(w->arena, &fill);
	call_start(w);
	token_call_cancel(w->call);
}

/* ---- the answer ---- */

static void each_status_means_what_it_does(void **state)
{
	static const struct {
		unsigned status;
		enum reason why;
	} rows[] = {
		{400, REASON_TOKEN_DENIED},      {401, REASON_TOKEN_DENIED},      {403, REASON_TOKEN_DENIED},
		{404, REASON_TOKEN_INVALID},     {402, REASON_TOKEN_INVALID},     {201, REASON_TOKEN_INVALID},
		{206, REASON_TOKEN_INVALID},     {408, REASON_TOKEN_UNAVAILABLE}, {429, REASON_TOKEN_UNAVAILABLE},
		{500, REASON_TOKEN_UNAVAILABLE}, {503, REASON_TOKEN_UNAVAILABLE}, {499, REASON_TOKEN_INVALID},
	};
	struct call_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		call_start(w);
		call_connect(w);
		call_answer_json(w, rows[i].status, "{\"error\":\"invalid_grant\",\"x\":1}");
		call_expect_end(w, rows[i].why, rows[i].status);
		assert_string_equal(w->error, "invalid_grant");
		assert_string_equal(w->token, "");
	}
}

static void what_is_no_answer(void **state)
{
	static const struct {
		const char *text;
		int says;
		enum reason why;
		unsigned status;
	} rows[] = {
		{"HTTP/1.1 302 X\r\nlocation: https://evil.test/\r\ncontent-length: 0\r\n\r\n", TLS_E_READ,
		 REASON_TOKEN_INVALID, 0},
		{"HTTP/1.1 200 X\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", TLS_E_READ, REASON_TOKEN_INVALID,
		 0},
		{"nonsense\r\n\r\n", TLS_E_READ, REASON_TOKEN_INVALID, 0},
		{"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}", TLS_E_READ, REASON_TOKEN_INVALID, 200},
		{"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{}", TLS_E_CLOSED, REASON_TOKEN_UNAVAILABLE, 200},
		{"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{}", TLS_E_BROKEN, REASON_TOKEN_UNAVAILABLE, 200},
		{"HTTP/1.1 200 X\r\ncontent-length: 99999\r\n\r\n", TLS_E_READ, REASON_TOKEN_INVALID, 0},
		{"", TLS_E_CLOSED, REASON_TOKEN_UNAVAILABLE, 0},
		{"", TLS_E_BROKEN, REASON_TOKEN_UNAVAILABLE, 0},
		{"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n" GOOD, TLS_E_BROKEN, REASON_TOKEN_UNAVAILABLE, 200},
	};
	struct call_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		call_start(w);
		call_connect(w);
		call_answer(w, rows[i].text, rows[i].says);
		if (w->ended != 1 || w->end.why != rows[i].why || w->end.status != rows[i].status)
			fail_msg("row %zu: ended %u, %s, %u", i, w->ended, reason_row(w->end.why)->code, w->end.status);
		assert_int_equal(w->returned, 1);
		assert_string_equal(w->token, "");
		w->ended = w->forgotten = w->returned = 0;
	}
}

static void an_answer_may_end_with_the_connection(void **state)
{
	struct call_world *w = *state;

	call_start(w);
	call_connect(w);
	call_answer(w, "HTTP/1.1 200 X\r\nconnection: close\r\n\r\n" GOOD, TLS_E_CLOSED);
	call_expect_end(w, REASON_NONE, 200);
	assert_string_equal(w->token, "tok");
}

static void an_answer_in_pieces_and_one_that_waited_already(void **state)
{
	struct call_world *w = *state;

	for (int pending = 0; pending < 2; pending++) {
		w->piece = 1;
		w->pending = pending;
		call_start(w);
		if (pending) { /* from an answer that came with the last of the handshake */
			w->at = 0;
			call_connect(w);
		} else {
			call_connect(w);
			call_answer_json(w, 200, GOOD);
		}
		call_expect_end(w, REASON_NONE, 200);
		assert_string_equal(w->token, "tok");
	}
}

/* 32 KiB are the limit of an answer, to the byte. */
static void the_size_of_an_answer_is_bounded(void **state)
{
	struct call_world *w = *state;
	static char text[TOKEN_ANSWER_BYTES_MAX + 256];

	for (size_t over = 0; over < 2; over++) {
		size_t len = TOKEN_ANSWER_BYTES_MAX + over;
		int head = snprintf(text, sizeof(text), "HTTP/1.1 200 X\r\nconnection: close\r\n\r\n" GOOD);
		memset(text + head, ' ', len);
		text[(size_t)head + len - strlen(GOOD)] = 0;
		call_start(w);
		call_connect(w);
		call_answer(w, text, TLS_E_CLOSED);
		call_expect_end(w, over ? REASON_TOKEN_INVALID : REASON_NONE, 200);
	}
}

/* ---- the end ---- */

static void without_a_connection(void **state)
{
	static const struct {
		enum reason pool, why;
	} rows[] = {
		{REASON_TLS_FAILED, REASON_TLS_FAILED},
		{REASON_DIAL_DENIED, REASON_DIAL_DENIED},
		{REASON_DIAL_CONNECT, REASON_TOKEN_UNAVAILABLE},
		{REASON_DIAL_RESOLVE, REASON_TOKEN_UNAVAILABLE},
	};
	struct call_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		call_start(w);
		w->waiter->ready(w->waiter, NULL, rows[i].pool);
		assert_int_equal(w->returned, 0);
		call_expect_end(w, rows[i].why, 0);
	}
	assert_int_equal(w->sent_len, 0);
}

static void a_connection_that_fails_is_not_tried_again(void **state)
{
	struct call_world *w = *state;

	call_start(w);
	w->room = 10;
	w->write_says = TLS_E_BROKEN;
	call_connect(w);
	assert_int_equal(w->returned, 1);
	call_expect_end(w, REASON_TOKEN_UNAVAILABLE, 0);
	w->room = SIZE_MAX;
	w->watch_says = -EIO;
	call_start(w);
	call_connect(w);
	assert_int_equal(w->returned, 1);
	call_expect_end(w, REASON_TOKEN_UNAVAILABLE, 0);
}

static void it_ends_by_its_deadline(void **state)
{
	struct call_world *w = *state;

	call_start(w);
	call_connect(w);
	call_answer(w, "HTTP/1.1 200 X\r\n", TLS_E_READ);
	token_call_tick(w->call, 1000 + TOKEN_CALL_MS - 1);
	assert_int_equal(w->ended, 0);
	token_call_tick(w->call, 1000 + TOKEN_CALL_MS);
	assert_int_equal(w->returned, 1);
	call_expect_end(w, REASON_TOKEN_UNAVAILABLE, 0);
}

static void a_cancelled_call_says_nothing(void **state)
{
	struct call_world *w = *state;

	call_start(w);
	token_call_cancel(w->call);
	assert_int_equal(w->forgotten, 1);
	assert_int_equal(w->returned, 0);
	call_start(w);
	call_connect(w);
	token_call_cancel(w->call);
	assert_int_equal(w->returned, 1);
	assert_false(w->kept);
	assert_int_equal(w->ended, 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, call_setup, call_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_sent_and_on_what),
		TEST(it_is_sent_once_in_whatever_pieces),
		TEST(what_was_sent_and_read_is_wiped_at_once),
		TEST(what_cannot_be_composed_is_not_begun),
		TEST(a_full_arena_is_told),
		TEST(each_status_means_what_it_does),
		TEST(what_is_no_answer),
		TEST(an_answer_may_end_with_the_connection),
		TEST(an_answer_in_pieces_and_one_that_waited_already),
		TEST(the_size_of_an_answer_is_bounded),
		TEST(without_a_connection),
		TEST(a_connection_that_fails_is_not_tried_again),
		TEST(it_ends_by_its_deadline),
		TEST(a_cancelled_call_says_nothing),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("token_call", tests, NULL, NULL);
}
