/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work for a text is bounded by its length, unless a defect of ours or of Vectorscan makes it endless. An interval
 * timer, whose signal has its default action, runs from the first text of a loop turn until the loop is about to sleep:
 * two system calls a turn, not two a text.
 */
#include <sys/time.h>

#include "classifier/service.h"
#include "common/err.h"

/* The dearest text of 10 MiB takes less than a second; several may wait in one turn, on a slow machine. */
#define WATCHDOG_S 20

static void watchdog_before_sleep(uv_prepare_t *handle)
{
	struct service *s = handle->data;

	if (s->watched)
		(void)setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	s->watched = false;
}

int service_watchdog_init(struct service *s)
{
	int r = uv_prepare_init(&s->daemon.loop, &s->before_sleep);

	s->before_sleep.data = s;
	if (!r)
		r = uv_prepare_start(&s->before_sleep, watchdog_before_sleep);
	return r ? err_origin(r) : 0;
}

void service_watchdog_deinit(struct service *s)
{
	uv_close((uv_handle_t *)&s->before_sleep, NULL);
}

void service_watch(struct service *s)
{
	if (!s->watched)
		(void)setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = WATCHDOG_S}, NULL);
	s->watched = true;
}
