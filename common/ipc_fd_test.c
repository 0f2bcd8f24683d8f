/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors under way: each comes with its own message, none stays behind. And calls, of which there are only so
 * many. A dialer and an egress in one process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/ipc_internal.h"
#include "proto/frame.h"
#include "tests/support/ipc_place.h"

#define TURNS_MAX 4000
#define DIALS     40 /* more than may be under way at once */

struct world {
	struct daemon dialer, egress;
	struct ipc_edge *serves, *link;
	struct ipc_conn *to_egress; /* the dialer's end */
	struct ipc_place place;
	int launcher;
	unsigned opened, closed, drained, asked, dialed, failed, lost, full;
	bool mute; /* the dialer answers nothing */
	struct dialled {
		struct world *w;
		FILE *file; /* what comes of it */
	} all[DIALS];
	size_t fds; /* before the first dial */
};

static size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* Every third is not connected. What there is no room for is told so, as the dialer does. */
static int handle_dial(void *ctx, struct ipc_conn *c, uint64_t id, const void *msg, int fd)
{
	const struct proto_dial *dial = msg;
	struct world *w = ctx;
	int r = IPC_E_DOWN;

	assert_int_equal(fd, -1);
	w->to_egress = c;
	w->asked++;
	if (w->mute)
		return 0;
	if (dial->port % 3)
		r = ipc_send_fd(c, PROTO_DIALED, id, &(struct proto_dialed){.address = SPAN_LIT("192.0.2.1")},
				dup(fileno(w->all[dial->port].file)));
	w->full += r == IPC_E_FULL;
	return r ? ipc_send(c, PROTO_DIAL_FAILED, id, &(struct proto_dial_failed){.reason = 1}) : 0;
}

static void on_dialed(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd)
{
	const struct dialled *d = ctx;
	struct world *w = d->w;
	struct stat got, sent;

	(void)msg;
	w->lost += outcome == IPC_LOST;
	w->failed += outcome == IPC_REPLY && desc->type == PROTO_DIAL_FAILED;
	assert_int_equal(fd >= 0, outcome == IPC_REPLY && desc->type == PROTO_DIALED);
	if (fd < 0)
		return;
	w->dialed++;
	assert_int_equal(fstat(fd, &got) | fstat(fileno(d->file), &sent), 0);
	assert_int_equal(got.st_ino, sent.st_ino); /* its own */
	(void)close(fd);
}

static void on_open(void *ctx, struct ipc_conn *c)
{
	(void)c;
	((struct world *)ctx)->opened++;
}

static void on_close(void *ctx, struct ipc_conn *c)
{
	(void)c;
	((struct world *)ctx)->closed++;
}

static void on_drain(void *ctx, struct ipc_conn *c)
{
	(void)c;
	((struct world *)ctx)->drained++;
}

static const struct ipc_row rows[] = {{PROTO_DIAL, handle_dial}};
static const struct ipc_edge_spec dialer_spec = {
	.peer = ROLE_EGRESS, .rows = rows, .n_rows = 1, .on_open = on_open, .on_close = on_close, .on_drain = on_drain};
static const struct ipc_edge_spec egress_spec = {.peer = ROLE_DIALER, .on_open = on_open, .on_close = on_close};

/* Some bytes of a frame, as a stranger would write them, with a descriptor if it is >= 0. */
static void say(int to, enum proto_type type, const void *msg, int fd, size_t from, size_t len_max)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t wire[512];
	size_t len;

	assert_int_equal(proto_pack(proto_desc_of(type), 0, msg, wire + 4, sizeof(wire) - 4, &len), 0);
	frame_put_head(wire, len);
	assert_true(from < len + 4);
	struct iovec iov = {wire + from, MIN(len + 4 - from, len_max)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(to, &m, MSG_NOSIGNAL), (ssize_t)iov.iov_len);
}

static void run_until(struct world *w, const unsigned *counter, unsigned n)
{
	for (int i = 0; i < TURNS_MAX && *counter < n; i++) {
		uv_run(&w->egress.loop, UV_RUN_NOWAIT);
		uv_run(&w->dialer.loop, UV_RUN_NOWAIT);
		usleep(200);
	}
	assert_true(*counter >= n);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int pair[2];

	ipc_place_daemon(&w->dialer, ROLE_DIALER, 0);
	ipc_place_daemon(&w->egress, ROLE_EGRESS, 0);
	ipc_place_open(&w->place);
	ipc_place_serve(&w->place, &w->dialer, "dialer.egress0");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w->egress.control_fd = pair[0];
	w->launcher = pair[1];
	assert_int_equal(ipc_new(&w->dialer, &w->dialer.ipc), 0);
	assert_int_equal(ipc_new(&w->egress, &w->egress.ipc), 0);
	assert_int_equal(ipc_serve(w->dialer.ipc, &dialer_spec, w, &w->serves), 0);
	assert_int_equal(ipc_connect(w->egress.ipc, &egress_spec, 0, w, &w->link), 0);
	int fd = ipc_place_reach(&w->place);
	say(w->launcher, PROTO_LINKED, &(struct proto_linked){.edge = SPAN_LIT("dialer.egress0")}, fd, 0, SIZE_MAX);
	(void)close(fd);
	run_until(w, &w->opened, 2);
	for (size_t i = 0; i < DIALS; i++)
		w->all[i] = (struct dialled){w, tmpfile()};
	w->fds = open_fds();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	daemon_deinit(&w->egress);
	daemon_deinit(&w->dialer);
	for (size_t i = 0; i < DIALS; i++)
		assert_int_equal(fclose(w->all[i].file), 0);
	ipc_place_close(&w->place);
	(void)close(w->launcher);
	free(w);
	return 0;
}

static int dial(struct world *w, unsigned number, int fd, uint64_t *ret_id)
{
	return ipc_call(ipc_edge_conn(w->link), PROTO_DIAL,
			&(struct proto_dial){.host = SPAN_LIT("a.test"), .port = number}, fd, 60000, on_dialed,
			&w->all[number], ret_id);
}

static void dial_all(struct world *w)
{
	for (unsigned i = 1; i < DIALS; i++)
		assert_int_equal(dial(w, i, -1, NULL), 0);
}

/* Sixteen leave at once to make room for others. */
static void each_comes_with_its_message(void **state)
{
	struct world *w = *state;

	dial_all(w);
	run_until(w, &w->dialed, DIALS - 1 - (DIALS - 1) / 3);
	run_until(w, &w->failed, (DIALS - 1) / 3);
	assert_int_equal(w->asked, DIALS - 1);
	assert_int_equal(w->full + w->lost, 0);
	assert_int_equal(open_fds(), w->fds);
}

static void on_each_small(void *arg, struct ipc_conn *c)
{
	(void)arg;
	assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
}

/* The dialer has answered, into a socket with little room, and the egress has read nothing of it. */
static void dial_all_unread(struct world *w)
{
	ipc_edge_each(w->serves, on_each_small, w);
	dial_all(w);
	uv_run(&w->egress.loop, UV_RUN_NOWAIT);
	for (int i = 0; i < TURNS_MAX && w->asked < DIALS - 1; i++)
		uv_run(&w->dialer.loop, UV_RUN_NOWAIT);
}

/* The egress does not read: what there is no room for is refused and closed, and what waits arrives. */
static void no_more_than_there_is_room_for(void **state)
{
	struct world *w = *state;

	dial_all_unread(w);
	assert_true(w->full > 0 && w->to_egress->blocked);
	assert_int_equal(w->to_egress->n_tx_fds, IPC_FDS_MAX);
	run_until(w, &w->failed, (DIALS - 1) / 3 + w->full);
	run_until(w, &w->dialed, DIALS - 1 - w->failed);
	assert_int_equal(w->drained, 1);
	assert_int_equal(open_fds(), w->fds);
}

/* Those in the queue, and those that lie in the socket. */
static void none_outlives_its_connection(void **state)
{
	struct world *w = *state;

	dial_all_unread(w);
	assert_true(open_fds() > w->fds);
	ipc_drop(ipc_edge_conn(w->link), "test");
	run_until(w, &w->closed, 2);
	assert_int_equal(w->lost, DIALS - 1);
	assert_int_equal(open_fds(), w->fds - 2); /* the connection's */
}

/* With a message that has none; and one with each byte of a message that takes its time. */
static void what_nobody_expects_ends_the_connection(void **state)
{
	const struct proto_dial dial = {.host = SPAN_LIT("a-name-that-is-rather-long.test"), .port = 3};
	uint8_t boot[16] = {0};
	const struct proto_hello hello = {.role = ROLE_EGRESS,
					  .boot = span_of(boot, sizeof(boot)),
					  .build = SPAN_LIT("test"),
					  .schema = proto_schema_hash()};
	struct world *w = *state;

	for (unsigned in_pieces = 0; in_pieces < 2; in_pieces++) {
		int fd = ipc_place_reach(&w->place), file = fileno(w->all[0].file);
		say(fd, PROTO_HELLO, &hello, -1, 0, SIZE_MAX);
		run_until(w, &w->opened, 3 + in_pieces);
		for (size_t i = 0; i < (in_pieces ? IPC_FDS_MAX + 1 : 1); i++)
			say(fd, PROTO_DIAL, &dial, file, i, in_pieces ? 1 : SIZE_MAX);
		run_until(w, &w->closed, 1 + in_pieces);
		(void)close(fd);
		assert_int_equal(open_fds(), w->fds);
	}
	assert_int_equal(w->asked, 1);
}

/* Nobody wants them any more. */
static void what_answers_a_forgotten_call_is_closed(void **state)
{
	struct world *w = *state;
	uint64_t ids[DIALS] = {0};

	for (unsigned i = 1; i < DIALS; i++)
		assert_int_equal(dial(w, i, -1, &ids[i]), 0);
	for (unsigned i = 1; i < DIALS - 1; i++) {
		ipc_forget(ipc_edge_conn(w->link), ids[i]);
		ipc_forget(ipc_edge_conn(w->link), ids[i]);
	}
	run_until(w, &w->failed, 1); /* the last: all others came before it */
	assert_int_equal(w->asked, DIALS - 1);
	assert_int_equal(w->dialed + w->lost, 0);
	assert_int_equal(open_fds(), w->fds);
	assert_non_null(ipc_edge_conn(w->link));
}

static void on_each_answer(void *arg, struct ipc_conn *c)
{
	const uint64_t *id = arg;

	assert_int_equal(ipc_send(c, PROTO_DIAL_FAILED, *id, &(struct proto_dial_failed){.reason = 1}), 0);
}

static void expect_hung_up(struct world *w, uint64_t id)
{
	ipc_edge_each(w->serves, on_each_answer, &id);
	run_until(w, &w->closed, 2);
	assert_int_equal(w->failed, 0);
}

static void an_answer_to_no_call_ends_the_connection(void **state)
{
	expect_hung_up(*state, 1 << 12); /* the first that there will be */
}

static void an_answer_without_a_number_ends_the_connection(void **state)
{
	struct world *w = *state;

	w->mute = true;
	assert_int_equal(dial(w, 1, -1, NULL), 0);
	run_until(w, &w->asked, 1);
	expect_hung_up(w, 16); /* as many as the table has places */
	assert_int_equal(w->lost, 1);
}

static void there_are_only_so_many_calls(void **state)
{
	struct world *w = *state;
	uint64_t first, id;

	w->mute = true;
	assert_int_equal(dial(w, 1, -1, &first), 0);
	for (unsigned i = 1; i < IPC_CALLS_MAX; i++) {
		assert_int_equal(dial(w, 1, -1, &id), 0);
		assert_int_not_equal(id, first);
		uv_run(&w->egress.loop, UV_RUN_NOWAIT);
		uv_run(&w->dialer.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(dial(w, 1, dup(w->launcher), &id), IPC_E_FULL);
	assert_int_equal(open_fds(), w->fds);
	ipc_forget(ipc_edge_conn(w->link), first);
	assert_int_equal(dial(w, 1, -1, &id), 0);
	assert_int_equal(dial(w, 1, -1, &id), IPC_E_FULL);
	ipc_drop(ipc_edge_conn(w->link), "test");
	assert_int_equal(dial(w, 1, dup(w->launcher), &id), IPC_E_DOWN);
	run_until(w, &w->closed, 2);
	assert_int_equal(w->lost, IPC_CALLS_MAX);
	assert_int_equal(open_fds(), w->fds - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_comes_with_its_message, setup, teardown),
		cmocka_unit_test_setup_teardown(no_more_than_there_is_room_for, setup, teardown),
		cmocka_unit_test_setup_teardown(none_outlives_its_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_expects_ends_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(what_answers_a_forgotten_call_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_to_no_call_ends_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_without_a_number_ends_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(there_are_only_so_many_calls, setup, teardown),
	};

	return cmocka_run_group_tests_name("ipc_fd", tests, NULL, NULL);
}
