/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switchboard. A daemon may ask, on the socketpair that it was born with, to be connected to a server of edges.def;
 * it gets a connected socket that carries its own uid as peer credentials, or an errno. It may ask for nothing else,
 * and for edges of no other instance. Whoever floods us, sends what is no message, or does not read its answers, is
 * killed: it is either captured or broken, and restarting mends the latter.
 */
#include "cli/launch_files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/rundir.h"
#include "proto/frame.h"

#define CONTROL_RX_BYTES        512 /* LINK and READY are shorter than 100 */
#define CONTROL_TX_BYTES        256
#define CONTROL_TURN_FRAMES     32  /* then other children have their turn */
#define CONTROL_LINKS_BURST     256 /* auditd's peers at 64 workers all start at once, each with its own budget */
#define CONTROL_LINKS_PERIOD_MS 20

struct launch_control {
	struct launch_child *child; /* NULL: being closed */
	uv_poll_t poll;
	int fd;
	uint8_t rx[CONTROL_RX_BYTES];
	size_t rx_len;
	uint64_t links, links_at_ms; /* a bucket of permissions to connect */
};

/* The last thing done for this child in this turn. */
static void control_kill(struct launch_child *c, const char *why)
{
	log_event(&c->l->log, LOG_LAUNCH_KILL, LOG_STR("instance", c->name), LOG_STR("why", why));
	launch_control_close(c);
	if (c->pid)
		kill(c->pid, SIGKILL);
}

/* `fd` -1, or sent along and closed. */
static int control_send(struct launch_child *c, enum proto_type type, uint64_t id, const void *msg, int fd)
{
	uint8_t bytes[CONTROL_TX_BYTES];
	size_t len = 0;
	int r = proto_pack(proto_desc_of(type), id, msg, bytes + FRAME_HEAD_BYTES, sizeof(bytes) - FRAME_HEAD_BYTES,
			   &len);
	struct iovec iov = {bytes, len + FRAME_HEAD_BYTES};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	frame_put_head(bytes, len);
	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	if (!r && sendmsg(c->control->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)iov.iov_len && errno != EPIPE &&
	    errno != ECONNRESET) /* it is going by itself; SIGCHLD tells how */
		r = -EPROTO;
	if (fd >= 0)
		close(fd);
	return r;
}

/* connect() as the child's own uid and gid: the socket's mode decides, and the server sees who it is. */
static int control_connect(struct launch_child *c, const char *edge, int *ret_fd)
{
	const struct launcher *l = c->l;
	int r;

	if (!l->root)
		return rundir_connect(l->run_fd, edge, ret_fd);
	if (setegid(launch_gid(l, c->role)) || seteuid(launch_uid(l, c->role)))
		return -EPERM;
	r = rundir_connect(l->run_fd, edge, ret_fd);
	if (seteuid(0) || setegid(0))
		_exit(CLI_FAILED); /* half an identity is worse than none; the children die with us */
	return r;
}

static bool control_may_link(struct launch_control *control, uint64_t now_ms)
{
	uint64_t earned = (now_ms - control->links_at_ms) / CONTROL_LINKS_PERIOD_MS;

	control->links = MIN(control->links + earned, (uint64_t)CONTROL_LINKS_BURST);
	control->links_at_ms += earned * CONTROL_LINKS_PERIOD_MS;
	if (control->links == 0)
		return false;
	control->links--;
	return true;
}

static int control_try(struct launch_child *c, const char *edge, int *ret_fd)
{
	enum role server, client;
	unsigned server_worker, client_worker;

	if (!control_may_link(c->control, uv_now(&c->l->loop)))
		return -EAGAIN;
	if (!edge_parse(edge, &server, &server_worker, &client, &client_worker) || client != c->role ||
	    client_worker != c->worker) {
		log_event(&c->l->log, LOG_LAUNCH_LINK_DENIED, LOG_STR("instance", c->name), LOG_STR("edge", edge));
		return -EACCES;
	}
	return control_connect(c, edge, ret_fd);
}

static int control_link(struct launch_child *c, uint64_t id, struct span name)
{
	char edge[EDGE_NAME_BYTES + 1];
	int fd = -1, r;

	snprintf(edge, sizeof(edge), "%.*s", SPAN_ARG(name));
	r = control_try(c, edge, &fd);
	if (r)
		return control_send(c, PROTO_LINK_FAILED, id,
				    &(struct proto_link_failed){.edge = name, .error = (uint64_t)-r}, -1);
	return control_send(c, PROTO_LINKED, id, &(struct proto_linked){.edge = name}, fd);
}

static int control_message(struct launch_child *c, struct span body)
{
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;

	if (proto_unpack(body, c->role, ROLE_LAUNCHER, &id, &desc, &msg))
		return -EPROTO;
	if (desc->type == PROTO_LINK)
		return control_link(c, id, msg.link.edge);
	if (desc->type != PROTO_READY)
		return -EPROTO;
	if (c->role == ROLE_KEYVAULT)
		launch_sources_heard(c->l, msg.ready.ready);
	launch_heard(c);
	return 0;
}

static int control_frames(struct launch_child *c)
{
	struct launch_control *control = c->control;

	for (int i = 0; i < CONTROL_TURN_FRAMES; i++) {
		struct span body;
		size_t used;
		int r = frame_next(span_of(control->rx, control->rx_len), &body, &used);

		if (r == FRAME_E_MORE)
			return control->rx_len == sizeof(control->rx) ? -EPROTO : 0;
		if (r || control_message(c, body))
			return -EPROTO;
		control->rx_len -= used;
		memmove(control->rx, control->rx + used, control->rx_len);
	}
	return 0;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct launch_control *control = poll->data;
	struct launch_child *c = control->child;
	ssize_t n;

	(void)events;
	if (status || !c)
		return;
	n = recv(control->fd, control->rx + control->rx_len, sizeof(control->rx) - control->rx_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		launch_control_close(c); /* it is dying; SIGCHLD tells how */
		return;
	}
	control->rx_len += (size_t)n;
	if (control_frames(c))
		control_kill(c, "broke the control protocol");
}

static void on_control_closed(uv_handle_t *handle)
{
	struct launch_control *control = handle->data;

	close(control->fd);
	free(control);
}

void launch_control_close(struct launch_child *c)
{
	struct launch_control *control = TAKE(c->control);

	if (!control)
		return;
	control->child = NULL;
	uv_close((uv_handle_t *)&control->poll, on_control_closed);
}

int launch_control_new(struct launch_child *c, int fd)
{
	struct launch_control *control = calloc(1, sizeof(*control));
	int r = control ? uv_poll_init(&c->l->loop, &control->poll, fd) : -ENOMEM;

	if (r) {
		close(fd);
		free(control);
		return r;
	}
	control->child = c;
	control->fd = fd;
	control->poll.data = control;
	control->links = CONTROL_LINKS_BURST;
	control->links_at_ms = uv_now(&c->l->loop);
	c->control = control;
	return uv_poll_start(&control->poll, UV_READABLE, on_control);
}
