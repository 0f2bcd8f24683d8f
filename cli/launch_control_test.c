/* SPDX-License-Identifier: Apache-2.0 */
/* The switchboard, played against by a child that is no process: what it connects, what it refuses, whom it hangs up
 * on. */
#include "cli/launch_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/rundir.h"
#include "proto/frame.h"

struct world {
	struct launcher l;
	struct launch_child child;
	char folder[32];
	int served; /* authd.router1, with us as authd */
	int fd;     /* the child's end */
	unsigned heard;
};

/* up.c and launch_source.c are not linked: what the switchboard calls there. */
void launch_sources_heard(struct launcher *l, bool vault_open)
{
	l->vault_open = vault_open;
}

void launch_heard(struct launch_child *c)
{
	container_of(c, struct world, child)->heard++;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int pair[2];

	strcpy(w->folder, "/tmp/control-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->l = (struct launcher){.run_fd = open(w->folder, O_RDONLY | O_DIRECTORY), .log = {.daemon = "test"}};
	w->child = (struct launch_child){.l = &w->l, .role = ROLE_ROUTER, .worker = 1, .name = "router1"};
	assert_int_equal(uv_loop_init(&w->l.loop), 0);
	assert_int_equal(rundir_listen(w->l.run_fd, "authd.router1", geteuid(), getegid(), &w->served), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(launch_control_new(&w->child, pair[0]), 0);
	w->fd = pair[1];
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	launch_control_close(&w->child);
	uv_run(&w->l.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->l.loop), 0);
	rundir_remove(w->l.run_fd, "authd.router1");
	close(w->l.run_fd);
	close(w->served);
	close(w->fd);
	assert_int_equal(rmdir(w->folder), 0);
	free(w);
	return 0;
}

static void say(struct world *w, enum proto_type type, const void *msg)
{
	uint8_t bytes[256];
	size_t len;

	assert_int_equal(proto_pack(proto_desc_of(type), 7, msg, bytes + FRAME_HEAD_BYTES, 200, &len), 0);
	frame_put_head(bytes, len);
	assert_int_equal(send(w->fd, bytes, len + FRAME_HEAD_BYTES, MSG_NOSIGNAL), len + FRAME_HEAD_BYTES);
	uv_run(&w->l.loop, UV_RUN_NOWAIT);
}

/* The answer, read like a daemon would; -1 when there is none. *ret_fd: what came along. */
static int hear(struct world *w, union proto_any *ret_msg, int *ret_fd)
{
	static uint8_t bytes[256];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(w->fd, &m, 0);
	const struct proto_desc *desc;
	struct span body;
	uint64_t id;
	size_t used;

	*ret_fd = -1;
	if (n <= 0)
		return -1;
	assert_int_equal(frame_next(span_of(bytes, (size_t)n), &body, &used), 0);
	assert_int_equal(used, n);
	assert_int_equal(proto_unpack(body, ROLE_LAUNCHER, ROLE_ROUTER, &id, &desc, ret_msg), 0);
	assert_int_equal(id, 7);
	if (CMSG_FIRSTHDR(&m))
		memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return (int)desc->type;
}

static void link_to(struct world *w, const char *edge)
{
	say(w, PROTO_LINK, &(struct proto_link){.edge = span_str(edge)});
}

static void test_connects_its_own_edges(void **state)
{
	struct world *w = *state;
	union proto_any msg;
	int fd, accepted;

	link_to(w, "authd.router1");
	assert_int_equal(hear(w, &msg, &fd), PROTO_LINKED);
	assert_true(span_eq_str(msg.linked.edge, "authd.router1"));
	accepted = accept(w->served, NULL, NULL);
	assert_true(fd >= 0 && accepted >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(accepted, (char[1]){0}, 1), 1);
	close(fd);
	close(accepted);
}

static void test_connects_no_other(void **state)
{
	static const char *const others[] = {"authd.router0", "egress0.router1",  "keyvault.egress1",
					     "authd.admin",   "keyvault.router1", "router1.admin",
					     "../x",          "authd.router1x",   "x"};
	struct world *w = *state;
	union proto_any msg;
	int fd;

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		link_to(w, others[i]);
		assert_int_equal(hear(w, &msg, &fd), PROTO_LINK_FAILED);
		assert_int_equal(msg.link_failed.error, EACCES);
		assert_int_equal(fd, -1);
	}
}

static void test_a_server_that_is_not_there(void **state)
{
	struct world *w = *state;
	union proto_any msg;
	int fd;

	link_to(w, "egress1.router1");
	assert_int_equal(hear(w, &msg, &fd), PROTO_LINK_FAILED);
	assert_int_equal(msg.link_failed.error, ENOENT);
}

static void test_many_questions_are_put_off(void **state)
{
	struct world *w = *state;
	uint64_t began_ms = uv_now(&w->l.loop);
	unsigned connected = 0, put_off = 0;
	union proto_any msg;
	int fd, accepted;

	for (int i = 0; i < 1000; i++) {
		link_to(w, "authd.router1");
		if (hear(w, &msg, &fd) == PROTO_LINKED)
			connected++;
		else if (msg.link_failed.error == EAGAIN)
			put_off++;
		if (fd >= 0)
			close(fd);
		while ((accepted = accept(w->served, NULL, NULL)) >= 0)
			close(accepted);
	}
	assert_int_equal(connected + put_off, 1000);
	assert_true(connected >= 256 && connected <= 256 + (uv_now(&w->l.loop) - began_ms) / 20);
}

static void test_ready_is_heard(void **state)
{
	struct world *w = *state;

	say(w, PROTO_READY, &(struct proto_ready){.ready = 1});
	say(w, PROTO_READY, &(struct proto_ready){.ready = 0});
	assert_int_equal(w->heard, 2);
}

static void hung_up(struct world *w, const void *bytes, size_t len)
{
	assert_int_equal(send(w->fd, bytes, len, MSG_NOSIGNAL), len);
	for (int i = 0; i < 4; i++)
		uv_run(&w->l.loop, UV_RUN_NOWAIT);
	assert_null(w->child.control);
	errno = 0;
	assert_true(recv(w->fd, (char[8]){0}, 8, 0) == 0 || errno == ECONNRESET);
}

static void test_noise(void **state)
{
	hung_up(*state, "\0\0\0\5noise", 9);
}

static void test_a_frame_that_never_ends(void **state)
{
	char bytes[512] = {0, 0, 4, 0};

	hung_up(*state, bytes, sizeof(bytes));
}

static void test_a_message_of_another_role(void **state)
{
	/* LINKED is the launcher's to say */
	static const uint8_t linked[] = {0, 0, 0, 5, 0x93, 10, 1, 0xa1, 'x'};

	hung_up(*state, linked, sizeof(linked));
}

static void test_one_who_does_not_read(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 100000 && w->child.control; i++) {
		uint8_t frame[] = {0, 0, 0, 5, 0x93, 9, 1, 0xa1, 'x'};

		(void)!send(w->fd, frame, sizeof(frame), MSG_NOSIGNAL);
		uv_run(&w->l.loop, UV_RUN_NOWAIT);
	}
	assert_null(w->child.control);
}

/* It asked, and did not wait for the answer: it ends as it wishes to, and is not killed meanwhile. */
static void test_one_who_is_leaving(void **state)
{
	static const uint8_t link[] = {0, 0, 0, 5, 0x93, 9, 1, 0xa1, 'x'};
	struct world *w = *state;
	pid_t child = fork();

	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	w->child.pid = child;
	assert_int_equal(send(w->fd, link, sizeof(link), MSG_NOSIGNAL), sizeof(link));
	assert_int_equal(shutdown(w->fd, SHUT_RDWR), 0);
	for (int i = 0; i < 4; i++)
		uv_run(&w->l.loop, UV_RUN_NOWAIT);
	assert_null(w->child.control);
	assert_int_equal(kill(child, SIGUSR1), 0); /* of two, the first one is what it dies of */
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WTERMSIG(status), SIGUSR1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_connects_its_own_edges),
		T(test_connects_no_other),
		T(test_a_server_that_is_not_there),
		T(test_many_questions_are_put_off),
		T(test_ready_is_heard),
		T(test_noise),
		T(test_a_frame_that_never_ends),
		T(test_a_message_of_another_role),
		T(test_one_who_does_not_read),
		T(test_one_who_is_leaving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
