/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Days that are forgotten: when auditd.keep_personal is over, everybody's keys move on (subjects.h). Once a day there
 * is something to do; it is looked for every hour, or when an operator asks. Recorded first, then done, some subjects
 * at a time with pauses between: requests do not wait for it. What a stop interrupts is found again at the next look.
 * Where a look finds nothing to move, it still makes sure that what was moved before is in none of the store's files.
 *
 * A key that has moved on does not come back, and nothing is sealed for a day that it has left behind. So a clock that
 * was set ahead counts only when it has stayed so for a day: most that are wrong are set right before. What it says
 * when authd starts is believed, and one that is set back counts at once: by it less is over. Looks are an hour apart,
 * so a clock that only drifts moves by seconds; the steady one goes on while the machine sleeps.
 */
#include <stdio.h>
#include <time.h>

#include "authd/admin_operation.h"

#define EXPIRY_FIRST_MS 60000
#define EXPIRY_EVERY_MS 3600000
#define EXPIRY_PAUSE_MS 5
#define EXPIRY_SLACK_MS 60000 /* from one look to the next: no leap */
#define EXPIRY_LEAP_MS  86400000

static uint64_t expiry_steady_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t expiry_believed_ms(struct expiry_clock *c, uint64_t wall_ms, uint64_t steady_ms)
{
	uint64_t began_ms = wall_ms - MIN(wall_ms, steady_ms);

	if (began_ms <= c->began_ms + EXPIRY_SLACK_MS) {
		*c = (struct expiry_clock){.began_ms = began_ms};
		return wall_ms;
	}
	if (c->leapt_ms == 0) {
		c->leapt_ms = began_ms;
		c->since_ms = steady_ms;
	}
	c->leapt_ms = MIN(c->leapt_ms, began_ms);
	if (steady_ms - c->since_ms >= EXPIRY_LEAP_MS)
		*c = (struct expiry_clock){.began_ms = c->leapt_ms};
	return MIN(wall_ms, c->began_ms + steady_ms);
}

/* The first day that is kept; 0: all are. */
static uint32_t expiry_day(struct authd *a)
{
	static const uint32_t keep_days[] = CONFIG_KEEP_PERSONAL_DAYS;
	uint64_t now_ms = expiry_believed_ms(&a->expiry.clock, authd_now(a).unix_ms, expiry_steady_ms());
	uint32_t keep = keep_days[a->config.auditd.keep_personal], today = subjects_day(now_ms / 1000);

	return keep && today > keep && !a->config.auditd.legal_hold ? today - keep : 0;
}

static void on_expiry_timer(uv_timer_t *timer);

static void expiry_again(struct authd *a, uint64_t ms)
{
	(void)uv_timer_start(&a->expiry.timer, on_expiry_timer, ms, 0);
}

static int expiry_answer(struct authd *a, const char *text)
{
	struct ipc_conn *conn = a->expiry.conn;

	a->expiry.conn = NULL;
	return conn ? admin_done(conn, a->expiry.id, text) : 0;
}

static void expiry_end(struct authd *a, int e)
{
	char text[96];

	a->expiry.running = false;
	expiry_again(a, EXPIRY_EVERY_MS);
	(void)snprintf(text, sizeof(text), "%zu subjects: the keys of days that are over are destroyed", a->expiry.n);
	if (e)
		(void)snprintf(text, sizeof(text), "it could not be brought to an end: %s", subjects_err_text(e));
	if (expiry_answer(a, text) < 0)
		daemon_stop(&a->daemon);
}

static void expiry_step(struct authd *a)
{
	bool done = false;
	size_t n = 0;
	int e = subjects_expire(a->subjects, a->expiry.day, a->expiry.cursor, &n, &done);

	a->expiry.n += n;
	if (e || done)
		expiry_end(a, e);
	else
		expiry_again(a, EXPIRY_PAUSE_MS);
}

static int effect_expire(struct operation *op)
{
	struct authd *a = op->authd;

	if (a->expiry.running) /* it was not yet when this one was asked for */
		return admin_refuse(op->conn, op->id, "busy", "it is under way");
	a->expiry.running = true;
	a->expiry.n = 0;
	a->expiry.cursor[0] = 0;
	a->expiry.conn = op->conn;
	a->expiry.id = op->id;
	expiry_step(a);
	return 0;
}

/* Is there one whose keys go back too far? */
static bool expiry_needed(struct authd *a, uint32_t day)
{
	struct store_subject one;
	size_t n = 0;

	return day > 0 && store_subjects_before(a->store, day, SPAN_NULL, &one, 1, &n) == 0 && n > 0;
}

/* Records it; the effect follows. */
static int expiry_begin(struct authd *a, struct ipc_conn *conn, uint64_t id, uint32_t day)
{
	time_t seconds = (time_t)day * 86400;
	struct tm tm = {0};
	char text[24];

	struct operation *op = operation_new(a, conn, id, effect_expire);
	if (!op)
		return admin_refuse_busy(conn, id);
	a->expiry.day = day;
	(void)strftime(text, sizeof(text), "%Y-%m-%d", gmtime_r(&seconds, &tm));
	return operation_start(op, &(struct proto_event){.code = EVENT_AUDIT_EXPIRE,
							 .actor = conn ? SPAN_NULL : SPAN_LIT("authd"),
							 .resource = span_str(text)});
}

static void on_expiry_timer(uv_timer_t *timer)
{
	struct authd *a = timer->data;
	uint32_t day = expiry_day(a);

	if (a->expiry.running) {
		expiry_step(a);
		return;
	}
	expiry_again(a, EXPIRY_EVERY_MS);
	if (!a->authorize.pepper.p || day == 0)
		return;
	if (expiry_needed(a, day)) {
		if (expiry_begin(a, NULL, 0, day) < 0)
			daemon_stop(&a->daemon);
	} else if (store_credential_sync(a->store)) {
		expiry_again(a, EXPIRY_FIRST_MS); /* said in the log */
	}
}

int admin_audit_expire(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd)
{
	struct authd *a = ctx;
	uint32_t day = expiry_day(a);

	(void)msg;
	(void)fd;
	if (a->config.auditd.legal_hold)
		return admin_refuse(conn, id, "legal_hold", "auditd.legal_hold is set; nothing expires");
	if (!a->authorize.pepper.p)
		return admin_refuse(conn, id, "sealed", "the vault is not open: run `bulkhead vault unseal`");
	if (a->expiry.running)
		return admin_refuse(conn, id, "busy", "it is under way");
	if (expiry_needed(a, day))
		return expiry_begin(a, conn, id, day);
	int e = store_credential_sync(a->store);
	return e ? admin_refuse_store(conn, id, e)
		 : admin_done(conn, id,
			      a->expiry.clock.leapt_ms
				      ? "nothing has expired; the clock was set ahead, and counts a day later"
				      : "nothing has expired");
}

void expiry_start(struct authd *a)
{
	a->expiry.timer.data = a;
	a->expiry.clock.began_ms = UINT64_MAX / 2; /* so that whatever it says now is behind it */
	(void)expiry_believed_ms(&a->expiry.clock, authd_now(a).unix_ms, expiry_steady_ms());
	(void)uv_timer_init(&a->daemon.loop, &a->expiry.timer);
	expiry_again(a, EXPIRY_FIRST_MS);
}

void expiry_stop(struct authd *a)
{
	uv_close((uv_handle_t *)&a->expiry.timer, NULL);
}
