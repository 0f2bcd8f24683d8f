/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a write takes, the same bytes arrive in the same order, framed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/reply.h"
#include "tests/support/within.h"

struct wire {
	char text[4096];
	size_t len, writes;
};

/* One write that takes at most `room` bytes. */
static bool flush(struct reply *r, struct wire *w, size_t room)
{
	struct iovec iov[REPLY_IOV_MAX];
	int n = reply_iov(r, iov);
	size_t taken = 0;

	assert_within(n, 0, REPLY_IOV_MAX);
	for (int i = 0; i < n; i++) {
		size_t part = MIN(room - taken, iov[i].iov_len);
		memcpy(w->text + w->len, iov[i].iov_base, part);
		w->len += part;
		taken += part;
	}
	if (n > 0) {
		w->writes++;
		assert_int_equal(reply_sent(r, taken), 0);
	}
	w->text[w->len] = '\0';
	return n > 0;
}

static void flush_all(struct reply *r, struct wire *w, size_t room)
{
	while (flush(r, w, room))
		;
	assert_int_equal(reply_pending(r), 0);
}

static void give(struct reply *r, const char *text)
{
	assert_int_equal(reply_append(r, span_str(text)), 0);
	reply_release(r, strlen(text));
}

static void begin(struct reply *r, bool chunks, bool bodiless, bool close)
{
	reply_begin(r, chunks, bodiless, close);
	assert_int_equal(buf_append_str(&r->head, "HTTP/1.1 200 OK\r\n"), 0);
}

static void test_every_room(void **state)
{
	struct reply r;

	(void)state;
	reply_init(&r);
	for (size_t room = 1; room < 120; room++) {
		struct wire w = {0};
		begin(&r, true, false, false);
		give(&r, "one");
		give(&r, "two");
		(void)flush(&r, &w, room); /* maybe short: what comes next must wait its turn */
		give(&r, "three");
		flush_all(&r, &w, room);
		give(&r, "four");
		reply_end(&r);
		assert_true(reply_pending(&r) > 0);
		flush_all(&r, &w, room);
		assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
					    "6\r\nonetwo\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n");
		assert_int_equal(r.body_bytes, 15);
		assert_false(r.close);
	}
	reply_deinit(&r);
}

static void test_complete_at_once_has_a_length(void **state)
{
	struct reply r;
	struct wire w = {0};

	(void)state;
	reply_init(&r);
	begin(&r, true, false, true);
	give(&r, "hello");
	reply_end(&r);
	flush_all(&r, &w, 1000);
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
	assert_int_equal(w.writes, 1);
	reply_deinit(&r);
}

static void test_end_alone(void **state)
{
	struct reply r;
	struct wire w = {0};

	(void)state;
	reply_init(&r);
	begin(&r, true, false, false);
	give(&r, "x");
	flush_all(&r, &w, 1000);
	reply_end(&r);
	flush_all(&r, &w, 1000);
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
	reply_deinit(&r);
}

static void test_cut_never_ends(void **state)
{
	struct reply r;
	struct wire w = {0};

	(void)state;
	reply_init(&r);
	begin(&r, true, false, false);
	give(&r, "whole");
	assert_int_equal(reply_append(&r, SPAN_LIT("part of an ev")), 0);
	assert_int_equal(reply_held(&r).len, 13);
	flush_all(&r, &w, 1000);
	reply_cut(&r, SPAN_LIT("last"));
	flush_all(&r, &w, 1000);
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n4\r\nlast\r\n");
	reply_deinit(&r);
}

static void test_a_head_that_waits(void **state)
{
	struct reply r;
	struct wire w = {0};

	(void)state;
	reply_init(&r);
	for (int whole = 0; whole < 2; whole++) {
		begin(&r, true, false, false);
		reply_hold_head(&r);
		assert_int_equal(reply_append(&r, SPAN_LIT("{}")), 0);
		assert_int_equal(reply_pending(&r), 0);
		assert_false(flush(&r, &w, 1000));
		assert_false(r.begun);
		reply_release(&r, 2);
		if (whole)
			reply_end(&r);
		flush_all(&r, &w, 1000);
		assert_true(r.begun);
	}
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
				    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
	begin(&r, true, false, false);
	reply_hold_head(&r);
	reply_end(&r);
	assert_true(reply_pending(&r) > 0);
	reply_deinit(&r);
}

static void test_old_client_and_head(void **state)
{
	struct reply r;
	struct wire w = {0};

	(void)state;
	reply_init(&r);
	begin(&r, false, false, false);
	give(&r, "a");
	flush_all(&r, &w, 1000);
	give(&r, "b");
	reply_end(&r);
	flush_all(&r, &w, 1000);
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab");
	assert_true(r.close);
	w.len = 0;
	begin(&r, true, true, false);
	give(&r, "unseen");
	reply_end(&r);
	flush_all(&r, &w, 1000);
	assert_string_equal(w.text, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n");
	assert_int_equal(r.body_bytes, 0);
	reply_deinit(&r);
}

static void test_held_back_is_bounded(void **state)
{
	static uint8_t piece[65536];
	struct reply r;
	int e = 0;

	(void)state;
	reply_init(&r);
	begin(&r, true, false, false);
	for (size_t n = 0; n < REPLY_HELD_BYTES_MAX; n += sizeof(piece))
		e |= reply_append(&r, span_of(piece, sizeof(piece)));
	assert_int_equal(e, 0);
	assert_int_equal(reply_append(&r, span_of(piece, 1)), BUF_E_FULL);
	reply_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_room),          cmocka_unit_test(test_complete_at_once_has_a_length),
		cmocka_unit_test(test_end_alone),           cmocka_unit_test(test_cut_never_ends),
		cmocka_unit_test(test_old_client_and_head), cmocka_unit_test(test_held_back_is_bounded),
		cmocka_unit_test(test_a_head_that_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
