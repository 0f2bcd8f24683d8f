/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races on loopback, where every 127.0.0.n is an address of its own. A black hole is a listener whose queue is full:
 * the kernel drops what comes, as a firewall would.
 */
#include "keyvault/dialer/race.h"
#include "keyvault/dialer/tcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <cmocka.h>

#define WAIT_MS   12000
#define TRIES_MAX 5
#define FILLERS   8
#define HOLES_MAX 4

struct fixture {
	uv_loop_t loop;
	uv_timer_t limit;
	uint16_t port;
	int listener; /* 127.0.0.1 */
	int holes[HOLES_MAX], fillers[HOLES_MAX][FILLERS];
	size_t n_holes;
	bool done;
	int fd, error;
	struct address address;
	uint64_t began_ms, took_ms;
};

static int listen_at(const char *address, uint16_t *port, int backlog)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static struct address address_of(const char *text)
{
	struct address a;

	assert_true(address_parse(span_str(text), &a));
	return a;
}

static void black_hole(struct fixture *f, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(f->port)};
	size_t hole = f->n_holes++;

	f->holes[hole] = listen_at(address, &f->port, 0);
	assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
	for (size_t i = 0; i < FILLERS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(fd, (struct sockaddr *)&in, sizeof(in));
		f->fillers[hole][i] = fd;
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(uv_timer_init(&f->loop, &f->limit), 0);
	f->listener = listen_at("127.0.0.1", &f->port, 8);
	*state = f;
	return 0;
}

/* The loop must run dry: nothing is leaked. */
static int tear_down(void **state)
{
	struct fixture *f = *state;

	uv_close((uv_handle_t *)&f->limit, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	for (size_t i = 0; i < f->n_holes; i++) {
		(void)close(f->holes[i]);
		for (size_t k = 0; k < FILLERS; k++)
			(void)close(f->fillers[i][k]);
	}
	(void)close(f->listener);
	free(f);
	return 0;
}

static void on_done(void *ctx, int fd, const struct address *address, int error)
{
	struct fixture *f = ctx;

	assert_false(f->done);
	f->done = true;
	f->fd = fd;
	f->address = *address;
	f->error = error;
	f->took_ms = uv_now(&f->loop) - f->began_ms;
	uv_stop(&f->loop);
}

static void on_limit(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void run(struct fixture *f, uint64_t ms)
{
	assert_int_equal(uv_timer_start(&f->limit, on_limit, ms, 0), 0);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int race_to(struct fixture *f, const char *const *texts, size_t n)
{
	struct address addresses[16];
	struct race *race;

	for (size_t i = 0; i < n; i++)
		addresses[i] = address_of(texts[i]);
	uv_update_time(&f->loop);
	f->began_ms = uv_now(&f->loop);
	assert_int_equal(race_start(&f->loop, addresses, n, f->port, on_done, f, &race), 0);
	assert_false(f->done); /* never from within */
	run(f, WAIT_MS);
	assert_true(f->done);
	return f->fd;
}

static void assert_won(struct fixture *f, const char *address)
{
	struct address a = address_of(address);

	assert_true(f->fd >= 0);
	assert_true(address_eq(&f->address, &a));
	assert_true(tcp_peer_is(f->fd, &a, f->port));
	(void)close(f->fd);
}

/* In less than so long, if not at once then another time: a machine may stand still for a moment. */
static void win_in(struct fixture *f, const char *const *texts, size_t n, uint64_t ms)
{
	unsigned tries = 0;

	do {
		f->done = false;
		(void)race_to(f, texts, n);
		assert_won(f, "127.0.0.1");
	} while (f->took_ms >= ms && ++tries < TRIES_MAX);
	assert_true(f->took_ms < ms);
}

static void the_first_good_one_wins(void **state)
{
	static const char *const to[] = {"127.0.0.1", "127.0.0.2"};
	struct fixture *f = *state;

	(void)race_to(f, to, 2);
	assert_won(f, "127.0.0.1");
}

/* Refused at once: the next begins at once. */
static void a_refusal_does_not_wait_for_the_stagger(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"};
	struct fixture *f = *state;

	win_in(f, to, 4, 3 * RACE_STAGGER_MS);
}

static void a_silent_one_costs_a_quarter_of_a_second(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.3", "127.0.0.1"};
	struct fixture *f = *state;

	black_hole(f, "127.0.0.2");
	black_hole(f, "127.0.0.3");
	win_in(f, to, 3, 6 * RACE_STAGGER_MS);
	assert_true(f->took_ms >= 2 * RACE_STAGGER_MS);
}

/* The winner's rivals are closed: no descriptor is left. */
static void the_others_are_closed(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.1"};
	struct fixture *f = *state;
	int before, after;

	black_hole(f, "127.0.0.2");
	before = dup(f->listener);
	(void)close(before);
	(void)race_to(f, to, 2);
	assert_won(f, "127.0.0.1");
	run(f, 1); /* handles close */
	after = dup(f->listener);
	(void)close(after);
	assert_int_equal(before, after);
}

static void when_all_refuse_the_last_is_told(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.3"};
	struct fixture *f = *state;
	struct address last = address_of("127.0.0.3");

	assert_int_equal(race_to(f, to, 2), -1);
	assert_int_equal(f->error, -ECONNREFUSED);
	assert_true(address_eq(&f->address, &last));
}

static void silence_ends(void **state)
{
	static const char *const to[] = {"127.0.0.2"};
	struct fixture *f = *state;

	black_hole(f, "127.0.0.2");
	assert_int_equal(race_to(f, to, 1), -1);
	assert_int_equal(f->error, -ETIMEDOUT);
	assert_true(f->took_ms >= RACE_ATTEMPT_MS);
	assert_true(f->took_ms < RACE_MS);
}

/* Lets in who waits: the kernel's first retransmission comes after a second. */
static void on_drain(uv_timer_t *timer)
{
	struct fixture *f = timer->data;

	for (int fd; (fd = accept(f->holes[0], NULL, NULL)) >= 0;)
		(void)close(fd);
}

static void a_late_winner_still_wins(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.3"};
	struct fixture *f = *state;
	uv_timer_t drain;

	black_hole(f, "127.0.0.2");
	black_hole(f, "127.0.0.3");
	assert_int_equal(uv_timer_init(&f->loop, &drain), 0);
	drain.data = f;
	assert_int_equal(uv_timer_start(&drain, on_drain, 2 * RACE_STAGGER_MS, 0), 0);
	(void)race_to(f, to, 2);
	assert_won(f, "127.0.0.2");
	uv_close((uv_handle_t *)&drain, NULL);
	run(f, 1);
}

static void no_more_than_some_are_tried(void **state)
{
	static const char *const to[] = {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6",
					 "127.0.0.7", "127.0.0.8", "127.0.0.9", "127.0.0.1"};
	struct fixture *f = *state;

	assert_int_equal(ARRAY_LEN(to), RACE_ATTEMPTS_MAX + 1);
	assert_int_equal(race_to(f, to, ARRAY_LEN(to)), -1);
	assert_int_equal(f->error, -ECONNREFUSED);
}

static void no_such_family_is_a_failure_like_others(void **state)
{
	static const char *const to[] = {"ff0e::1", "127.0.0.1"}; /* connect() itself refuses multicast */
	struct fixture *f = *state;

	(void)race_to(f, to, 2);
	assert_won(f, "127.0.0.1");
}

static void cancelled_says_nothing(void **state)
{
	struct fixture *f = *state;
	struct address hole = address_of("127.0.0.2");
	struct race *race;

	black_hole(f, "127.0.0.2");
	assert_int_equal(race_start(&f->loop, &hole, 1, f->port, on_done, f, &race), 0);
	race_cancel(race); /* before it began */
	assert_int_equal(race_start(&f->loop, &hole, 1, f->port, on_done, f, &race), 0);
	run(f, 20);
	race_cancel(race);
	race_cancel(NULL);
	run(f, RACE_STAGGER_MS + 50);
	assert_false(f->done);
}

static void the_peer_is_who_it_should_be(void **state)
{
	static const char *const to[] = {"127.0.0.1"};
	struct fixture *f = *state;
	struct address here = address_of("127.0.0.1"), other = address_of("127.0.0.2"), six = address_of("::1"),
		       mapped = address_of("::ffff:127.0.0.1");

	(void)race_to(f, to, 1);
	assert_true(tcp_peer_is(f->fd, &here, f->port));
	assert_false(tcp_peer_is(f->fd, &other, f->port));
	assert_false(tcp_peer_is(f->fd, &six, f->port));
	assert_false(tcp_peer_is(f->fd, &mapped, f->port));
	assert_false(tcp_peer_is(f->fd, &here, (uint16_t)(f->port + 1)));
	assert_false(tcp_peer_is(f->listener, &here, f->port)); /* connected to nobody */
	(void)close(f->fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_first_good_one_wins),
		T(a_refusal_does_not_wait_for_the_stagger),
		T(a_silent_one_costs_a_quarter_of_a_second),
		T(the_others_are_closed),
		T(when_all_refuse_the_last_is_told),
		T(silence_ends),
		T(a_late_winner_still_wins),
		T(no_more_than_some_are_tried),
		T(no_such_family_is_a_failure_like_others),
		T(cancelled_says_nothing),
		T(the_peer_is_who_it_should_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
