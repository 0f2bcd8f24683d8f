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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/auditd.h"
#include "common/err.h"

#define READONLY_TRY_MS     5000
#define READONLY_ROOM_BYTES (UINT64_C(4) << 20) /* besides the next segment: for tiles */

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
	if (a->daemon.draining || a->readonly.result)
		return;
	pruner_save_clock(a);
	auditd_again(a, "the disk can be written again");
}

static void on_readonly_timer(uv_timer_t *timer)
{
	struct auditd *a = timer->data;

	if (!a->readonly.trying)
		a->readonly.trying = uv_queue_work(&a->daemon.loop, &a->readonly.work, on_try, on_tried) == 0;
}

static void readonly_tell(struct auditd *a, const char *what, const char *why)
{
	char detail[320];

	(void)snprintf(detail, sizeof(detail), "%s: %s", what, why);
	daemon_set_ready(&a->daemon, false, detail);
}

void readonly_tell_full(struct auditd *a, const char *why)
{
	uint64_t mib = (a->ledger->segment.bytes_max + READONLY_ROOM_BYTES) >> 20;
	struct pruner *p = &a->pruner;

	(void)snprintf(p->full, sizeof(p->full),
		       "%s; %s; free %" PRIu64 " MiB on the log's disk, or more, and it goes on by itself",
		       strerrordesc_np(-a->ledger->unwritable), why, mib);
	readonly_tell(a, "the log can only be read", p->full);
}

int readonly_serve(struct auditd *a)
{
	bool damaged = a->readonly.damaged;

	a->failed = true;
	if (damaged)
		readonly_tell(a, "the log is damaged", a->ledger->why);
	else if (!pruner_is_full(a))
		readonly_tell(a, "the log can only be read", strerrordesc_np(-a->ledger->unwritable));
	else
		readonly_tell_full(a, a->config.auditd.legal_hold ? "auditd.legal_hold lets nothing be removed"
				      : a->config.auditd.keep_records == CONFIG_KEEP_RECORDS_FOREVER
					      ? "auditd.keep_records is forever"
					      : "auditd looks whether records are over");
	log_event(&a->daemon.log, LOG_AUDIT_READONLY, LOG_STR("why", a->daemon.detail));
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
