/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   start -> resolving -> connecting -> over
 *            (not when the configuration gives the address)
 *
 * Addresses are tried in order, the next one when the last has failed or has taken a quarter of a second; the first
 * connection wins. Every attempt is a handle of the loop and so is the timer: the dial is freed when the last of them
 * has closed.
 */
#include "keyvault/dialer/dial.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>

#include "common/err.h"

struct dial_attempt {
	struct dial *dial;
	uv_poll_t poll;
	int fd; /* -1: over */
	const struct policy_address *address;
};

struct dial {
	struct dialer *dialer;
	struct list in_dialer;
	const struct policy_origin *origin;
	dial_done *done; /* NULL: over, closing */
	void *ctx;
	uint64_t id, deadline_ms;
	struct resolve *question;
	struct policy_address addresses[RESOLVE_ADDRESSES_MAX];
	struct dial_attempt attempts[RESOLVE_ADDRESSES_MAX];
	size_t n, n_tried, n_live;
	enum reason why; /* decided, to be told by the timer */
	uv_timer_t timer;
	size_t handles;
};

static void dial_on_closed(uv_handle_t *handle)
{
	struct dial *dial = handle->data;

	if (--dial->handles == 0)
		free(dial);
}

static void dial_attempt_end(struct dial_attempt *a)
{
	if (a->fd < 0)
		return;
	uv_close((uv_handle_t *)&a->poll, dial_on_closed);
	(void)close(a->fd);
	a->fd = -1;
	a->dial->n_live--;
}

/* The only place where a dial ends. */
static void dial_over(struct dial *dial, int fd, const char *address, enum reason why)
{
	dial_done *done = dial->done;

	resolve_forget(TAKE(dial->question));
	for (size_t i = 0; i < dial->n_tried; i++)
		dial_attempt_end(&dial->attempts[i]);
	list_unlink(&dial->in_dialer);
	dial->dialer->n--;
	dial->done = NULL;
	uv_close((uv_handle_t *)&dial->timer, dial_on_closed);
	if (done)
		done(dial->ctx, dial->id, fd, address, why);
	else if (fd >= 0)
		(void)close(fd);
}

static void dial_fail(struct dial *dial, enum reason why)
{
	dial_over(dial, -1, NULL, why);
}

/* ---- connecting ---- */

static socklen_t dial_sockaddr(const struct policy_address *a, uint16_t port, struct sockaddr_storage *to)
{
	if (a->family == AF_INET) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
		memcpy(&in.sin_addr, a->v4, 4);
		memcpy(to, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&in6.sin6_addr, a->v6, 16);
	memcpy(to, &in6, sizeof(in6));
	return sizeof(in6);
}

static void dial_try_next(struct dial *dial);

static void dial_won(struct dial_attempt *a)
{
	struct dial *dial = a->dial;
	char text[INET6_ADDRSTRLEN];
	int fd = a->fd;
	const void *raw = a->address->family == AF_INET ? a->address->v4 : a->address->v6;

	/* The poll goes, the socket stays. */
	uv_close((uv_handle_t *)&a->poll, dial_on_closed);
	a->fd = -1;
	dial->n_live--;
	dial->dialer->connected++;
	if (!inet_ntop(a->address->family, raw, text, sizeof(text)))
		text[0] = 0;
	dial_over(dial, fd, text, REASON_NONE);
}

static void dial_on_poll(uv_poll_t *poll, int status, int events)
{
	struct dial_attempt *a = container_of(poll, struct dial_attempt, poll);
	int error = 0;
	socklen_t len = sizeof(error);

	(void)events;
	if (status == 0 && getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0) {
		dial_won(a);
		return;
	}
	dial_attempt_end(a);
	dial_try_next(a->dial);
}

/* False when it failed at once. */
static bool dial_attempt_begin(struct dial_attempt *a)
{
	struct dial *dial = a->dial;
	struct sockaddr_storage to;
	socklen_t len = dial_sockaddr(a->address, dial->origin->url.port, &to);

	a->fd = socket(a->address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return false;
	if ((connect(a->fd, (const struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS) ||
	    uv_poll_init(dial->dialer->loop, &a->poll, a->fd)) {
		(void)close(a->fd);
		a->fd = -1;
		return false;
	}
	a->poll.data = dial;
	dial->handles++;
	dial->n_live++;
	if (uv_poll_start(&a->poll, UV_WRITABLE, dial_on_poll) == 0)
		return true;
	dial_attempt_end(a);
	return false;
}

static void dial_try_next(struct dial *dial)
{
	while (dial->n_tried < dial->n) {
		struct dial_attempt *a = &dial->attempts[dial->n_tried];
		*a = (struct dial_attempt){.dial = dial, .fd = -1, .address = &dial->addresses[dial->n_tried]};
		dial->n_tried++;
		if (dial_attempt_begin(a))
			return;
	}
	if (dial->n_live == 0) {
		dial->dialer->failed++;
		dial_fail(dial, REASON_DIAL_CONNECT);
	}
}

static void dial_on_tick(uv_timer_t *timer)
{
	struct dial *dial = timer->data;

	if (dial->why != REASON_NONE)
		dial_fail(dial, dial->why);
	else if (dial->question)
		return; /* has a limit of its own */
	else if (uv_now(dial->dialer->loop) >= dial->deadline_ms)
		dial_fail(dial, REASON_DIAL_CONNECT);
	else if (dial->n_tried < dial->n)
		dial_try_next(dial);
}

/* ---- where to ---- */

/* One forbidden address among several condemns the name: somebody is trying something. */
static bool dial_all_ok(const struct policy_address *addresses, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!policy_address_ok(&addresses[i]))
			return false;
	return true;
}

static void dial_connect(struct dial *dial, const struct policy_address *addresses, size_t n)
{
	memcpy(dial->addresses, addresses, n * sizeof(*addresses));
	dial->n = n;
	dial->deadline_ms = uv_now(dial->dialer->loop) + DIAL_CONNECT_MS;
}

/* Told on the next turn, by the timer. */
static void dial_decide(struct dial *dial, enum reason why)
{
	dial->why = why;
	dial->dialer->denied += why == REASON_DIAL_DENIED;
	dial->dialer->failed += why != REASON_DIAL_DENIED;
}

static void dial_on_resolved(void *ctx, int answer, const struct policy_address *addresses, size_t n)
{
	struct dial *dial = ctx;

	dial->question = NULL;
	if (answer)
		dial_decide(dial, REASON_DIAL_RESOLVE);
	else if (!dial_all_ok(addresses, n))
		dial_decide(dial, REASON_DIAL_DENIED);
	else
		dial_connect(dial, addresses, n);
	(void)uv_timer_start(&dial->timer, dial_on_tick, 0, DIAL_STAGGER_MS);
}

static int dial_where(struct dial *dial, struct span host, uint64_t port)
{
	struct policy_address literal;

	if (policy_find(&dial->dialer->policy, host, port, &dial->origin))
		dial_decide(dial, REASON_DIAL_DENIED);
	else if (dial->origin->pinned)
		dial_connect(dial, &dial->origin->address, 1);
	else if (!policy_address_parse(dial->origin->url.host, &literal))
		return resolve_ask(dial->dialer->resolver, dial->origin->url.host, dial_on_resolved, dial,
				   &dial->question);
	else if (policy_address_ok(&literal))
		dial_connect(dial, &literal, 1);
	else
		dial_decide(dial, REASON_DIAL_DENIED);
	return 0;
}

int dial_start(struct dialer *d, struct span host, uint64_t port, dial_done *done, void *ctx, uint64_t id)
{
	struct dial *dial = calloc(1, sizeof(*dial));

	if (!dial)
		return err_origin(-ENOMEM);
	dial->dialer = d;
	dial->done = done;
	dial->ctx = ctx;
	dial->id = id;
	list_init(&dial->in_dialer);
	list_push(&d->dials, &dial->in_dialer);
	d->n++;
	if (uv_timer_init(d->loop, &dial->timer)) {
		list_unlink(&dial->in_dialer);
		d->n--;
		free(dial);
		return err_origin(-ENOMEM);
	}
	dial->timer.data = dial;
	dial->handles = 1;
	if (d->n > DIALS_MAX)
		dial_decide(dial, REASON_OVERLOADED);
	else if (dial_where(dial, host, port))
		dial_decide(dial, REASON_DIAL_RESOLVE);
	(void)uv_timer_start(&dial->timer, dial_on_tick, 0, DIAL_STAGGER_MS);
	return 0;
}

void dial_cancel(struct dialer *d, const void *ctx)
{
	list_for_each_safe (it, &d->dials) {
		struct dial *dial = container_of(it, struct dial, in_dialer);
		if (ctx && dial->ctx != ctx)
			continue;
		dial->done = NULL;
		dial_fail(dial, REASON_NONE);
	}
}
