/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange holds (descriptor and mapping of a body, copies, a piece of the arena) and that it gives it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>

#include "tests/support/exchange_world.h"

/* Of the copy of a request, the first record, the list of those without credit and the answer's digest. */
static void what_an_exchange_holds_is_given_back(void **state)
{
	static const uint8_t none[32];
	struct exchange_world *w = *state;

	struct exchange *x = begin_in(w, EXCHANGE_SEND);

	assert_non_null(x->request.owned);
	assert_int_equal(secret_alloc(w->eg.arena, 100, &x->first), 0);
	exchange_cancel(x);
	assert_null(x->request.owned); /* it lies among the spare ones */
	assert_int_equal(w->eg.n_spare, 1);
	assert_memory_equal(fake.digest, none, 32); /* nothing was answered */
	x = begin_in(w, EXCHANGE_SEND);
	assert_int_equal(secret_alloc(w->eg.arena, 100, &x->first), 0);
	connection_says(w, true);
	assert_int_equal(x->state, EXCHANGE_HEAD);
	assert_null(x->first.p);
	list_push(&w->eg.stalled, &x->in_stalled);
	exchange_credit(x, 1);
	assert_true(list_empty(&w->eg.stalled));
	list_push(&w->eg.stalled, &x->in_stalled);
	exchange_cancel(x);
	assert_memory_not_equal(fake.digest, none, 32);
	w->upstream.reused = true; /* once more, after a connection that was dead */
	x = begin_in(w, EXCHANGE_SEND);
	assert_int_equal(secret_alloc(w->eg.arena, 100, &x->first), 0);
	x->sent_any = false;
	fake.write_says = TLS_E_BROKEN;
	fake.send_says = 0;
	connection_says(w, true);
	assert_int_equal(x->state, EXCHANGE_HEAD);
	exchange_cancel(x);
}

/* A descriptor of these two bytes. */
static int body_in(unsigned seals)
{
	int fd = memfd_create("body", MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, "{}", 2), 2);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void expect_closed(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void a_body_in_a_descriptor(void **state)
{
	const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct exchange_world *w = *state;
	struct proto_open open = {
		.grant = SPAN_LIT("grant"), .method = PROTO_POST, .path = SPAN_LIT("/v1"), .body_bytes = 2};

	exchange_cancel(begin_in(w, EXCHANGE_CONNECT));
	int fd = body_in(seals);
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd), 0);
	expect_closed(fd);
	struct exchange *x = lane_find(&w->lane, STREAM);
	assert_true(span_eq(x->request.body, SPAN_LIT("{}")));
	exchange_cancel(x);
	assert_null(x->request.map);
	unsigned opened = (unsigned)w->eg.count.opened;
	fd = body_in(F_SEAL_SHRINK); /* it could still change */
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd), IPC_E_VIOLATION);
	expect_closed(fd);
	open.body_bytes = 3;
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd = body_in(seals)), IPC_E_VIOLATION);
	expect_closed(fd);
	open.body_bytes = 2;
	open.body = SPAN_LIT("{"); /* a part of it in the message too */
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd = body_in(seals)), IPC_E_VIOLATION);
	expect_closed(fd);
	open.body_bytes = 1;
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd = body_in(seals)), IPC_E_VIOLATION);
	expect_closed(fd);
	assert_int_equal(w->eg.count.opened, opened);
	assert_int_equal(w->eg.n_spare, 1);
	w->eg.draining = true;
	open.body = SPAN_NULL;
	open.body_bytes = 2;
	assert_int_equal(exchange_open(&w->eg, &w->lane, STREAM, &open, fd = body_in(seals)), 0);
	expect_closed(fd);
	assert_int_equal(fake.broken.reason, REASON_SHUTTING_DOWN);
}

/* Between the end of its connection's silence and the end of the turn, when it would be read. */
static void who_is_about_to_be_read_can_end(void **state)
{
	struct exchange_world *w = *state;
	struct exchange *x = begin_in(w, EXCHANGE_BODY);

	w->upstream.on_event(w->upstream.ctx, false);
	assert_false(list_empty(&w->eg.readable));
	exchange_cancel(x);
	assert_true(list_empty(&w->eg.readable));
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, exchange_setup, exchange_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_an_exchange_holds_is_given_back),
		TEST(a_body_in_a_descriptor),
		TEST(who_is_about_to_be_read_can_end),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("exchange_held", tests, NULL, NULL);
}
