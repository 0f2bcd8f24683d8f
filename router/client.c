/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: the poll handle asks for readability all the time, so that a request costs no epoll_ctl. Only when bytes
 * come that nobody wants yet (a client that pipelines) is it told to stop, until they are wanted: the kernel keeps
 * them. All connections share one buffer to read into; a request copies what it cannot use at once.
 *
 * Writing: whoever has something puts the connection on the dirty list. The check handle, which runs after each round
 * of polling, writes everything that has gathered with one writev() each. So bytes move on before they are accounted
 * for: the frames that follow from it leave later, before the loop sleeps, and what timers gather for clients leaves
 * then too, just before them (worker.c).
 *
 * Leaving: a client that closes, or only closes its sending side, while it is owed an answer counts as gone.
 */
#include "router/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "router/clock.h"
#include "router/request.h"

#define DOOR_READ_BYTES       65536
#define DOOR_ACCEPTS_PER_TURN 64
#define DOOR_BACKLOG          4096 /* as the launcher has it: so many may have connected */
#define DOOR_SPARE            64   /* connections beyond the limit that are told so; more are just closed */

struct door {
	uv_loop_t *loop;
	int fd;
	uv_poll_t poll;
	uv_check_t check;
	bool shut, paused; /* paused: there was no descriptor for the next connection */
	struct requests *all;
	struct list clients, dirty;
	size_t n, n_max;
	uint8_t read[DOOR_READ_BYTES];
};

struct client {
	struct request request;
	struct door *door;
	struct list in_door, in_dirty;
	uv_poll_t poll;
	int fd;
	int watched; /* events that the poll handle asks for */
	bool wanted, blocked, closing;
	char address[PROXIES_ADDRESS_BYTES];
};

static void on_client(uv_poll_t *poll, int status, int events);
static void on_door(uv_poll_t *poll, int status, int events);

static void client_watch(struct client *c, int events)
{
	if (c->closing || c->watched == events)
		return;
	c->watched = events;
	(void)uv_poll_start(&c->poll, events, on_client);
}

static int client_events(const struct client *c, int readable)
{
	return readable | UV_DISCONNECT | (c->blocked ? UV_WRITABLE : 0);
}

static void client_tell(struct client *c, enum event_kind kind)
{
	clock_tell(c->door->all);
	request_event(&c->request, &(struct event){.kind = kind});
}

const char *client_address(const struct client *c)
{
	return c->address;
}

void client_read(struct client *c, bool wanted)
{
	c->wanted = wanted;
	if (wanted)
		client_watch(c, client_events(c, UV_READABLE));
}

bool client_has_more(const struct client *c)
{
	return !(c->watched & UV_READABLE);
}

void client_flush(struct client *c)
{
	if (!c->closing && !c->blocked && list_empty(&c->in_dirty))
		list_push(&c->door->dirty, &c->in_dirty);
}

void client_shutdown(struct client *c)
{
	(void)shutdown(c->fd, SHUT_WR);
}

static void on_client_closed(uv_handle_t *h)
{
	struct client *c = h->data;
	struct door *d = c->door;

	request_deinit(&c->request);
	list_unlink(&c->in_door);
	d->n--;
	free(c);
	if (d->paused && !d->shut)
		d->paused = uv_poll_start(&d->poll, UV_READABLE, on_door) != 0;
}

void client_close(struct client *c, bool reset)
{
	const struct linger linger = {.l_onoff = 1};

	assert(!c->closing);
	c->closing = true;
	list_unlink(&c->in_dirty);
	uv_close((uv_handle_t *)&c->poll, on_client_closed);
	if (reset)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	(void)close(c->fd);
}

static void client_receive(struct client *c)
{
	ssize_t n = read(c->fd, c->door->read, sizeof(c->door->read));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_tell(c, EV_GONE);
		return;
	}
	clock_tell(c->door->all);
	request_input(&c->request, span_of(c->door->read, (size_t)n));
}

/* One writev(); true when it took something. */
static bool client_write(struct client *c, size_t *ret_left)
{
	struct iovec iov[REPLY_IOV_MAX];
	int n = reply_iov(&c->request.reply, iov);

	*ret_left = 0;
	if (n == 0)
		return false;
	ssize_t sent = n < 0 ? -1 : writev(c->fd, iov, n);
	size_t offered = c->request.reply.offered;
	if (sent < 0 && n > 0 && (errno == EAGAIN || errno == EINTR)) {
		*ret_left = offered;
		return false;
	}
	if (sent < 0 || reply_sent(&c->request.reply, (size_t)sent)) {
		client_tell(c, EV_GONE);
		return false;
	}
	*ret_left = offered - (size_t)sent;
	return true;
}

static void client_send(struct client *c)
{
	bool some = false;
	size_t left;

	do /* what a short write left over goes first and alone; then comes what has gathered meanwhile */
		some |= client_write(c, &left);
	while (!c->closing && left == 0 && reply_pending(&c->request.reply) > 0);
	if (c->closing)
		return;
	c->blocked = left > 0;
	client_watch(c, client_events(c, c->watched & UV_READABLE));
	if (some)
		client_tell(c, EV_SENT);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
	struct client *c = poll->data;

	if (status < 0) {
		client_tell(c, EV_GONE);
		return;
	}
	if (events & UV_WRITABLE) {
		c->blocked = false;
		client_flush(c);
	}
	if (c->wanted && events & (UV_READABLE | UV_DISCONNECT))
		client_receive(c);
	else if (events & UV_DISCONNECT)
		client_tell(c, EV_GONE);
	else if (events & UV_READABLE)
		client_watch(c, client_events(c, 0));
}

void door_flush(struct door *d)
{
	while (!list_empty(&d->dirty)) {
		struct client *c = container_of(list_first(&d->dirty), struct client, in_dirty);
		list_unlink(&c->in_dirty);
		client_send(c);
	}
}

static void on_check(uv_check_t *check)
{
	door_flush(check->data);
}

/* ---- the listener ---- */

static void address_text(const struct sockaddr_storage *from, char ret[PROXIES_ADDRESS_BYTES])
{
	const struct sockaddr_in *v4 = (const void *)from;
	const struct sockaddr_in6 *v6 = (const void *)from;
	const void *address = &v6->sin6_addr;
	int family = from->ss_family;

	if (family == AF_INET)
		address = &v4->sin_addr;
	else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		address = v6->sin6_addr.s6_addr + 12;
	if (family == AF_INET6 && address != &v6->sin6_addr)
		family = AF_INET;
	if (!inet_ntop(family, address, ret, PROXIES_ADDRESS_BYTES))
		(void)snprintf(ret, PROXIES_ADDRESS_BYTES, "::");
}

static int client_new(struct door *d, int fd, const struct sockaddr_storage *from)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_origin(-ENOMEM);
	c->door = d;
	c->fd = fd;
	c->poll.data = c;
	list_init(&c->in_door);
	list_init(&c->in_dirty);
	address_text(from, c->address);
	int r = uv_poll_init(d->loop, &c->poll, fd);
	if (r) {
		free(c);
		return err_origin(r);
	}
	list_push(&d->clients, &c->in_door);
	d->n++;
	request_init(&c->request, d->all, c);
	if (d->n > d->n_max)
		client_tell(c, EV_OVERLOAD);
	return 0;
}

static void door_accept(struct door *d, unsigned max)
{
	for (unsigned i = 0; i < max; i++) {
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof(from);
		int fd = accept4(d->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			d->paused = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && d->n > 0;
			if (d->paused)
				(void)uv_poll_stop(&d->poll);
			return;
		}
		clock_tell(d->all);
		if (d->n >= d->n_max + DOOR_SPARE || client_new(d, fd, &from))
			(void)close(fd);
	}
}

static void on_door(uv_poll_t *poll, int status, int events)
{
	(void)events;
	if (status == 0)
		door_accept(poll->data, DOOR_ACCEPTS_PER_TURN);
}

int door_open(uv_loop_t *loop, int fd, size_t connections_max, struct requests *all, struct door **ret_door)
{
	struct door *d = calloc(1, sizeof(*d));
	int on = 1;

	if (!d)
		return err_origin(-ENOMEM);
	d->loop = loop;
	d->fd = fd;
	d->all = all;
	d->n_max = connections_max;
	list_init(&d->clients);
	list_init(&d->dirty);
	/* connections inherit it from their listener */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	d->poll.data = d->check.data = d;
	int r = uv_poll_init(loop, &d->poll, fd);
	if (!r)
		r = uv_poll_start(&d->poll, UV_READABLE, on_door);
	if (!r)
		r = uv_check_init(loop, &d->check);
	if (!r)
		r = uv_check_start(&d->check, on_check);
	*ret_door = d;
	return r ? err_origin(r) : 0;
}

static void door_leave(struct door *d)
{
	if (d->shut)
		return;
	d->shut = true;
	uv_close((uv_handle_t *)&d->poll, NULL);
	(void)close(d->fd);
}

void door_shut(struct door *d)
{
	if (d->shut)
		return;
	door_accept(d, DOOR_BACKLOG);
	door_leave(d);
	list_for_each_safe (l, &d->clients) {
		struct client *c = container_of(l, struct client, in_door);
		if (!c->closing && c->wanted)
			client_receive(c);
	}
}

void door_drop_all(struct door *d)
{
	list_for_each_safe (l, &d->clients) {
		struct client *c = container_of(l, struct client, in_door);
		if (!c->closing)
			client_tell(c, EV_GONE);
	}
}

size_t door_connections(const struct door *d)
{
	return d->n;
}

void door_close(struct door *d)
{
	if (!d)
		return;
	door_leave(d);
	door_drop_all(d);
	uv_close((uv_handle_t *)&d->check, NULL);
}

struct door *door_free(struct door *d)
{
	free(d);
	return NULL;
}
