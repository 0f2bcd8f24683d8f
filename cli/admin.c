/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, one call at a time. Each wait is a poll() with what is left of the call's deadline. Everything that a
 * frame passes through lies in one locked mapping: the bytes received, the bytes to send, and the message read from
 * them.
 */
#include "cli/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/launch.h"
#include "cli/locked.h"
#include "cli/rundir.h"
#include "common/edges.h"
#include "common/version.h"
#include "proto/frame.h"

#define ADMIN_FRAME_BYTES (FRAME_HEAD_BYTES + PROTO_FRAME_BYTES_MAX)
#define ADMIN_HELLO_MS    2000
#define ADMIN_LOG_MS      4000
#define ADMIN_AGAIN_MS    100

struct admin_memory {
	uint8_t rx[ADMIN_FRAME_BYTES], tx[ADMIN_FRAME_BYTES];
	union proto_any msg;
};

struct admin {
	struct cli *cli;
	enum role role;
	char name[EDGE_NAME_BYTES]; /* of the daemon */
	int fd;
	uint64_t next_id;
	size_t rx_len, rx_used; /* received; taken by the message last returned */
	struct locked locked;
	struct admin_memory *m;
	const char *why; /* of the last failure */
};

static uint64_t admin_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int admin_why(struct admin *a, const char *why)
{
	a->why = why;
	return CLI_FAILED;
}

/* Waits for `events` until the deadline. */
static int admin_wait(struct admin *a, short events, uint64_t until_ms)
{
	struct pollfd pfd = {.fd = a->fd, .events = events};

	for (;;) {
		uint64_t now_ms = admin_now_ms();
		int n = now_ms >= until_ms ? 0 : poll(&pfd, 1, (int)(until_ms - now_ms));

		if (n > 0)
			return CLI_DONE;
		if (n == 0)
			return admin_why(a, "did not answer in time");
		if (errno != EINTR)
			return admin_why(a, strerror(errno));
	}
}

/* `fd` goes with the first byte. */
static ssize_t admin_send_some(struct admin *a, const uint8_t *p, size_t len, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)p, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	return sendmsg(a->fd, &m, MSG_NOSIGNAL);
}

static int admin_send(struct admin *a, enum proto_type type, uint64_t id, const void *msg, int fd, uint64_t until_ms)
{
	size_t len = 0, sent = 0;

	if (proto_pack(proto_desc_of(type), id, msg, a->m->tx + FRAME_HEAD_BYTES, PROTO_FRAME_BYTES_MAX, &len))
		return admin_why(a, "would not take this: an argument is too long or out of bounds");
	frame_put_head(a->m->tx, len);
	len += FRAME_HEAD_BYTES;
	while (sent < len) {
		ssize_t n = admin_send_some(a, a->m->tx + sent, len - sent, sent ? -1 : fd);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return admin_why(a, "closed the connection");
		if (n < 0 && admin_wait(a, POLLOUT, until_ms))
			return CLI_FAILED;
		sent += n > 0 ? (size_t)n : 0;
	}
	explicit_bzero(a->m->tx, len);
	return CLI_DONE;
}

/* Forgets the frame returned before, and brings in the next. */
static int admin_frame(struct admin *a, uint64_t until_ms, struct span *ret_body)
{
	explicit_bzero(a->m->rx, a->rx_used);
	memmove(a->m->rx, a->m->rx + a->rx_used, a->rx_len - a->rx_used);
	a->rx_len -= a->rx_used;
	a->rx_used = 0;
	if (admin_now_ms() >= until_ms) /* also of one who speaks without end, but does not answer */
		return admin_why(a, "did not answer in time");
	for (;;) {
		int r = frame_next(span_of(a->m->rx, a->rx_len), ret_body, &a->rx_used);

		if (r == 0)
			return CLI_DONE;
		if (r == FRAME_E_LENGTH)
			return admin_why(a, "does not speak our protocol");
		ssize_t n = recv(a->fd, a->m->rx + a->rx_len, ADMIN_FRAME_BYTES - a->rx_len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return admin_why(a, "closed the connection");
		if (n < 0 && admin_wait(a, POLLIN, until_ms))
			return CLI_FAILED;
		a->rx_len += n > 0 ? (size_t)n : 0;
	}
}

static int admin_message(struct admin *a, uint64_t until_ms, uint64_t *ret_id, const struct proto_desc **ret_desc)
{
	struct span body;
	int r = admin_frame(a, until_ms, &body);

	if (r)
		return r;
	r = proto_unpack(body, a->role, ROLE_CLI, ret_id, ret_desc, &a->m->msg);
	return r ? admin_why(a, "is of another release than this command") : CLI_DONE;
}

static int admin_hello(struct admin *a)
{
	uint64_t until_ms = admin_now_ms() + ADMIN_HELLO_MS, id;
	const struct proto_desc *desc;
	uint8_t boot[16];
	struct proto_hello hello = {.role = ROLE_CLI,
				    .boot = span_of(boot, sizeof(boot)),
				    .build = span_str(BULKHEAD_VERSION),
				    .schema = proto_schema_hash()};

	if (getrandom(boot, sizeof(boot), 0) != sizeof(boot))
		return admin_why(a, "needs random bytes, and there are none");
	if (admin_send(a, PROTO_HELLO, 0, &hello, -1, until_ms) || admin_message(a, until_ms, &id, &desc))
		return CLI_FAILED;
	if (desc->type != PROTO_HELLO || a->m->msg.hello.role != a->role ||
	    a->m->msg.hello.schema != proto_schema_hash())
		return admin_why(a, "is of another release than this command");
	return CLI_DONE;
}

static const char admin_absent[] = "does not run: start it with `bulkhead up`";

/* The run folder and the socket in it. */
static int admin_connect(struct admin *a, unsigned worker)
{
	char socket_name[EDGE_NAME_BYTES];
	int run_fd = open(cli_value(a->cli, "bulkhead.run_dir"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (run_fd < 0)
		return admin_why(a, errno == EACCES ? "is not yours to ask: run this as the user who started bulkhead"
						    : admin_absent);
	edge_name(a->role, worker, ROLE_CLI, 0, socket_name);
	r = rundir_connect(run_fd, socket_name, &a->fd);
	close(run_fd);
	if (r == -EACCES || r == -EPERM)
		return admin_why(a, "is not yours to ask: run this as the user who started bulkhead");
	if (r == -EAGAIN)
		return admin_why(a, "has too many operators waiting; try again");
	return r ? admin_why(a, admin_absent) : CLI_DONE;
}

int admin_try(struct cli *cli, enum role role, unsigned worker, struct admin **ret_admin, const char **ret_why)
{
	struct admin *a = calloc(1, sizeof(*a));
	int r;

	*ret_why = "out of memory";
	if (!a)
		return CLI_FAILED;
	*a = (struct admin){.cli = cli, .role = role, .fd = -1, .next_id = 1, .why = "out of lockable memory"};
	instance_name(role, worker, a->name);
	r = locked_new(cli, sizeof(struct admin_memory), &a->locked);
	a->m = (struct admin_memory *)(void *)a->locked.p;
	if (!r)
		r = admin_connect(a, worker);
	if (!r)
		r = admin_hello(a);
	if (r) {
		*ret_why = a->why;
		admin_close(a);
		return r;
	}
	*ret_admin = a;
	return CLI_DONE;
}

int admin_open(struct cli *cli, enum role role, unsigned worker, struct admin **ret_admin)
{
	const char *why;
	char name[EDGE_NAME_BYTES];
	int r = cli_config(cli);

	if (r)
		return r;
	r = admin_try(cli, role, worker, ret_admin, &why);
	if (!r)
		return CLI_DONE;
	instance_name(role, worker, name);
	if (why == admin_absent) /* it may run elsewhere, with another configuration or other overrides */
		return cli_fail(cli,
				"%s does not run in %s: start it with `bulkhead up`, or name its configuration (-c)",
				name, cli_value(cli, "bulkhead.run_dir"));
	return cli_fail(cli, "%s %s", name, why);
}

struct admin *admin_close(struct admin *a)
{
	if (!a)
		return NULL;
	if (a->fd >= 0)
		close(a->fd);
	locked_wipe(&a->locked);
	free(a);
	return NULL;
}

int admin_call(struct admin *a, enum proto_type type, const void *msg, enum proto_type expect, uint64_t deadline_ms,
	       const union proto_any **ret_msg)
{
	return admin_call_fd(a, type, msg, -1, expect, deadline_ms, ret_msg);
}

/* The answer to one message, which may be REFUSED. */
static int admin_ask(struct admin *a, enum proto_type type, const void *msg, int fd, uint64_t until_ms,
		     const struct proto_desc **ret_desc)
{
	uint64_t id = a->next_id++, got;

	if (admin_send(a, type, id, msg, fd, until_ms))
		return cli_fail(a->cli, "%s %s", a->name, a->why);
	do {
		if (admin_message(a, until_ms, &got, ret_desc))
			return cli_fail(a->cli, "%s %s", a->name, a->why);
	} while (got != id);
	return CLI_DONE;
}

/* Of the field of this kind whose value is `at`: what its bounds are about. */
static uint64_t admin_extent(enum proto_kind kind, const void *at)
{
	switch (kind) {
	case PROTO_KIND_U64:
		return *(const uint64_t *)at;
	case PROTO_KIND_LIST:
		return ((const struct proto_list *)at)->count;
	default:
		return ((const struct span *)at)->len;
	}
}

/* Says which argument cannot be sent. A struct's members stand in the order of its fields. CLI_DONE or CLI_FAILED. */
static int admin_check(const struct admin *a, const struct proto_desc *desc, const void *msg)
{
	static const struct {
		size_t bytes;
		const char *must, *of;
	} kinds[] = {
		[PROTO_KIND_U64] = {sizeof(uint64_t), "be", ""},
		[PROTO_KIND_STR] = {sizeof(struct span), "have", " bytes"},
		[PROTO_KIND_BIN] = {sizeof(struct span), "have", " bytes"},
		[PROTO_KIND_LIST] = {sizeof(struct proto_list), "have", " items"},
	};
	const uint8_t *at = msg;

	for (size_t i = 0; i < desc->n_fields; i++) {
		const struct proto_field *f = &desc->fields[i];
		uint64_t n = admin_extent(f->kind, at);

		if (n < f->min || n > f->max)
			return cli_fail(a->cli, "%s must %s %llu to %llu%s", f->name, kinds[f->kind].must,
					(unsigned long long)f->min, (unsigned long long)f->max, kinds[f->kind].of);
		at += kinds[f->kind].bytes;
	}
	return CLI_DONE;
}

static bool admin_log_is_away(const struct admin *a, const struct proto_desc *answer)
{
	return answer->type == PROTO_REFUSED && span_eq_str(a->m->msg.refused.reason, "audit_unavailable");
}

/* What must be recorded first is refused at once by a daemon that has not met the log yet, as in the first moments of
 * both: so it is asked again for a while. A daemon that has waited for the log itself is not. */
int admin_call_fd(struct admin *a, enum proto_type type, const void *msg, int fd, enum proto_type expect,
		  uint64_t deadline_ms, const union proto_any **ret_msg)
{
	uint64_t began_ms = admin_now_ms();
	const struct proto_desc *desc;

	if (admin_check(a, proto_desc_of(type), msg))
		return CLI_FAILED;
	while (true) {
		int r = admin_ask(a, type, msg, fd, began_ms + deadline_ms, &desc);
		if (r)
			return r;
		if (!admin_log_is_away(a, desc) ||
		    admin_now_ms() - began_ms >= MIN(deadline_ms, (uint64_t)ADMIN_LOG_MS))
			break;
		(void)poll(NULL, 0, ADMIN_AGAIN_MS);
	}
	if (desc->type == PROTO_REFUSED)
		return cli_fail(a->cli, "%s: %.*s (%.*s)", a->name, SPAN_ARG(a->m->msg.refused.text),
				SPAN_ARG(a->m->msg.refused.reason));
	if (desc->type != (uint32_t)expect)
		return cli_fail(a->cli, "%s gave an answer that does not belong to the question", a->name);
	*ret_msg = &a->m->msg;
	return CLI_DONE;
}

static void admin_visit_one(struct cli *cli, enum role role, unsigned worker, admin_visit *visit, void *ctx)
{
	char name[EDGE_NAME_BYTES];
	struct admin *a = NULL;
	const char *why;

	instance_name(role, worker, name);
	int r = admin_try(cli, role, worker, &a, &why);
	visit(ctx, name, a, r ? why : NULL);
	admin_close(a);
}

int admin_each(struct cli *cli, admin_visit *visit, void *ctx)
{
	int r = cli_config(cli);

	for (unsigned role = 0; !r && role < N_ROLES; role++) {
		uint64_t workers = role_has_workers(role) ? cli_value_u64(cli, "router.workers") : 1;

		for (unsigned w = 0; launch_wanted(cli, role) && w < workers; w++)
			admin_visit_one(cli, role, w, visit, ctx);
	}
	return r;
}
