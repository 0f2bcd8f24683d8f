/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c-ares owns its sockets but makes them by our functions: non-blocking from birth, so that no fcntl is needed, and
 * never bound. It tells which of them it wants to read or write, and gets a uv_poll for each; one timer drives its
 * retransmissions and our limit for a question.
 *
 * A question that took too long or whose asker has gone is answered or forgotten at once; c-ares may still hold it, so
 * it is freed only when c-ares lets go of it.
 */
#include "keyvault/dialer/resolve.h"

#include <ares.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/err.h"
#include "common/list.h"

#define RESOLVE_TICK_MS 100
#define RESOLVE_TRY_MS  2000
#define RESOLVE_TRIES   3

struct resolver {
	uv_loop_t *loop;
	ares_channel channel;
	uint64_t timeout_ms;
	uv_timer_t timer;
	struct list questions, sockets;
	size_t handles; /* open in the loop */
	bool closed;
};

struct resolve_socket {
	struct resolver *resolver;
	struct list in_resolver;
	ares_socket_t fd;
	uv_poll_t poll;
};

struct resolve {
	struct list in_resolver;
	resolve_done *done; /* NULL: answered or forgotten */
	void *ctx;
	uint64_t deadline_ms;
};

/* ---- sockets as c-ares is to have them ---- */

static ares_socket_t resolve_socket(int family, int type, int protocol, void *ctx)
{
	(void)ctx;
	return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int resolve_close(ares_socket_t fd, void *ctx)
{
	(void)ctx;
	return close(fd);
}

static int resolve_connect(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len, void *ctx)
{
	(void)ctx;
	return connect(fd, to, len);
}

static ares_ssize_t resolve_recv(ares_socket_t fd, void *to, size_t cap, int flags, struct sockaddr *from,
				 ares_socklen_t *from_len, void *ctx)
{
	(void)ctx;
	return recvfrom(fd, to, cap, flags, from, from_len);
}

static ares_ssize_t resolve_send(ares_socket_t fd, const struct iovec *parts, int n, void *ctx)
{
	/* sendmsg only reads the parts */
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)n};

	(void)ctx;
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions resolve_functions = {resolve_socket, resolve_close, resolve_connect,
							       resolve_recv, resolve_send};

/* ---- the loop ---- */

static void resolver_note_closed(struct resolver *r)
{
	if (--r->handles == 0)
		free(r);
}

static void resolve_socket_on_closed(uv_handle_t *handle)
{
	struct resolve_socket *s = container_of((uv_poll_t *)handle, struct resolve_socket, poll);
	struct resolver *r = s->resolver;

	free(s);
	resolver_note_closed(r);
}

static void resolve_on_poll(uv_poll_t *poll, int status, int events)
{
	struct resolve_socket *s = container_of(poll, struct resolve_socket, poll);
	bool in = status < 0 || (events & UV_READABLE), out = status < 0 || (events & UV_WRITABLE);

	ares_process_fd(s->resolver->channel, in ? s->fd : ARES_SOCKET_BAD, out ? s->fd : ARES_SOCKET_BAD);
}

static struct resolve_socket *resolver_watch(struct resolver *r, ares_socket_t fd)
{
	list_for_each (it, &r->sockets) {
		struct resolve_socket *s = container_of(it, struct resolve_socket, in_resolver);
		if (s->fd == fd)
			return s;
	}
	struct resolve_socket *s = calloc(1, sizeof(*s));
	if (!s || uv_poll_init(r->loop, &s->poll, fd)) {
		free(s);
		return NULL;
	}
	s->resolver = r;
	s->fd = fd;
	list_push(&r->sockets, &s->in_resolver);
	r->handles++;
	return s;
}

/* c-ares: what a socket is to be watched for; nothing means that it will be closed now. */
static void resolve_on_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct resolve_socket *s = resolver_watch(ctx, fd);

	if (!s)
		return; /* no memory: the question times out */
	if (readable || writable) {
		(void)uv_poll_start(&s->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
				    resolve_on_poll);
		return;
	}
	list_unlink(&s->in_resolver);
	uv_close((uv_handle_t *)&s->poll, resolve_socket_on_closed);
}

static void resolve_finish(struct resolve *q, int answer, const struct policy_address *addresses, size_t n)
{
	resolve_done *done = q->done;

	q->done = NULL;
	if (done)
		done(q->ctx, answer, addresses, n);
}

static void resolver_on_tick(uv_timer_t *timer)
{
	struct resolver *r = timer->data;
	uint64_t now_ms = uv_now(r->loop);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	list_for_each (it, &r->questions) {
		struct resolve *q = container_of(it, struct resolve, in_resolver);
		if (q->done && q->deadline_ms <= now_ms)
			resolve_finish(q, RESOLVE_E_FAILED, NULL, 0);
	}
	if (list_empty(&r->questions))
		(void)uv_timer_stop(timer);
}

/* ---- questions ---- */

static bool resolve_take(const struct ares_addrinfo_node *node, struct policy_address *to)
{
	if (node->ai_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)node->ai_addr;
		to->family = AF_INET;
		memcpy(to->v4, &in->sin_addr, 4);
		return true;
	}
	if (node->ai_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)node->ai_addr;
		to->family = AF_INET6;
		memcpy(to->v6, &in6->sin6_addr, 16);
		return true;
	}
	return false;
}

/* IPv6 and IPv4 in turn, so that neither family's being broken costs more than one attempt (RFC 8305 4). */
static size_t resolve_interleave(const struct ares_addrinfo *info, struct policy_address *to)
{
	const struct ares_addrinfo_node *next[2] = {info->nodes, info->nodes};
	static const int families[2] = {AF_INET6, AF_INET};
	size_t n = 0;

	for (int turn = 0; n < RESOLVE_ADDRESSES_MAX && (next[0] || next[1]); turn ^= 1) {
		while (next[turn] && next[turn]->ai_family != families[turn])
			next[turn] = next[turn]->ai_next;
		if (!next[turn])
			continue;
		n += resolve_take(next[turn], &to[n]);
		next[turn] = next[turn]->ai_next;
	}
	return n;
}

static void resolve_on_answer(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolve *q = ctx;
	struct policy_address addresses[RESOLVE_ADDRESSES_MAX] = {0};
	size_t n = status == ARES_SUCCESS ? resolve_interleave(info, addresses) : 0;

	(void)timeouts;
	if (info)
		ares_freeaddrinfo(info);
	resolve_finish(q, n > 0 ? 0 : RESOLVE_E_FAILED, addresses, n);
	list_unlink(&q->in_resolver);
	free(q);
}

int resolve_ask(struct resolver *r, const char *host, resolve_done *done, void *ctx, struct resolve **ret_question)
{
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
	struct resolve *q = calloc(1, sizeof(*q));

	if (!q)
		return err_origin(-ENOMEM);
	*q = (struct resolve){.done = done, .ctx = ctx, .deadline_ms = uv_now(r->loop) + r->timeout_ms};
	list_push(&r->questions, (list_init(&q->in_resolver), &q->in_resolver));
	if (!uv_is_active((uv_handle_t *)&r->timer))
		(void)uv_timer_start(&r->timer, resolver_on_tick, RESOLVE_TICK_MS, RESOLVE_TICK_MS);
	*ret_question = q;
	ares_getaddrinfo(r->channel, host, NULL, &hints, resolve_on_answer, q);
	return 0;
}

void resolve_forget(struct resolve *q)
{
	if (q)
		q->done = NULL;
}

/* ---- the resolver ---- */

static void resolver_on_closed(uv_handle_t *handle)
{
	resolver_note_closed(handle->data);
}

int resolver_new(uv_loop_t *loop, uint64_t timeout_ms, const char *servers, struct resolver **ret_resolver)
{
	char dns_only[] = "b";
	struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
				       .timeout = RESOLVE_TRY_MS,
				       .tries = RESOLVE_TRIES,
				       .lookups = dns_only,
				       .sock_state_cb = resolve_on_state};
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(r);
		return err_origin(-ENOMEM);
	}
	options.sock_state_cb_data = r;
	r->loop = loop;
	r->timeout_ms = timeout_ms;
	list_init(&r->questions);
	list_init(&r->sockets);
	if (ares_init_options(&r->channel, &options,
			      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
				      ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS) {
		free(r);
		return err_origin(-EIO);
	}
	ares_set_socket_functions(r->channel, &resolve_functions, NULL);
	if ((servers && ares_set_servers_ports_csv(r->channel, servers) != ARES_SUCCESS) ||
	    uv_timer_init(loop, &r->timer)) {
		ares_destroy(r->channel);
		free(r);
		return err_origin(-EINVAL);
	}
	r->timer.data = r;
	r->handles = 1;
	*ret_resolver = r;
	return 0;
}

void resolver_close(struct resolver *r)
{
	list_for_each (it, &r->questions)
		container_of(it, struct resolve, in_resolver)->done = NULL;
	ares_destroy(r->channel); /* lets go of questions and sockets */
	uv_close((uv_handle_t *)&r->timer, resolver_on_closed);
	ares_library_cleanup();
}
