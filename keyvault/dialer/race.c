/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every attempt is a handle of the loop and so is the timer: the race is freed when the last of them has closed. The
 * timer is the only thing that begins attempts, and it fires for one of three reasons: a failure (at once), the
 * stagger, a deadline.
 */
#include "keyvault/dialer/race.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "keyvault/dialer/tcp.h"

struct race_attempt {
	struct race *race;
	uv_poll_t poll;
	int fd; /* -1: over, or not begun */
	uint64_t deadline_ms;
};

struct race {
	uv_loop_t *loop;
	race_done *done;
	void *ctx;
	struct address addresses[RACE_ATTEMPTS_MAX];
	struct race_attempt attempts[RACE_ATTEMPTS_MAX];
	size_t n, n_begun, n_live;
	uint16_t port;
	uint64_t deadline_ms;
	int error; /* of the last attempt that failed */
	uv_timer_t timer;
	size_t handles;
};

static void race_on_closed(uv_handle_t *handle)
{
	struct race *race = handle->data;

	if (--race->handles == 0)
		free(race);
}

/* The socket is the caller's from here. */
static int race_attempt_end(struct race_attempt *a)
{
	int fd = a->fd;

	uv_close((uv_handle_t *)&a->poll, race_on_closed);
	a->fd = -1;
	a->race->n_live--;
	return fd;
}

static void race_attempt_fail(struct race_attempt *a, int error)
{
	a->race->error = error;
	(void)close(race_attempt_end(a));
}

/* The only place where a race ends. */
static void race_over(struct race *race)
{
	for (size_t i = 0; i < race->n_begun; i++)
		if (race->attempts[i].fd >= 0)
			(void)close(race_attempt_end(&race->attempts[i]));
	uv_close((uv_handle_t *)&race->timer, race_on_closed);
}

void race_cancel(struct race *race)
{
	if (race)
		race_over(race);
}

static void race_lose(struct race *race)
{
	race_done *done = race->done;
	void *ctx = race->ctx;
	struct address last = race->addresses[race->n_begun - 1];
	int error = race->error ? race->error : -ETIMEDOUT;

	race_over(race);
	done(ctx, -1, &last, error);
}

static void race_win(struct race_attempt *a)
{
	struct race *race = a->race;
	race_done *done = race->done;
	void *ctx = race->ctx;
	struct address winner = race->addresses[a - race->attempts];
	int fd = race_attempt_end(a);

	race_over(race);
	done(ctx, fd, &winner, 0);
}

static void race_on_timer(uv_timer_t *timer);

static void race_on_poll(uv_poll_t *poll, int status, int events)
{
	struct race_attempt *a = container_of(poll, struct race_attempt, poll);
	struct race *race = a->race;
	int error = tcp_error(a->fd);

	(void)events;
	if (!error && status < 0)
		error = -status;
	if (!error && !tcp_peer_is(a->fd, &race->addresses[a - race->attempts], race->port))
		error = ENOTCONN;
	if (!error) {
		race_win(a);
		return;
	}
	race_attempt_fail(a, -error);
	(void)uv_timer_start(&race->timer, race_on_timer, 0, 0);
}

/* 0 or negative: it failed at once. */
static int race_attempt_begin(struct race_attempt *a, const struct address *to)
{
	struct race *race = a->race;
	int fd;

	int r = tcp_connect(to, race->port, &fd);
	if (r)
		return r;
	r = uv_poll_init(race->loop, &a->poll, fd);
	if (r) {
		(void)close(fd);
		return r;
	}
	a->fd = fd;
	a->poll.data = race;
	race->handles++;
	race->n_live++;
	a->deadline_ms = uv_now(race->loop) + RACE_ATTEMPT_MS;
	r = uv_poll_start(&a->poll, UV_WRITABLE, race_on_poll);
	if (r)
		(void)close(race_attempt_end(a));
	return r;
}

/* Until one is under way or none is left. */
static void race_begin_next(struct race *race)
{
	while (race->n_begun < race->n) {
		struct race_attempt *a = &race->attempts[race->n_begun];
		*a = (struct race_attempt){.race = race, .fd = -1};
		int r = race_attempt_begin(a, &race->addresses[race->n_begun++]);
		if (r == 0)
			return;
		race->error = r;
	}
}

static void race_end_late(struct race *race, uint64_t now_ms)
{
	for (size_t i = 0; i < race->n_begun; i++)
		if (race->attempts[i].fd >= 0 && race->attempts[i].deadline_ms <= now_ms)
			race_attempt_fail(&race->attempts[i], -ETIMEDOUT);
}

static void race_on_timer(uv_timer_t *timer)
{
	struct race *race = timer->data;
	uint64_t now_ms = uv_now(race->loop);

	race_end_late(race, now_ms);
	race_begin_next(race);
	if (race->n_live == 0 || now_ms >= race->deadline_ms)
		race_lose(race);
	else
		(void)uv_timer_start(timer, race_on_timer, RACE_STAGGER_MS, 0);
}

int race_start(uv_loop_t *loop, const struct address *addresses, size_t n, uint16_t port, race_done *done, void *ctx,
	       struct race **ret_race)
{
	struct race *race = calloc(1, sizeof(*race));

	if (!race || uv_timer_init(loop, &race->timer)) {
		free(race);
		return err_origin(-ENOMEM);
	}
	race->loop = loop;
	race->done = done;
	race->ctx = ctx;
	race->port = port;
	race->n = MIN(n, (size_t)RACE_ATTEMPTS_MAX);
	memcpy(race->addresses, addresses, race->n * sizeof(*addresses));
	race->deadline_ms = uv_now(loop) + RACE_MS;
	race->timer.data = race;
	race->handles = 1;
	(void)uv_timer_start(&race->timer, race_on_timer, 0, 0);
	*ret_race = race;
	return 0;
}
