/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection as bytes: what arrives becomes decoded messages, what is sent leaves in one write per loop turn.
 *
 * Receiving. recvmsg() fills rx; every complete frame in it is decoded in place and handed to ipc_edge_message(). A
 * peer whose frame is too long, malformed, of the wrong direction, or with a descriptor that nobody expects is dropped:
 * a bad message never harms the receiver, and never gets a second try.
 *
 * Sending. ipc_send() packs into tx and puts the connection on the dirty list; the prepare handle of the loop writes
 * all dirty connections just before the loop would sleep. A descriptor must travel with the first byte of its frame:
 * tx_fds remembers stream positions, and a write never crosses one.
 *
 * Closing. A peer that dies has often said something that lies in the socket: it is read before the connection is
 * dropped, also where a write or the socket's error told of the end first. ipc_drop() may be called from anywhere, also
 * from within a handler of the same connection: it only marks and asks libuv to close; the memory goes in the close
 * callback, after on_close.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc_internal.h"
#include "proto/frame.h"

#define IPC_READS_PER_TURN 8

static void conn_poll_update(struct ipc_conn *c);

/* Opens the arenas around work on a connection whose buffers may lie there. Whether it did is for arena_close(): the
 * connection may lose its buffers meanwhile. */
static bool arena_open(struct ipc_conn *c)
{
	if (!c->rx.secret.p && !c->tx.secret.p)
		return false;
	secret_open(c->ipc->arena);
	secret_open(c->ipc->buffers);
	return true;
}

static void arena_close(struct ipc *ipc, bool opened)
{
	if (!opened)
		return;
	secret_close(ipc->buffers);
	secret_close(ipc->arena);
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *h)
{
	struct ipc_conn *c = h->data;

	ipc_call_lost(c);
	ipc_edge_closed(c);
	bool opened = arena_open(c);
	ipc_buf_deinit(&c->rx, c->ipc->buffers);
	ipc_buf_deinit(&c->tx, c->ipc->buffers);
	arena_close(c->ipc, opened);
	for (size_t i = 0; i < c->n_rx_fds; i++)
		(void)close(c->rx_fds[i]);
	for (size_t i = 0; i < c->n_tx_fds; i++)
		(void)close(c->tx_fds[i].fd);
	(void)close(c->fd);
	free(c->calls);
	free(c);
}

void ipc_drop(struct ipc_conn *c, const char *why)
{
	char name[EDGE_NAME_BYTES];

	if (c->state == IPC_CONN_CLOSING)
		return;
	instance_name(c->peer, c->worker, name);
	if (!c->ipc->closing && (why || c->peer != ROLE_CLI)) /* operators come and go */
		log_event(&c->ipc->d->log, why ? LOG_PEER_DROPPED : LOG_PEER_LOST, LOG_STR("peer", name),
			  LOG_STR("why", why ? why : "closed"));
	c->state = IPC_CONN_CLOSING;
	list_unlink(&c->in_dirty);
	(void)uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* ---- receiving ---- */

/* Takes the descriptors of one recvmsg() into the queue; false when there is no room: a peer that floods us. */
static bool conn_take_fds(struct ipc_conn *c, struct msghdr *m)
{
	bool fits = !(m->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->n_rx_fds < IPC_FDS_MAX) {
				c->rx_fds[c->n_rx_fds++] = fd;
			} else {
				(void)close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* The descriptor that belongs to a message of this kind: -1 for none. False: one is missing. */
static bool conn_fd_for(struct ipc_conn *c, const struct proto_desc *desc, const union proto_any *msg, int *ret_fd)
{
	bool wants = desc->flags & PROTO_FLAG_FD;

	/* An optional descriptor replaces an inline body: it is there exactly when the body is not. */
	if (desc->type == PROTO_OPEN)
		wants = msg->open.body_bytes > 0 && msg->open.body.len == 0;
	else if (desc->type == PROTO_SCAN)
		wants = msg->scan.body.len == 0;
	else if (desc->type == PROTO_VAULT_UNSEAL) /* these say so */
		wants = msg->vault_unseal.key_file;
	else if (desc->type == PROTO_VAULT_ROTATE)
		wants = msg->vault_rotate.key_file;
	else if (desc->type == PROTO_VAULT_BACKUP)
		wants = msg->vault_backup.key_file;
	else if (desc->type == PROTO_VAULT_RESTORE)
		wants = msg->vault_restore.key_file;
	*ret_fd = -1;
	if (!wants)
		return true;
	if (c->n_rx_fds == 0)
		return false;
	*ret_fd = c->rx_fds[0];
	memmove(c->rx_fds, c->rx_fds + 1, --c->n_rx_fds * sizeof c->rx_fds[0]);
	return true;
}

static const char *conn_decode_and_handle(struct ipc_conn *c, struct span body)
{
	static const char *const why[] = {[PROTO_E_MALFORMED] = "malformed frame",
					  [PROTO_E_TYPE] = "unknown message",
					  [PROTO_E_DIRECTION] = "message that this peer may not send",
					  [PROTO_E_BOUNDS] = "field out of bounds"};
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;
	int fd;

	int e = proto_unpack(body, c->peer, c->ipc->d->role, &id, &desc, &msg);
	if (e)
		return why[e];
	if (desc->secret)
		c->rx.dirty = true;
	if (!conn_fd_for(c, desc, &msg, &fd))
		return "descriptor missing";
	int r = ipc_edge_message(c, id, desc, &msg, fd);
	if (desc->secret)
		secret_wipe(c->rx.mem + (body.p - c->rx.mem), body.len);
	if (r < 0)
		ipc_fatal(c->ipc, r);
	return r > 0 ? "message out of order" : NULL;
}

static void conn_handle_frames(struct ipc_conn *c)
{
	struct span body;
	size_t used;

	secret_hold(c->ipc->arena);
	while (c->state != IPC_CONN_CLOSING) {
		int e = frame_next(span_of(c->rx.mem + c->rx.begin, c->rx.end - c->rx.begin), &body, &used);
		if (e == FRAME_E_MORE)
			break;
		const char *why = e ? "frame length" : conn_decode_and_handle(c, body);
		if (why)
			ipc_drop(c, why);
		else
			ipc_buf_consume(&c->rx, used);
	}
	secret_release(c->ipc->arena);
	if (c->n_rx_fds > 0 && c->rx.begin == c->rx.end && c->state != IPC_CONN_CLOSING)
		ipc_drop(c, "descriptor that nobody expects");
}

struct span ipc_conn_frame(const struct ipc_conn *c)
{
	struct span body;
	size_t used;
	int e = frame_next(span_of(c->rx.mem + c->rx.begin, c->rx.end - c->rx.begin), &body, &used);

	assert(!e); /* consumed only when it has been handled */
	return body;
}

/* One recvmsg(): false when there is nothing more to read now. */
static bool conn_receive(struct ipc_conn *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;

	if (c->rx.end == c->rx.cap && ipc_buf_grow(&c->rx)) {
		ipc_drop(c, "frame too long for this edge");
		return false;
	}
	size_t room = c->rx.cap - c->rx.end;
	struct iovec iov = {c->rx.mem + c->rx.end, room};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		ipc_drop(c, NULL);
		return false;
	}
	c->rx.end += (size_t)n;
	if (!conn_take_fds(c, &m)) {
		ipc_drop(c, "too many descriptors");
		return false;
	}
	conn_handle_frames(c);
	return (size_t)n == room;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct ipc_conn *c = poll->data;

	bool opened = arena_open(c);
	if (events & UV_WRITABLE)
		ipc_conn_flush(c);
	if (status < 0 ? c->state == IPC_CONN_OPEN : events & (UV_READABLE | UV_DISCONNECT))
		for (int i = 0; i < IPC_READS_PER_TURN && c->state != IPC_CONN_CLOSING && conn_receive(c); i++)
			;
	arena_close(c->ipc, opened);
	if (status < 0 || c->cut)
		ipc_drop(c, NULL);
}

/* ---- sending ---- */

static void conn_poll_update(struct ipc_conn *c)
{
	if (c->state != IPC_CONN_CLOSING)
		(void)uv_poll_start(&c->poll, c->blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
}

/* Writes up to the next descriptor's frame, the descriptor itself going with the first byte. */
static ssize_t conn_write_some(struct ipc_conn *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {c->tx.mem + c->tx.begin, c->tx.end - c->tx.begin};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t next = 0;

	if (c->n_tx_fds > 0 && c->tx_fds[0].pos == c->tx_pos) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &c->tx_fds[0].fd, sizeof(int));
		next = 1;
	}
	if (c->n_tx_fds > next)
		iov.iov_len = MIN(iov.iov_len, (size_t)(c->tx_fds[next].pos - c->tx_pos));
	ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
	if (n > 0 && next == 1) {
		(void)close(c->tx_fds[0].fd);
		memmove(c->tx_fds, c->tx_fds + 1, --c->n_tx_fds * sizeof c->tx_fds[0]);
	}
	return n;
}

void ipc_conn_flush(struct ipc_conn *c)
{
	bool was_blocked = c->blocked;

	list_unlink(&c->in_dirty);
	bool opened = arena_open(c);
	while (c->tx.begin < c->tx.end && c->state != IPC_CONN_CLOSING) {
		ssize_t n = conn_write_some(c);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE && c->state == IPC_CONN_OPEN)
			c->cut = true; /* on_poll() is called at once */
		if (n < 0 && (errno == EAGAIN || c->cut))
			break;
		if (n < 0) {
			ipc_drop(c, NULL);
			break;
		}
		c->tx_pos += (uint64_t)n;
		ipc_buf_consume(&c->tx, (size_t)n);
	}
	arena_close(c->ipc, opened);
	c->blocked = c->tx.begin < c->tx.end;
	if (c->blocked != was_blocked)
		conn_poll_update(c);
	if (was_blocked && !c->blocked && c->state == IPC_CONN_OPEN && c->edge && c->edge->spec->on_drain)
		c->edge->spec->on_drain(c->edge->ctx, c);
}

/* Packs a frame at the end of tx. The arena is open if tx lies in it. */
static int conn_put_frame(struct ipc_conn *c, const struct proto_desc *desc, uint64_t id, const void *msg)
{
	for (;;) {
		size_t room = c->tx.cap - c->tx.end, len;
		int e = PROTO_E_SPACE;

		if (room > FRAME_HEAD_BYTES)
			e = proto_pack(desc, id, msg, c->tx.mem + c->tx.end + FRAME_HEAD_BYTES,
				       MIN(room - FRAME_HEAD_BYTES, (size_t)PROTO_FRAME_BYTES_MAX), &len);
		if (!e) {
			frame_put_head(c->tx.mem + c->tx.end, len);
			c->tx.end += FRAME_HEAD_BYTES + len;
			return 0;
		}
		if (desc->secret)
			secret_wipe(c->tx.mem + c->tx.end, room); /* what did fit */
		if (e != PROTO_E_SPACE || room > PROTO_FRAME_BYTES_MAX + FRAME_HEAD_BYTES)
			return err_origin(-EBADMSG); /* our own message breaks its bounds */
		e = ipc_buf_grow(&c->tx);
		if (e)
			return e;
	}
}

static int conn_put_packed(struct ipc_conn *c, struct span packed)
{
	while (c->tx.cap - c->tx.end < FRAME_HEAD_BYTES + packed.len) {
		int e = ipc_buf_grow(&c->tx);
		if (e)
			return e;
	}
	frame_put_head(c->tx.mem + c->tx.end, packed.len);
	memcpy(c->tx.mem + c->tx.end + FRAME_HEAD_BYTES, packed.p, packed.len);
	c->tx.end += FRAME_HEAD_BYTES + packed.len;
	return 0;
}

/* In the list of those that write before the loop sleeps; `later` only starts a short wait, and ends none. */
static void conn_mark_dirty(struct ipc_conn *c, bool later)
{
	if (c->blocked || (later && !list_empty(&c->in_dirty)))
		return;
	list_unlink(&c->in_dirty);
	list_push(later ? &c->ipc->later : &c->ipc->dirty, &c->in_dirty);
	if (later)
		ipc_arm_later(c->ipc);
}

static int conn_put(struct ipc_conn *c, const struct proto_desc *desc, uint64_t id, const void *msg, int fd)
{
	return fd >= 0 && c->n_tx_fds == IPC_FDS_MAX ? IPC_E_FULL : conn_put_frame(c, desc, id, msg);
}

static int conn_send(struct ipc_conn *c, enum proto_type type, uint64_t id, const void *msg, int fd, bool later)
{
	const struct proto_desc *desc = proto_desc_of(type);
	int r = IPC_E_DOWN;

	if (c && c->state != IPC_CONN_CLOSING) {
		uint64_t pos = c->tx_pos + (c->tx.end - c->tx.begin);
		assert(desc && (desc->from & BIT(c->ipc->d->role)) && (desc->to & BIT(c->peer)));
		bool opened = arena_open(c);
		r = conn_put(c, desc, id, msg, fd);
		if (r == IPC_E_FULL && !c->blocked) { /* a burst in one turn: what waits leaves now, to make room */
			ipc_conn_flush(c);
			r = c->state == IPC_CONN_CLOSING ? IPC_E_DOWN : conn_put(c, desc, id, msg, fd);
		}
		arena_close(c->ipc, opened);
		if (!r) {
			c->tx.dirty |= desc->secret;
			conn_mark_dirty(c, later);
			if (fd >= 0) {
				c->tx_fds[c->n_tx_fds].pos = pos;
				c->tx_fds[c->n_tx_fds++].fd = fd;
				return 0;
			}
		}
	}
	if (fd >= 0)
		(void)close(fd);
	return r;
}

int ipc_send(struct ipc_conn *c, enum proto_type type, uint64_t id, const void *msg)
{
	return conn_send(c, type, id, msg, -1, false);
}

int ipc_send_later(struct ipc_conn *c, enum proto_type type, uint64_t id, const void *msg)
{
	return conn_send(c, type, id, msg, -1, true);
}

int ipc_send_fd(struct ipc_conn *c, enum proto_type type, uint64_t id, const void *msg, int fd)
{
	return conn_send(c, type, id, msg, fd, false);
}

int ipc_send_packed(struct ipc_conn *c, enum proto_type type, struct span packed, bool later)
{
	const struct proto_desc *desc = proto_desc_of(type);

	if (!c || c->state == IPC_CONN_CLOSING)
		return IPC_E_DOWN;
	assert(desc && !desc->secret && (desc->from & BIT(c->ipc->d->role)) && (desc->to & BIT(c->peer)));
	bool opened = arena_open(c);
	int r = conn_put_packed(c, packed);
	arena_close(c->ipc, opened);
	if (!r)
		conn_mark_dirty(c, later);
	return r;
}

size_t ipc_queued(const struct ipc_conn *c)
{
	return c->tx.end - c->tx.begin;
}

/* ---- making ---- */

/* Do messages from one role to the other ever carry secrets? */
static bool direction_is_secret(enum role from, enum role to)
{
	size_t n;
	const struct proto_desc *const *descs = proto_descs(&n);

	for (size_t i = 0; i < n; i++)
		if (descs[i]->secret && (descs[i]->from & BIT(from)) && (descs[i]->to & BIT(to)))
			return true;
	return false;
}

static int conn_buffers(struct ipc_conn *c)
{
	enum role me = c->ipc->d->role;
	const struct edge_row *row = !c->edge ? NULL : c->edge->serves ? edge_row(me, c->peer) : edge_row(c->peer, me);
	bool secret = row && row->secrecy == EDGE_SECRET;
	size_t tx_max = c->edge && c->edge->spec->tx_bytes_max ? c->edge->spec->tx_bytes_max : IPC_TX_BYTES_DEFAULT;

	assert(!secret || c->ipc->buffers);
	int r = ipc_buf_init(&c->rx, secret && direction_is_secret(c->peer, me) ? c->ipc->buffers : NULL, IPC_RX_BYTES,
			     IPC_RX_BYTES);
	if (!r)
		r = ipc_buf_init(&c->tx, secret && direction_is_secret(me, c->peer) ? c->ipc->buffers : NULL, 16384,
				 tx_max);
	return r;
}

int ipc_conn_new(struct ipc *ipc, struct ipc_edge *edge, enum role peer, unsigned worker, int fd,
		 struct ipc_conn **ret_conn)
{
	struct ipc_conn *c = calloc(1, sizeof *c);
	int r = c ? 0 : -ENOMEM;

	if (!r) {
		*c = (struct ipc_conn){.ipc = ipc, .edge = edge, .peer = peer, .worker = worker, .fd = fd};
		list_init(&c->in_edge);
		list_init(&c->in_dirty);
		r = conn_buffers(c);
	}
	if (!r)
		r = uv_poll_init(&ipc->d->loop, &c->poll, fd);
	if (r) {
		if (c) {
			ipc_buf_deinit(&c->rx, ipc->buffers);
			ipc_buf_deinit(&c->tx, ipc->buffers);
		}
		free(c);
		(void)close(fd);
		return err_origin(r);
	}
	c->poll.data = c;
	conn_poll_update(c);
	*ret_conn = c;
	return 0;
}
