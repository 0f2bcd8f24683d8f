/* SPDX-License-Identifier: Apache-2.0 */
/* From the connection to the lane: how often the scrubber is asked, and in which order streams are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/support/relay_world.h"

static void a_body_in_many_chunks_is_looked_at_once(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n1");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_string_equal(fake.body, "abcd");
	assert_int_equal(fake.feeds, 1);
	says(&w->a, "\r\ne\r\n1\r\nf\r\n0\r\n\r\n");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_true(w->a.x.reply_over && !w->a.x.unclean);
	assert_string_equal(fake.body, "abcdef");
	assert_int_equal(fake.feeds, 2);
	assert_int_equal(fake.heads, 1);
	assert_int_equal(w->a.x.body_bytes, 6);
}

static void all_are_read_before_any_is_passed_on(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1"));
	says(&w->b, REPLY_OF("2"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abAB");
	assert_string_equal(fake.body, "12");
	assert_true(w->a.x.reply_over && w->b.x.reply_over);
}

static void one_that_ends_meanwhile_is_not_passed_on(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1"));
	says(&w->b, REPLY_OF("2"));
	fake.ends = &w->b.x;
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abA");
	assert_string_equal(fake.body, "1");
}

/* What is left in OpenSSL's hands wakes nobody. */
static void what_there_is_no_credit_for_is_not_forgotten(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n");
	relay_turn(&w->eg);
	w->a.x.credit = 3;
	says(&w->a, "123567");
	says(&w->b, REPLY_OF("4"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aAabABA"); /* the last one finds no room, and reads nothing */
	assert_string_equal(fake.body, "1234");
	assert_true(fake.paused);
	w->a.x.credit = 3;
	relay_resume(&w->a.x);
	assert_true(fake.watched);
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1234567");
	assert_int_equal(w->a.x.credit, 0);
	relay_resume(&w->a.x);
	assert_true(list_empty(&w->eg.readable)); /* nothing is there */
	fake.watch = -1;
	relay_resume(&w->a.x);
	assert_int_equal(fake.broken, REASON_INTERNAL);
}

/* For the last there may be no room behind the others: it waits for the next batch. */
static void what_is_read_at_once_fits(void **state)
{
	static char body[EGRESS_READ_BYTES + 1];
	struct world *w = *state;
	struct stream *all[] = {&w->a, &w->b, &w->c};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		says(all[i], "HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n");
		relay_turn(&w->eg);
	}
	memset(fake.calls, 0, sizeof(fake.calls));
	memset(body, 'x', EGRESS_READ_BYTES);
	says(&w->a, body + EGRESS_READ_BYTES - 20000);
	says(&w->b, body);
	says(&w->c, body);
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abABcC");
	assert_int_equal(strlen(fake.body), 20000 + 2 * EGRESS_READ_BYTES);
}

/* However much credit there is: no stream writes behind the others' half. */
static void a_long_body_is_read_a_piece_at_a_time(void **state)
{
	static char body[EGRESS_READ_BYTES + 101];
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n");
	relay_turn(&w->eg);
	memset(body, 'x', EGRESS_READ_BYTES + 100);
	says(&w->a, body);
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aAaAaA");
	assert_int_equal(strlen(fake.body), EGRESS_READ_BYTES + 100);
}

static void one_that_is_woken_for_nothing_waits(void **state)
{
	struct world *w = *state;

	says(&w->a, "");
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aA");
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_false(w->a.x.reply_over || w->a.x.unclean || fake.paused);
}

/* What came before the end is passed on first. */
static void an_end_is_told_from_a_cut(void **state)
{
	struct world *w = *state;

	w->a.tls.then = w->b.tls.then = TLS_E_CLOSED;
	w->c.tls.then = TLS_E_BROKEN;
	says(&w->a, "HTTP/1.1 200 OK\r\n\r\n1");
	says(&w->b, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n2");
	says(&w->c, "HTTP/1.1 200 OK\r\n\r\n3");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "123");
	for (struct stream *s = &w->a; s; s = s == &w->a ? &w->b : s == &w->b ? &w->c : NULL) {
		assert_false(s->x.reply_over);
		says(s, "");
	}
	relay_turn(&w->eg);
	assert_true(w->a.x.reply_over && w->a.x.unclean);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_false(w->b.x.reply_over || w->c.x.reply_over);
	assert_int_equal(w->b.x.why, REASON_UPSTREAM_BROKEN);
	assert_int_equal(w->c.x.why, REASON_UPSTREAM_BROKEN);
}

static void what_comes_behind_a_whole_answer_does_not_break_it(void **state)
{
	struct world *w = *state;

	w->a.tls.then = TLS_E_BROKEN;
	w->a.tls.at_once = true;
	says(&w->a, REPLY_OF("1"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aaA");
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_true(w->a.x.reply_over && !w->a.x.unclean);
}

/* It may yet have to be let out. */
static void for_what_the_scrubber_holds_there_is_credit(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n");
	relay_turn(&w->eg);
	w->a.x.credit = 5;
	w->a.x.scrub.held = 2;
	says(&w->a, "123456");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "123");
	assert_true(fake.paused);
	w->a.tls.says = "";
}

static void what_was_held_back_leaves_in_a_frame_of_its_own_where_there_is_no_room(void **state)
{
	static char body[EGRESS_READ_BYTES + 1];
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 32768\r\n\r\n");
	relay_turn(&w->eg);
	memset(body, 'x', EGRESS_READ_BYTES);
	says(&w->a, body);
	fake.tail = 3;
	relay_turn(&w->eg);
	assert_int_equal(strlen(fake.body), EGRESS_READ_BYTES + 3);
	assert_string_equal(fake.body + EGRESS_READ_BYTES - 1, "xttt");
	assert_int_equal(w->a.x.body_bytes, EGRESS_READ_BYTES + 3);
}

static void nobody_reads_for_a_lane_that_is_full(void **state)
{
	struct world *w = *state;

	fake.queued = EGRESS_LANE_BYTES_HIGH + 1;
	says(&w->a, REPLY_OF("1"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "A");
	assert_true(fake.paused && list_first(&w->eg.stalled) == &w->a.x.in_stalled);
	fake.queued--;
	relay_resume(&w->a.x);
	assert_true(fake.watched && list_empty(&w->eg.stalled));
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1");
}

static void what_nobody_asked_for_spoils_the_connection(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1") "HTTP/1.1 200 OK\r\n");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1");
	assert_true(w->a.x.reply_over && w->a.x.unclean);
}

#define REFUSAL "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"

/* With another key to try nothing of it is passed on, nor to the stream that is next. */
static void a_refused_key_is_the_routers_to_know_only_where_it_is_the_last(void **state)
{
	struct world *w = *state;

	w->a.x.spare = true;
	says(&w->a, REFUSAL);
	says(&w->b, REPLY_OF("2"));
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_KEY_REFUSED);
	assert_string_equal(fake.body, "2");
	assert_int_equal(fake.heads, 1);
	assert_int_equal(fake.refused, 0);
	says(&w->c, REFUSAL);
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "2no");
	assert_int_equal(fake.refused, 1);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, relay_setup, relay_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_body_in_many_chunks_is_looked_at_once),
		TEST(all_are_read_before_any_is_passed_on),
		TEST(one_that_ends_meanwhile_is_not_passed_on),
		TEST(what_there_is_no_credit_for_is_not_forgotten),
		TEST(what_is_read_at_once_fits),
		TEST(a_long_body_is_read_a_piece_at_a_time),
		TEST(one_that_is_woken_for_nothing_waits),
		TEST(an_end_is_told_from_a_cut),
		TEST(what_comes_behind_a_whole_answer_does_not_break_it),
		TEST(for_what_the_scrubber_holds_there_is_credit),
		TEST(what_was_held_back_leaves_in_a_frame_of_its_own_where_there_is_no_room),
		TEST(nobody_reads_for_a_lane_that_is_full),
		TEST(what_nobody_asked_for_spoils_the_connection),
		TEST(a_refused_key_is_the_routers_to_know_only_where_it_is_the_last),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
