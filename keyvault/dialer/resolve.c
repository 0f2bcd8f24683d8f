/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is two queries, for AAAA and for A, on one connection. It is answered when both are, or when one has
 * brought addresses and the other is late. A server that fails, refuses, talks nonsense or takes too long has had its
 * turn: the next one is asked anew. What comes late is not looked at; it is never connected either.
 *
 * Every turn is a handle of the loop and so is the timer: the question is freed when the last of them has closed.
 */
#include "keyvault/dialer/resolve.h"

#include <ares.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/config.h"
#include "common/err.h"
#include "keyvault/dialer/tcp.h"

struct resolver {
	uv_loop_t *loop;
	uint64_t timeout_ms;
	struct resolve_server servers[RESOLVE_SERVERS_MAX];
	size_t n_servers;
};

struct resolve_turn {
	struct resolve *question;
	uv_poll_t poll;
	int fd; /* -1: over, or not begun */
};

struct resolve_query {
	uint8_t bytes[2 + MESSAGE_QUERY_BYTES]; /* as they are sent: a length stands before */
	size_t len;
	bool open;
	int error; /* MESSAGE_E_* when answered without addresses */
	size_t n;
	struct address addresses[MESSAGE_ADDRESSES_MAX];
};

struct resolve {
	struct resolver *resolver;
	resolve_done *done;
	void *ctx;
	const char *why; /* of the last turn that failed */
	uint64_t deadline_ms;
	struct resolve_query queries[2]; /* IPv6 first */
	struct resolve_turn turns[RESOLVE_SERVERS_MAX];
	size_t n_turns; /* begun */
	size_t sent, received;
	uv_timer_t timer;
	size_t handles;
	uint8_t in[2 + RESOLVE_BYTES_MAX];
};

static void resolve_next_turn(struct resolve *q);
static void resolve_on_timer(uv_timer_t *timer);

/* ---- the end ---- */

static void resolve_on_closed(uv_handle_t *handle)
{
	struct resolve *q = handle->data;

	if (--q->handles == 0)
		free(q);
}

static void resolve_end_turn(struct resolve *q)
{
	struct resolve_turn *turn = q->n_turns > 0 ? &q->turns[q->n_turns - 1] : NULL;

	if (!turn || turn->fd < 0)
		return;
	uv_close((uv_handle_t *)&turn->poll, resolve_on_closed);
	(void)close(turn->fd);
	turn->fd = -1;
}

void resolve_forget(struct resolve *q)
{
	if (!q)
		return;
	resolve_end_turn(q);
	uv_close((uv_handle_t *)&q->timer, resolve_on_closed);
}

/* IPv6 and IPv4 in turn, so that neither family's being broken costs more than one attempt (RFC 8305 section 4). */
static size_t resolve_interleave(const struct resolve *q, struct address *to)
{
	size_t n = 0;

	for (size_t i = 0; i < MESSAGE_ADDRESSES_MAX; i++)
		for (size_t f = 0; f < 2; f++)
			if (i < q->queries[f].n)
				to[n++] = q->queries[f].addresses[i];
	return n;
}

/* The only place where a question is answered. */
static void resolve_finish(struct resolve *q, const char *why)
{
	struct address addresses[RESOLVE_ADDRESSES_MAX];
	size_t n = resolve_interleave(q, addresses);
	resolve_done *done = q->done;
	void *ctx = q->ctx;

	resolve_forget(q);
	done(ctx, addresses, n, why);
}

/* ---- what the server says ---- */

static bool resolve_has_addresses(const struct resolve *q)
{
	return q->queries[0].n + q->queries[1].n > 0;
}

/* The server has no more to say, or nothing that is worth waiting for. */
static void resolve_fail_turn(struct resolve *q, const char *why)
{
	q->why = why;
	if (resolve_has_addresses(q))
		resolve_finish(q, "");
	else
		resolve_next_turn(q);
}

/* Both are answered. */
static void resolve_conclude(struct resolve *q)
{
	int six = q->queries[0].error, four = q->queries[1].error;

	if (resolve_has_addresses(q))
		resolve_finish(q, "");
	else if (six == MESSAGE_E_SERVER || four == MESSAGE_E_SERVER || six == MESSAGE_E_INVALID ||
		 four == MESSAGE_E_INVALID)
		resolve_fail_turn(q, message_why(MAX(six, four)));
	else
		resolve_finish(q, message_why(four));
}

static void resolve_take(struct resolve *q, struct span message)
{
	for (size_t f = 0; f < 2; f++) {
		struct resolve_query *query = &q->queries[f];
		if (!query->open)
			continue;
		int r = message_read(span_of(query->bytes + 2, query->len - 2), message, query->addresses, &query->n);
		if (r == MESSAGE_E_NOT_OURS)
			continue;
		query->open = false;
		query->error = r;
		return;
	}
}

/* Takes every whole message from q->in. False when the turn, and perhaps the question, is over. */
static bool resolve_take_all(struct resolve *q)
{
	size_t at = 0, len;

	for (; q->received - at >= 2; at += 2 + len) {
		len = (size_t)q->in[at] << 8 | q->in[at + 1];
		if (len == 0 || len > RESOLVE_BYTES_MAX) {
			resolve_fail_turn(q, message_why(MESSAGE_E_INVALID));
			return false;
		}
		if (q->received - at < 2 + len)
			break;
		resolve_take(q, span_of(q->in + at + 2, len));
		if (!q->queries[0].open && !q->queries[1].open) {
			resolve_conclude(q);
			return false;
		}
	}
	q->received -= at;
	memmove(q->in, q->in + at, q->received);
	return true;
}

static uint64_t resolve_left_ms(const struct resolve *q)
{
	uint64_t now_ms = uv_now(q->resolver->loop);

	return q->deadline_ms > now_ms ? q->deadline_ms - now_ms : 0;
}

static void resolve_read(struct resolve *q, int fd)
{
	bool had = resolve_has_addresses(q);
	ssize_t n = recvfrom(fd, q->in + q->received, sizeof(q->in) - q->received, 0, NULL, NULL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		resolve_fail_turn(q, "the name server hung up");
		return;
	}
	q->received += (size_t)n;
	if (resolve_take_all(q) && !had && resolve_has_addresses(q))
		(void)uv_timer_start(&q->timer, resolve_on_timer, MIN(resolve_left_ms(q), (uint64_t)RESOLVE_SECOND_MS),
				     0);
}

/* ---- a turn ---- */

/* Both queries in one write: one segment (RFC 7766 section 6.2.1.1). False when there is more to send. */
static bool resolve_write(struct resolve *q, int fd)
{
	struct iovec parts[2];
	struct msghdr m = {.msg_iov = parts};
	size_t skip = q->sent;

	for (size_t f = 0; f < 2; f++) {
		struct resolve_query *query = &q->queries[f];
		size_t part = MIN(skip, query->len);
		skip -= part;
		if (part < query->len)
			parts[m.msg_iovlen++] = (struct iovec){query->bytes + part, query->len - part};
	}
	ssize_t n = m.msg_iovlen > 0 ? sendmsg(fd, &m, MSG_NOSIGNAL) : 0;
	q->sent += n > 0 ? (size_t)n : 0; /* an error is seen when reading */
	return n < 0 ? errno != EAGAIN : q->sent == q->queries[0].len + q->queries[1].len;
}

static void resolve_on_poll(uv_poll_t *poll, int status, int events)
{
	struct resolve_turn *turn = container_of(poll, struct resolve_turn, poll);
	struct resolve *q = turn->question;

	if (status < 0 || tcp_error(turn->fd)) {
		resolve_fail_turn(q, "the name server could not be reached");
		return;
	}
	if ((events & UV_WRITABLE) && resolve_write(q, turn->fd))
		(void)uv_poll_start(poll, UV_READABLE, resolve_on_poll);
	if (events & UV_READABLE)
		resolve_read(q, turn->fd);
}

static int resolve_begin_turn(struct resolve *q, const struct resolve_server *server, struct resolve_turn *turn)
{
	*turn = (struct resolve_turn){.question = q, .fd = -1};
	int r = tcp_connect(&server->address, server->port, &turn->fd);
	if (r)
		return r;
	r = uv_poll_init(q->resolver->loop, &turn->poll, turn->fd);
	if (r) {
		(void)close(turn->fd);
		turn->fd = -1;
		return r;
	}
	turn->poll.data = q;
	q->handles++;
	return uv_poll_start(&turn->poll, UV_READABLE | UV_WRITABLE, resolve_on_poll);
}

static void resolve_reset(struct resolve *q)
{
	q->sent = q->received = 0;
	for (size_t f = 0; f < 2; f++) {
		struct resolve_query *query = &q->queries[f];
		query->open = true;
		/* A new turn, new ids: a late answer of another server's is not this one's. */
		(void)!getrandom(query->bytes + 2, 2, 0);
	}
}

static void resolve_on_timer(uv_timer_t *timer)
{
	struct resolve *q = timer->data;

	if (q->n_turns == 0)
		resolve_next_turn(q);
	else
		resolve_fail_turn(q, "no answer in time");
}

static void resolve_next_turn(struct resolve *q)
{
	const struct resolver *r = q->resolver;
	uint64_t left_ms = resolve_left_ms(q);

	resolve_end_turn(q);
	while (q->n_turns < r->n_servers && left_ms > 0) {
		const struct resolve_server *server = &r->servers[q->n_turns];
		bool last = ++q->n_turns == r->n_servers;
		resolve_reset(q);
		if (resolve_begin_turn(q, server, &q->turns[q->n_turns - 1]) == 0) {
			(void)uv_timer_start(&q->timer, resolve_on_timer,
					     last ? left_ms : MIN(left_ms, (uint64_t)RESOLVE_SERVER_MS), 0);
			return;
		}
		resolve_end_turn(q);
		q->why = "the name server could not be reached";
	}
	resolve_finish(q, q->why);
}

/* ---- questions ---- */

static void resolve_prepare(struct resolve_query *query, const char *host, int family)
{
	size_t len = message_query(host, family, 0, query->bytes + 2);

	query->bytes[0] = (uint8_t)(len >> 8);
	query->bytes[1] = (uint8_t)len;
	query->len = 2 + len;
}

int resolve_ask(struct resolver *r, const char *host, resolve_done *done, void *ctx, struct resolve **ret_question)
{
	struct resolve *q = calloc(1, sizeof(*q));

	if (!q || uv_timer_init(r->loop, &q->timer)) {
		free(q);
		return err_origin(-ENOMEM);
	}
	q->resolver = r;
	q->done = done;
	q->ctx = ctx;
	q->why = "";
	q->deadline_ms = uv_now(r->loop) + r->timeout_ms;
	resolve_prepare(&q->queries[0], host, AF_INET6);
	resolve_prepare(&q->queries[1], host, AF_INET);
	q->timer.data = q;
	q->handles = 1;
	(void)uv_timer_start(&q->timer, resolve_on_timer, 0, 0);
	*ret_question = q;
	return 0;
}

/* ---- servers ---- */

bool resolve_servers(const char *list, struct resolve_server *to, size_t *ret_n)
{
	struct span item;
	size_t n = 0;

	for (; config_list_next(&list, &item); n++)
		if (n == RESOLVE_SERVERS_MAX || !address_parse_port(item, RESOLVE_PORT, &to[n].address, &to[n].port))
			return false;
	*ret_n = n;
	return true;
}

int resolve_system_servers(struct resolve_server *to, size_t *ret_n)
{
	struct ares_addr_port_node *nodes = NULL;
	ares_channel channel;
	size_t n = 0;

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS || ares_init(&channel) != ARES_SUCCESS)
		return err_origin(-EIO);
	int status = ares_get_servers_ports(channel, &nodes);
	for (const struct ares_addr_port_node *node = nodes; node && n < RESOLVE_SERVERS_MAX; node = node->next, n++) {
		to[n].address.family = node->family;
		memcpy(to[n].address.v6, &node->addr, node->family == AF_INET ? 4 : 16);
		to[n].port = node->tcp_port > 0 ? (uint16_t)node->tcp_port : RESOLVE_PORT;
	}
	ares_free_data(nodes);
	ares_destroy(channel);
	*ret_n = n;
	return status == ARES_SUCCESS && n > 0 ? 0 : err_origin(-EIO);
}

int resolver_new(uv_loop_t *loop, uint64_t timeout_ms, const struct resolve_server *servers, size_t n,
		 struct resolver **ret_resolver)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return err_origin(-ENOMEM);
	r->loop = loop;
	r->timeout_ms = timeout_ms;
	r->n_servers = MIN(n, (size_t)RESOLVE_SERVERS_MAX);
	memcpy(r->servers, servers, r->n_servers * sizeof(*servers));
	*ret_resolver = r;
	return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
	free(r);
	return NULL;
}
