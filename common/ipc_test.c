/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes' worth of IPC in one: a `router` and an `authd` with a loop each, and the test as their launcher. The
 * loops are run in turn until what is awaited has happened or a bounded number of turns is over.
 */
#include "common/ipc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/daemon.h"
#include "common/ipc_internal.h"
#include "proto/frame.h"
#include "tests/support/ipc_place.h"

#define TURNS_MAX 4000

struct world {
	struct daemon authd, router;
	struct ipc_edge *serves, *link;
	struct ipc_place place;
	int router_control;
	unsigned opened, closed, drained, calls, replies, timeouts, lost, gathered;
	struct proto_authorize last;
	uint64_t seen_id;
	bool mute;     /* authd swallows calls */
	bool hangs_up; /* authd drops who comes */
};

static int handle_authorize(void *ctx, struct ipc_conn *c, uint64_t id, const void *msg, int fd)
{
	struct world *w = ctx;
	const struct proto_authorize *m = msg;

	assert_int_equal(fd, -1);
	w->calls++;
	assert_true(span_eq_str(m->request_id, "r-1"));
	uint8_t same[512];
	size_t len;
	assert_int_equal(proto_pack(&proto_authorize_desc, id, m, same, sizeof(same), &len), 0);
	assert_true(span_eq(ipc_conn_frame(c), span_of(same, len)));
	if (w->mute)
		return 0;
	struct proto_deny deny = {.reason = 7};
	assert_int_equal(ipc_send(c, PROTO_DENY, id, &deny), 0);
	return 0;
}

static void on_open(void *ctx, struct ipc_conn *c)
{
	struct world *w = ctx;

	w->opened++;
	if (w->hangs_up && c->edge == w->serves)
		ipc_drop(c, "test");
}

static void on_close(void *ctx, struct ipc_conn *c)
{
	(void)c;
	((struct world *)ctx)->closed++;
}

static const struct ipc_row authd_rows[] = {{PROTO_AUTHORIZE, handle_authorize}};
static const struct ipc_edge_spec authd_spec = {
	.peer = ROLE_ROUTER, .rows = authd_rows, .n_rows = 1, .on_open = on_open, .on_close = on_close};
static const struct ipc_edge_spec router_spec = {.peer = ROLE_AUTHD, .on_open = on_open, .on_close = on_close};

static void on_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	struct world *w = ctx;

	(void)fd;
	if (outcome == IPC_TIMEOUT) {
		w->timeouts++;
	} else if (outcome == IPC_LOST) {
		w->lost++;
	} else {
		w->replies++;
		assert_int_equal(desc->type, PROTO_DENY);
		assert_int_equal(((const struct proto_deny *)msg)->reason, 7);
	}
}

/* A frame as a stranger would write it, with a descriptor. */
static void say_with_fd(int to, const struct proto_desc *desc, const void *msg, int fd)
{
	uint8_t wire[512];
	size_t len;

	assert_int_equal(proto_pack(desc, 0, msg, wire + 4, sizeof wire - 4, &len), 0);
	frame_put_head(wire, len);
	struct iovec iov = {wire, len + 4};
	char control_bytes[CMSG_SPACE(sizeof fd)] = {0};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control_bytes, .msg_controllen = sizeof control_bytes};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(h), &fd, sizeof fd);
	assert_int_equal(sendmsg(to, &m, 0), (ssize_t)len + 4);
	close(fd);
}

/* The launcher's part: answers LINK by connecting to the listener. */
static void serve_link(struct world *w)
{
	uint8_t wire[512];
	ssize_t n = recv(w->router_control, wire, sizeof wire, MSG_DONTWAIT);

	if (n <= 0 || !w->router.ipc->control)
		return;
	int fd = ipc_place_reach(&w->place);
	say_with_fd(w->router_control, &proto_linked_desc, &(struct proto_linked){.edge = SPAN_LIT("authd.router3")},
		    fd);
}

/* Runs both loops until *counter reaches n. */
static void run_until(struct world *w, const unsigned *counter, unsigned n)
{
	for (int i = 0; i < TURNS_MAX && *counter < n; i++) {
		serve_link(w);
		uv_run(&w->router.loop, UV_RUN_NOWAIT);
		uv_run(&w->authd.loop, UV_RUN_NOWAIT);
		usleep(500);
	}
	assert_true(*counter >= n);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	int pair[2];

	ipc_place_daemon(&w->authd, ROLE_AUTHD, 0);
	ipc_place_daemon(&w->router, ROLE_ROUTER, 3);
	ipc_place_open(&w->place);
	ipc_place_serve(&w->place, &w->authd, "authd.router3");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w->router.control_fd = pair[0];
	w->router_control = pair[1];
	assert_int_equal(ipc_new(&w->authd, &w->authd.ipc), 0);
	assert_int_equal(ipc_new(&w->router, &w->router.ipc), 0);
	assert_int_equal(ipc_serve(w->authd.ipc, &authd_spec, w, &w->serves), 0);
	assert_int_equal(ipc_connect(w->router.ipc, &router_spec, 0, w, &w->link), 0);
	assert_null(ipc_edge_conn(w->link));
	run_until(w, &w->opened, 2);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	daemon_deinit(&w->router); /* asserts that the loop is empty */
	daemon_deinit(&w->authd);
	ipc_place_close(&w->place);
	close(w->router_control);
	free(w);
	return 0;
}

static const struct proto_authorize question = {
	.credential = SPAN_LIT("bh_sk_x"), .address = SPAN_LIT("127.0.0.1"), .request_id = SPAN_LIT("r-1"), .call = 1};

static void ask(struct world *w, uint64_t deadline_ms, uint64_t *ret_id)
{
	assert_int_equal(
		ipc_call(ipc_edge_conn(w->link), PROTO_AUTHORIZE, &question, -1, deadline_ms, on_reply, w, ret_id), 0);
}

static void test_calls_are_answered(void **state)
{
	struct world *w = *state;

	assert_int_equal(ipc_conn_worker(ipc_edge_conn(w->link)), 0);
	for (int i = 0; i < 200; i++)
		ask(w, 5000, NULL);
	run_until(w, &w->replies, 200);
	assert_int_equal(w->calls, 200);
	assert_int_equal(w->lost + w->timeouts, 0);
}

static void ask_before_flush(void *ctx)
{
	struct world *w = ctx;

	if (!w->gathered++)
		ask(w, 5000, NULL);
}

static void test_what_the_hook_sends_leaves_in_the_same_turn(void **state)
{
	struct world *w = *state;

	ipc_set_before_flush(w->router.ipc, ask_before_flush, w);
	uv_run(&w->router.loop, UV_RUN_NOWAIT);
	for (int i = 0; i < TURNS_MAX && w->calls == 0; i++) /* the router does not turn again */
		uv_run(&w->authd.loop, UV_RUN_NOWAIT);
	assert_int_equal(w->gathered, 1);
	assert_int_equal(w->calls, 1);
	ipc_set_before_flush(w->router.ipc, NULL, NULL);
	run_until(w, &w->replies, 1);
	assert_int_equal(w->gathered, 1);
}

static void test_silence_becomes_a_timeout_and_the_late_answer_is_dropped(void **state)
{
	struct world *w = *state;
	uint64_t id;

	w->mute = true;
	ask(w, 40, &id);
	run_until(w, &w->timeouts, 1);
	w->mute = false;
	ask(w, 5000, NULL);
	run_until(w, &w->replies, 1);
	ipc_forget(ipc_edge_conn(w->link), id);
	assert_int_equal(w->closed, 0);
}

static void drop_it(void *arg, struct ipc_conn *c)
{
	(void)arg;
	ipc_drop(c, "test");
}

static void test_a_lost_peer_ends_its_calls_and_comes_back(void **state)
{
	struct world *w = *state;

	w->mute = true;
	ask(w, 60000, NULL);
	run_until(w, &w->calls, 1);
	ipc_edge_each(w->serves, drop_it, NULL);
	run_until(w, &w->lost, 1);
	assert_int_equal(ipc_call(ipc_edge_conn(w->link), PROTO_AUTHORIZE, &question, -1, 1, on_reply, w, NULL),
			 IPC_E_DOWN);
	w->mute = false;
	run_until(w, &w->opened, 4);
	assert_int_equal(w->closed, 2);
	ask(w, 5000, NULL);
	run_until(w, &w->replies, 1);
}

/* 20, 40, 80 ms: a peer that is taken and dropped each time, for what it says, does not come back at once for ever. */
static void test_each_short_life_doubles_the_pause(void **state)
{
	struct world *w = *state;

	w->hangs_up = true;
	ipc_edge_each(w->serves, drop_it, NULL);
	for (unsigned pause_ms = IPC_TICK_MS, lives = 1; lives <= 4; pause_ms *= 2, lives++) {
		run_until(w, &w->closed, 2 * lives);
		assert_int_equal(w->link->retry_ms, pause_ms);
		run_until(w, &w->opened, 2 + 2 * lives);
	}
	w->hangs_up = false;
	run_until(w, &w->opened, 12);
	w->link->opened_ms -= IPC_RETRY_MS_MAX; /* this one lasted */
	ipc_edge_each(w->serves, drop_it, NULL);
	run_until(w, &w->closed, 12);
	assert_int_equal(w->link->retry_ms, IPC_TICK_MS);
}

/* Whatever a hostile peer says on the socket, only its own connection ends. */
static void test_violations_drop_the_peer_and_nobody_else(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} hostile[] = {
		{"\0\0\0\0", 4},                /* no body */
		{"\xff\xff\xff\xff", 4},        /* four gigabytes */
		{"\0\0\0\3\x92\x44\0", 7},      /* SEALED before HELLO, and not a router's to say */
		{"\0\0\0\1\xc1", 5},            /* not msgpack */
		{"GET / HTTP/1.1\r\n\r\n", 18}, /* not ours at all */
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		int fd = ipc_place_reach(&w->place);
		char got[256];
		ssize_t n = -1;

		assert_int_equal(send(fd, hostile[i].bytes, hostile[i].len, 0), (ssize_t)hostile[i].len);
		for (int turn = 0; turn < TURNS_MAX && n != 0; turn++) {
			uv_run(&w->authd.loop, UV_RUN_NOWAIT);
			n = recv(fd, got, sizeof got, 0); /* its HELLO, then the end */
			if (n < 0 && errno == ECONNRESET)
				n = 0;
		}
		assert_int_equal(n, 0);
		close(fd);
	}
	ask(w, 5000, NULL);
	run_until(w, &w->replies, 1);
	assert_int_equal(w->closed, 0);
}

static void say(int to, enum proto_type type, const void *msg)
{
	uint8_t wire[512];
	size_t len;

	assert_int_equal(proto_pack(proto_desc_of(type), 0, msg, wire + 4, sizeof wire - 4, &len), 0);
	frame_put_head(wire, len);
	assert_int_equal(send(to, wire, len + 4, 0), (ssize_t)len + 4);
}

static void tell_it(void *arg, struct ipc_conn *c)
{
	if (c->edge == ((struct world *)arg)->serves)
		assert_int_equal(ipc_send(c, PROTO_VAULT_STATE, 0, &(struct proto_vault_state){.open = 1}), 0);
}

/* Its end may reach us as an error of the socket (it had not read what we said), or of a write, before what it had
 * said. */
static void test_what_a_peer_said_before_it_died_is_heard(void **state)
{
	struct world *w = *state;
	uint8_t boot[16] = {0}, got[256];
	const struct proto_hello hello = {.role = ROLE_ROUTER,
					  .worker = 3,
					  .boot = span_of(boot, sizeof boot),
					  .build = SPAN_LIT("test"),
					  .schema = proto_schema_hash()};

	w->mute = true;
	for (unsigned i = 0; i < 2; i++) {
		int fd = ipc_place_reach(&w->place);

		say(fd, PROTO_HELLO, &hello);
		run_until(w, &w->opened, 3 + i);
		if (i == 1) {
			assert_true(recv(fd, got, sizeof got, 0) > 0);
			ipc_edge_each(w->serves, tell_it, w);
		}
		say(fd, PROTO_AUTHORIZE, &question);
		close(fd);
		run_until(w, &w->closed, i + 1);
		assert_int_equal(w->calls, i + 1);
	}
}

/* Who is not known yet may send anything: what comes along is closed with the connection, not kept. */
static void test_a_descriptor_before_hello_is_closed(void **state)
{
	static const struct ipc_edge_spec spec = {.peer = ROLE_ROUTER};
	struct world *w = *state;
	struct daemon classifier;
	struct ipc_edge *edge;
	int ends[2], peer = ipc_place_reach(&w->place);
	char byte;

	ipc_place_daemon(&classifier, ROLE_CLASSIFIER, 3);
	ipc_place_serve(&w->place, &classifier, "classifier3.router3");
	assert_int_equal(ipc_new(&classifier, &classifier.ipc), 0);
	assert_int_equal(ipc_serve(classifier.ipc, &spec, w, &edge), 0);
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	say_with_fd(peer, &proto_scan_desc, &(struct proto_scan){.classes = 1, .body_bytes = 1}, ends[1]);
	for (int i = 0; i < TURNS_MAX && read(ends[0], &byte, 1) < 0; i++)
		uv_run(&classifier.loop, UV_RUN_NOWAIT);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	daemon_deinit(&classifier);
	close(ends[0]);
	close(peer);
}

static void test_the_time_of_a_turn_is_not_before_what_it_brings(void **state)
{
	struct ipc ipc = {.unix_ns = 5}; /* long ago */

	(void)state;
	assert_int_equal(ipc_unix_ns(&ipc), 5);
	assert_int_equal(ipc_unix_ns_after(&ipc, 5), 5);
	uint64_t now = ipc_unix_ns_after(&ipc, 6);
	assert_true(now > UINT64_C(1700000000000000000));
	assert_int_equal(ipc_unix_ns(&ipc), now);
	assert_true(ipc_unix_ns_after(&ipc, UINT64_MAX) >= now); /* it knows no better */
}

static void expect_wiped(const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(from[i], 0);
}

/* What comes last in a buffer may be the beginning of a message with a secret in it. */
static void test_no_copy_stays_where_bytes_were_moved_from(void **state)
{
	struct ipc_buf b;

	(void)state;
	assert_int_equal(ipc_buf_init(&b, NULL, 1024, 1024), 0);
	memset(b.mem, 's', b.end = b.cap);
	ipc_buf_consume(&b, 900);
	assert_int_equal(ipc_buf_grow(&b), 0);
	assert_int_equal(b.end - b.begin, 124);
	assert_int_equal(b.mem[b.begin] + b.mem[b.end - 1], 2 * 's');
	expect_wiped(b.mem + b.end, b.cap - b.end);
	ipc_buf_deinit(&b, NULL);
}

static void test_a_secret_that_does_not_fit_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct ipc_conn *c = ipc_edge_conn(w->link);

	c->blocked = true; /* as if the peer did not read */
	c->tx.max = c->tx.cap;
	memset(c->tx.mem, 0, c->tx.cap);
	while (ipc_send(c, PROTO_AUTHORIZE, 1, &question) == 0)
		;
	assert_true(c->tx.cap - c->tx.end > FRAME_HEAD_BYTES + question.credential.len);
	expect_wiped(c->tx.mem + c->tx.end, c->tx.cap - c->tx.end);
	ipc_drop(c, "test");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_copy_stays_where_bytes_were_moved_from),
		cmocka_unit_test_setup_teardown(test_a_secret_that_does_not_fit_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_calls_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_the_hook_sends_leaves_in_the_same_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence_becomes_a_timeout_and_the_late_answer_is_dropped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_lost_peer_ends_its_calls_and_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_short_life_doubles_the_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_violations_drop_the_peer_and_nobody_else, setup, teardown),
		cmocka_unit_test(test_the_time_of_a_turn_is_not_before_what_it_brings),
		cmocka_unit_test_setup_teardown(test_a_descriptor_before_hello_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_peer_said_before_it_died_is_heard, setup, teardown),
	};

	return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
