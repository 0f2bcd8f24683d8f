/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of one origin: who gets which, and when they end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/pool_world.h"

/* ---- who gets which ---- */

static void whoever_waits_longest_is_first(void **state)
{
	struct env *e = *state;
	struct waiter w[POOL_MAX + 1];

	for (size_t i = 0; i <= POOL_MAX; i++) {
		wait_in(e, &w[i]);
		assert_int_equal(fake.dials, MIN(i + 1, POOL_MAX)); /* one each, up to connections_max */
	}
	for (unsigned i = 0; i < POOL_MAX; i++) {
		dialed(POOL_MAX - i); /* whichever comes first */
		fake.tls->handshake = 0;
		happens(fake.calls[POOL_MAX - i - 1].ctx, 0);
		assert_int_equal(w[i].told, 1);
		assert_ptr_equal(w[i].upstream, fake.calls[POOL_MAX - i - 1].ctx);
		assert_int_equal(w[i + 1].told, 0);
		assert_int_equal(pool_is_full(&e->pool), i + 1 == POOL_MAX); /* none opens any more */
	}
	pool_give_back(w[1].upstream, true); /* to the one who still waits */
	assert_ptr_equal(w[POOL_MAX].upstream, w[1].upstream);
	assert_true(w[POOL_MAX].upstream->reused);
	assert_int_equal(fake.dials, POOL_MAX);
	pool_give_back(w[0].upstream, true);
	pool_give_back(w[2].upstream, true);
	pool_give_back(w[3].upstream, true);
	assert_int_equal(e->pool.n, POOL_MAX);
	assert_ptr_equal(take_idle(e), w[3].upstream); /* the one used last */
	assert_ptr_equal(take_idle(e), w[2].upstream);
	pool_give_back(w[2].upstream, true);
	pool_give_back(w[3].upstream, true);
}

static void as_many_are_dialled_as_wait(void **state)
{
	struct env *e = *state;
	struct upstream *u[POOL_MAX];
	struct waiter w[POOL_MAX + 1];

	for (size_t i = 0; i < POOL_MAX; i++)
		u[i] = connect_one(e);
	wait_in(e, &w[0]);
	wait_in(e, &w[1]);
	assert_int_equal(fake.dials, POOL_MAX);
	pool_give_back(u[0], false); /* room for one */
	assert_int_equal(fake.dials, POOL_MAX + 1);
	refused(POOL_MAX + 1, REASON_DIAL_RESOLVE);
	expect_failed(&w[0], REASON_DIAL_RESOLVE);
	assert_int_equal(fake.dials, POOL_MAX + 2); /* for the other */
	wait_in(e, &w[2]);
	pool_give_back(u[1], false);
	assert_int_equal(fake.dials, POOL_MAX + 3);
	fake.call_says = IPC_E_DOWN;
	wait_in(e, &w[3]);
	pool_give_back(u[2], false);
	assert_int_equal(w[3].told, 0); /* two are on their way */
	refused(POOL_MAX + 2, REASON_DIAL_RESOLVE);
	expect_failed(&w[1], REASON_DIAL_RESOLVE);
	assert_int_equal(w[2].told + w[3].told, 0); /* one is */
	refused(POOL_MAX + 3, REASON_DIAL_RESOLVE);
	expect_failed(&w[2], REASON_DIAL_RESOLVE);
	expect_failed(&w[3], REASON_EGRESS_GONE); /* none, and nobody to ask */
}

static void one_that_cannot_be_kept_makes_room_for_another(void **state)
{
	struct env *e = *state;
	struct upstream *u[POOL_MAX];
	struct waiter w;

	for (size_t i = 0; i < POOL_MAX; i++)
		u[i] = connect_one(e);
	wait_in(e, &w);
	assert_int_equal(fake.dials, POOL_MAX);
	pool_give_back(u[0], false);
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.dials, POOL_MAX + 1);
	u[1]->tls->quiet = false; /* the provider has said something more */
	pool_give_back(u[1], true);
	assert_int_equal(fake.closed, 2);
	assert_int_equal(e->pool.n, 2); /* one waits, and one is on its way */
	dialed(POOL_MAX + 1);
	shakes(e, 0);
	assert_int_equal(w.told, 1);
	pool_give_back(w.upstream, true);
	pool_give_back(u[2], true);
}

static void a_fresh_one_was_not_used_before(void **state)
{
	struct env *e = *state;
	struct upstream *u = connect_one(e), *none = NULL;
	struct waiter w = a_waiter();

	pool_give_back(u, true);
	assert_int_equal(pool_take(&e->pool, &w.w, true, &none), POOL_E_WAIT);
	assert_int_equal(fake.dials, 2);
	dialed(2);
	shakes(e, 0);
	assert_non_null(w.upstream);
	assert_ptr_not_equal(w.upstream, u);
	assert_false(w.upstream->reused);
	pool_give_back(w.upstream, true);
}

static void who_waits_no_more_gets_none(void **state)
{
	struct env *e = *state;
	struct waiter w = a_waiter();

	pool_forget(&e->pool, &w.w); /* it never did */
	wait_in(e, &w);
	pool_forget(&e->pool, &w.w);
	pool_forget(&e->pool, &w.w);
	assert_int_equal(e->pool.n_waiters, 0);
	dialed(1);
	shakes(e, 0);
	assert_int_equal(w.told, 0);
	struct upstream *u = take_idle(e); /* it is there for the next one */
	pool_give_back(u, true);
	assert_int_equal(fake.dials, 1);
}

static void the_number_of_waiters_is_bounded(void **state)
{
	struct env *e = *state;
	struct waiter *w = calloc(POOL_WAITERS_MAX + 1, sizeof(*w));
	struct upstream *u;

	for (size_t i = 0; i < POOL_WAITERS_MAX; i++)
		wait_in(e, &w[i]);
	w[POOL_WAITERS_MAX] = a_waiter();
	assert_int_equal(pool_take(&e->pool, &w[POOL_WAITERS_MAX].w, false, &u), POOL_E_FULL);
	pool_close(&e->pool, REASON_VAULT_SEALED);
	for (size_t i = 0; i < POOL_WAITERS_MAX; i++)
		expect_failed(&w[i], REASON_VAULT_SEALED);
	assert_int_equal(w[POOL_WAITERS_MAX].told, 0);
	assert_int_equal(fake.forgotten, POOL_MAX);
	free(w);
}

/* ---- what goes wrong ---- */

static void without_a_dialer_there_is_none(void **state)
{
	struct env *e = *state;
	struct waiter w = a_waiter(), late;
	struct upstream *u = NULL;

	fake.call_says = IPC_E_DOWN;
	assert_int_equal(pool_take(&e->pool, &w.w, false, &u), POOL_E_DOWN);
	assert_int_equal(e->pool.n_waiters, 0);
	fake.call_says = 0;
	u = connect_one(e);
	fake.call_says = IPC_E_DOWN;
	wait_in(e, &w); /* for the one that is in use */
	wait_in(e, &late);
	pool_give_back(u, false);
	expect_failed(&w, REASON_EGRESS_GONE); /* it will not come */
	expect_failed(&late, REASON_EGRESS_GONE);
}

static void a_dial_that_fails_fails_one(void **state)
{
	static const struct {
		enum reason said, told;
		unsigned recorded;
	} rows[] = {
		{REASON_DIAL_DENIED, REASON_DIAL_DENIED, 1},
		{REASON_DIAL_RESOLVE, REASON_DIAL_RESOLVE, 1},
		{REASON_DIAL_CONNECT, REASON_DIAL_CONNECT, 1},
		{REASON_NONE, REASON_DIAL_CONNECT, 1}, /* not the dialer's to say */
		{REASON_GRANT_FORGED, REASON_DIAL_CONNECT, 1},
	};
	struct env *e = *state;
	struct waiter w[2];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned before = fake.dials;
		wait_in(e, &w[0]);
		wait_in(e, &w[1]);
		refused(before + 2, rows[i].said);
		expect_failed(&w[0], rows[i].told);
		assert_int_equal(w[1].told, 0);
		assert_int_equal(fake.recorded, rows[i].recorded);
		assert_int_equal(fake.dials, before + 2); /* the other's is on its way */
		dialer_says(before + 1, IPC_TIMEOUT, 0, NULL, -1);
		expect_failed(&w[1], REASON_DIAL_CONNECT);
	}
	wait_in(e, &w[0]);
	dialer_says(fake.dials, IPC_LOST, 0, NULL, -1);
	expect_failed(&w[0], REASON_EGRESS_GONE);
	assert_int_equal(fake.forgotten, 0); /* a call that is over is not */
}

static void what_is_no_connected_tcp_socket_is_refused(void **state)
{
	struct env *e = *state;
	int pair[2];
	struct waiter w;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	wait_in(e, &w);
	dialer_says(1, IPC_REPLY, PROTO_DIALED, &(struct proto_dialed){}, pair[0]);
	expect_failed(&w, REASON_DIAL_CONNECT);
	assert_int_equal(read(pair[1], &(char){0}, 1), 0); /* it was closed */
	close(pair[1]);
	wait_in(e, &w);
	dialer_says(2, IPC_REPLY, PROTO_DIALED, &(struct proto_dialed){}, -1);
	expect_failed(&w, REASON_DIAL_CONNECT);
	wait_in(e, &w);
	fake.tls_says = -ENOMEM;
	dialed(3);
	expect_failed(&w, REASON_INTERNAL);
}

/* A descriptor where none belongs, also one that is called 0. */
static void what_comes_with_a_refusal_is_closed(void **state)
{
	struct env *e = *state;
	int pair[2], stdin_fd = dup(0);
	struct waiter w;

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		if (i % 2)
			assert_int_equal(dup2(pair[0], 0), 0);
		int fd = i % 2 ? 0 : dup(pair[0]);
		close(pair[0]);
		wait_in(e, &w);
		if (i < 2)
			dialer_says(fake.dials, IPC_REPLY, PROTO_DIAL_FAILED,
				    &(struct proto_dial_failed){.reason = REASON_DIAL_RESOLVE}, fd);
		else
			dialer_says(fake.dials, IPC_LOST, 0, NULL, fd);
		expect_failed(&w, i < 2 ? REASON_DIAL_RESOLVE : REASON_EGRESS_GONE);
		assert_int_equal(recv(pair[1], &(char){0}, 1, MSG_DONTWAIT), 0);
		close(pair[1]);
	}
	assert_int_equal(fake.forgotten, 0);
	if (stdin_fd >= 0) {
		assert_int_equal(dup2(stdin_fd, 0), 0);
		close(stdin_fd);
	}
}

static void a_handshake_waits_and_fails_as_tls_says(void **state)
{
	static const struct {
		int says;
		enum reason why;
	} rows[] = {
		{TLS_E_REFUSED, REASON_TLS_FAILED},
		{TLS_E_BROKEN, REASON_UPSTREAM_BROKEN},
		{TLS_E_CLOSED, REASON_UPSTREAM_BROKEN},
	};
	struct env *e = *state;
	struct waiter w;

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		wait_in(e, &w);
		dialed(i + 1);
		shakes(e, TLS_E_WRITE);
		assert_int_equal(fake.watched, UV_WRITABLE);
		shakes(e, TLS_E_READ);
		assert_int_equal(fake.watched, UV_READABLE);
		assert_int_equal(w.told, 0);
		shakes(e, rows[i].says);
		expect_failed(&w, rows[i].why);
		assert_int_equal(e->pool.n, 0);
		assert_int_equal(e->pool.n_opening, 0);
	}
	wait_in(e, &w);
	dialed(4);
	fake.watch_says = -1;
	shakes(e, TLS_E_WRITE);
	expect_failed(&w, REASON_INTERNAL);
	fake.watch_says = 0;
	wait_in(e, &w);
	dialed(5);
	shakes(e, TLS_E_WRITE);
	fake.watch_says = -1; /* at its end, to wait for the answer to come */
	shakes(e, 0);
	expect_failed(&w, REASON_INTERNAL);
	assert_int_equal(e->pool.n_opening, 0);
	fake.watch_says = 0;
}

/* ---- how long ---- */

static void a_handshake_has_its_time(void **state)
{
	struct env *e = *state;
	struct waiter w[3];

	wait_in(e, &w[0]);
	wait_in(e, &w[1]);
	wait_in(e, &w[2]); /* its dial is not over, and has a deadline of its own */
	dialed(1);
	dialed(2);
	fake.now_ms += CONNECT_MS - 1;
	pool_tick(&e->pool, fake.now_ms);
	assert_int_equal(w[0].told, 0);
	fake.now_ms += 1;
	pool_tick(&e->pool, fake.now_ms);
	expect_failed(&w[0], REASON_UPSTREAM_TIMEOUT);
	expect_failed(&w[1], REASON_UPSTREAM_TIMEOUT);
	assert_int_equal(w[2].told, 0);
	assert_int_equal(e->pool.n_opening, 1);
	pool_forget(&e->pool, &w[2].w);
}

static void an_idle_one_ends_in_time(void **state)
{
	struct env *e = *state;
	struct upstream *u = connect_one(e);

	fake.now_ms += 2 * IDLE_MS; /* in use for so long */
	pool_give_back(u, true);
	pool_tick(&e->pool, fake.now_ms + IDLE_MS - 1);
	assert_int_equal(e->pool.n, 1);
	pool_tick(&e->pool, fake.now_ms + IDLE_MS);
	assert_int_equal(e->pool.n, 0);
}

static void nothing_lives_for_ever(void **state)
{
	struct env *e = *state;
	struct upstream *u = connect_one(e);
	uint64_t born_ms = fake.now_ms;

	fake.now_ms = born_ms + POOL_LIFETIME_MS - 1;
	pool_give_back(u, true);
	pool_tick(&e->pool, born_ms + POOL_LIFETIME_MS - 1);
	assert_int_equal(e->pool.n, 1);
	pool_tick(&e->pool, born_ms + POOL_LIFETIME_MS);
	assert_int_equal(e->pool.n, 0);
	u = connect_one(e);
	fake.now_ms += POOL_LIFETIME_MS; /* one request of ten minutes */
	pool_give_back(u, true);
	assert_int_equal(e->pool.n, 0);
}

static void without_idle_time_none_is_kept(void **state)
{
	struct env *e = *state;

	e->env.idle_ms = 0;
	pool_give_back(connect_one(e), true);
	assert_int_equal(e->pool.n, 0);
	assert_int_equal(fake.closed, 1);
}

/* ---- health ---- */

static void one_that_lay_idle_is_asked_first(void **state)
{
	struct env *e = *state;
	struct upstream *first = connect_one(e), *second = connect_one(e);

	pool_give_back(first, true);
	pool_give_back(second, true);
	fake.now_ms += POOL_TRUST_MS - 1;
	assert_ptr_equal(take_idle(e), second);
	assert_int_equal(fake.asked_idle, 0); /* it served a moment ago */
	pool_give_back(second, true);
	fake.now_ms += POOL_TRUST_MS;
	second->tls->idle = false; /* was closed by its provider: the next one */
	assert_ptr_equal(take_idle(e), first);
	assert_int_equal(fake.asked_idle, 2);
	assert_int_equal(fake.closed, 1);
	pool_give_back(first, true);
	first->tls->quiet = false; /* a moment ago, and said something since */
	struct waiter w;
	wait_in(e, &w);
	assert_int_equal(fake.closed, 2);
	assert_int_equal(e->pool.n, 1);
	pool_forget(&e->pool, &w.w);
}

static void one_that_speaks_while_it_is_idle_ends(void **state)
{
	struct env *e = *state;
	struct upstream *u = connect_one(e);

	pool_give_back(u, true);
	happens(u, 0); /* a ticket */
	assert_int_equal(e->pool.n, 1);
	u->tls->idle = false;
	happens(u, 0);
	assert_int_equal(e->pool.n, 0);
	u = connect_one(e);
	pool_give_back(u, true);
	happens(u, UV_ECONNRESET);
	assert_int_equal(e->pool.n, 0);
}

static void note_event(void *ctx, bool writable)
{
	*(int *)ctx = writable ? 2 : 1;
}

static void its_holder_hears_of_it(void **state)
{
	struct env *e = *state;
	struct upstream *u = connect_one(e);
	int heard = 0;

	u->on_event = note_event;
	u->ctx = &heard;
	happens(u, 0);
	assert_int_equal(heard, 1);
	assert_int_equal(upstream_watch(u, UV_WRITABLE), 0);
	assert_int_equal(fake.watched, UV_WRITABLE);
	fake.watched = 0;
	assert_int_equal(upstream_watch(u, UV_WRITABLE), 0);
	assert_int_equal(fake.watched, 0); /* it was so already */
	happens(u, UV_ECONNRESET);         /* the next write says what it is */
	assert_int_equal(heard, 2);
	assert_int_equal(fake.watched, UV_WRITABLE);
	upstream_pause(u);
	assert_int_equal(fake.watched, 0);
	assert_int_equal(upstream_watch(u, UV_READABLE), 0);
	assert_int_equal(fake.watched, UV_READABLE);
	assert_int_equal(upstream_watch(u, UV_WRITABLE), 0);
	pool_give_back(u, true);
	assert_int_equal(fake.watched, UV_READABLE);
	assert_null(u->on_event);
}

/* ---- the end ---- */

static void a_pool_that_closes_leaves_the_busy_to_their_holders(void **state)
{
	struct env *e = *state;
	struct upstream *busy = connect_one(e), *idle = connect_one(e);
	struct waiter w;

	pool_give_back(idle, true);
	w = a_waiter();
	struct upstream *none = NULL;
	assert_int_equal(pool_take(&e->pool, &w.w, true, &none), POOL_E_WAIT);
	pool_close(&e->pool, REASON_NO_CREDENTIAL);
	expect_failed(&w, REASON_NO_CREDENTIAL);
	assert_int_equal(fake.forgotten, 1);
	assert_int_equal(e->pool.n, 1);
	pool_give_back(busy, true); /* but it is not kept */
	assert_int_equal(e->pool.n, 0);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, pool_setup, pool_teardown)
	const struct CMUnitTest tests[] = {
		TEST(whoever_waits_longest_is_first),
		TEST(as_many_are_dialled_as_wait),
		TEST(one_that_cannot_be_kept_makes_room_for_another),
		TEST(a_fresh_one_was_not_used_before),
		TEST(who_waits_no_more_gets_none),
		TEST(the_number_of_waiters_is_bounded),
		TEST(without_a_dialer_there_is_none),
		TEST(a_dial_that_fails_fails_one),
		TEST(what_is_no_connected_tcp_socket_is_refused),
		TEST(what_comes_with_a_refusal_is_closed),
		TEST(a_handshake_waits_and_fails_as_tls_says),
		TEST(a_handshake_has_its_time),
		TEST(an_idle_one_ends_in_time),
		TEST(nothing_lives_for_ever),
		TEST(without_idle_time_none_is_kept),
		TEST(one_that_lay_idle_is_asked_first),
		TEST(one_that_speaks_while_it_is_idle_ends),
		TEST(its_holder_hears_of_it),
		TEST(a_pool_that_closes_leaves_the_busy_to_their_holders),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
