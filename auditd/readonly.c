/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that cannot be written can still be read. A write that failed is never tried again by the process that met it:
 * that one ends (auditd_die), the next reads what is really on the disk, and if its own first commit fails too, it
 * stays and answers readers. Nothing is recorded then: producers keep what they have, what must be acknowledged is
 * refused at once. Every few seconds it tries whether files beside the log can be written, and ends when they can: the
 * next process tries the log itself.
 *
 * From a damaged log nothing is read either, since nobody knows what it says; `bulkhead audit verify` looks at it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auditd/auditd.h"
#include "common/err.h"

#define READONLY_TRY_MS 5000

static void on_try(uv_work_t *work)
{
	struct auditd *a = work->data;

	a->readonly.result = a->readonly.tries++ ? ledger_try(a->ledger) : -EAGAIN;
}

static void on_tried(uv_work_t *work, int status)
{
	struct auditd *a = work->data;

	(void)status;
	a->readonly.trying = false;
	if (a->daemon.draining)
		daemon_stop(&a->daemon);
	else if (a->readonly.result == 0)
		auditd_die(a, 0);
}

static void on_readonly_timer(uv_timer_t *timer)
{
	struct auditd *a = timer->data;

	if (!a->readonly.trying)
		a->readonly.trying = uv_queue_work(&a->daemon.loop, &a->readonly.work, on_try, on_tried) == 0;
}

int readonly_serve(struct auditd *a)
{
	bool damaged = a->readonly.damaged;
	char detail[320];

	a->failed = true;
	(void)snprintf(detail, sizeof(detail), "%s: %s", damaged ? "the log is damaged" : "the log can only be read",
		       damaged ? a->ledger->why : strerrordesc_np(-a->ledger->unwritable));
	log_event(&a->daemon.log, LOG_AUDIT_READONLY, LOG_STR("why", detail));
	daemon_set_ready(&a->daemon, false, detail);
	a->readonly.work.data = a->readonly.timer.data = a;
	int r = uv_timer_init(&a->daemon.loop, &a->readonly.timer);
	if (r || damaged)
		return r ? err_origin(r) : 0;
	/* The pool's threads are made at the first job, which the sandbox would not let happen: so there is a first
	 * job. */
	on_readonly_timer(&a->readonly.timer);
	(void)uv_timer_start(&a->readonly.timer, on_readonly_timer, READONLY_TRY_MS, READONLY_TRY_MS);
	return 0;
}

void readonly_drain(struct auditd *a)
{
	if (!a->readonly.trying)
		daemon_stop(&a->daemon);
}

void readonly_close(struct auditd *a)
{
	if (a->readonly.timer.data)
		uv_close((uv_handle_t *)&a->readonly.timer, NULL);
}
