/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/pruner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auditd/auditd.h"
#include "common/err.h"

#define PRUNER_FIRST_MS   60000
#define PRUNER_EVERY_MS   3600000
#define PRUNER_FULL_MS    10000
#define PRUNER_SIGNING_MS 5000 /* then whoever asks is told that it waits */
#define PRUNER_PAUSE_MS   5
#define PRUNER_FILES      256 /* in one job */

static uint64_t pruner_time_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* ---- from one thing to the next ---- */

static void on_pruner_work(uv_work_t *work);
static void on_pruner_done(uv_work_t *work, int status);
static void on_pruner_timer(uv_timer_t *timer);
static void pruner_looked(struct auditd *a);

static void pruner_later(struct auditd *a, uint64_t ms)
{
	(void)uv_timer_start(&a->pruner.timer, on_pruner_timer, ms, 0);
}

static void pruner_rest(struct auditd *a)
{
	a->pruner.doing = PRUNER_IDLE;
	a->pruner.act = false;
	a->pruner.answer = true;
	pruner_later(a, pruner_is_full(a) ? PRUNER_FULL_MS : PRUNER_EVERY_MS);
	writer_reserve_again(&a->writer);
}

static void pruner_fail(struct auditd *a, const char *what, int r)
{
	const char *why = r < 0 ? strerrordesc_np(-r) : "it is not as it was written; see `bulkhead audit verify`";

	log_event(&a->daemon.log, LOG_AUDIT_PRUNE_FAILED, LOG_STR("what", what), LOG_STR("why", why));
	pruner_rest(a);
}

static void pruner_job(struct auditd *a, enum pruner_doing doing)
{
	struct pruner *p = &a->pruner;

	p->doing = doing;
	p->work.data = a;
	p->running = uv_queue_work(&a->daemon.loop, &p->work, on_pruner_work, on_pruner_done) == 0;
	if (!p->running)
		pruner_fail(a, "a job", -EAGAIN);
}

/* ---- looking ---- */

bool pruner_is_full(const struct auditd *a)
{
	return a->ledger->unwritable == -ENOSPC || a->ledger->unwritable == -EDQUOT;
}

/* Read-only is failed, too; but a full disk gets room by what is removed. */
static bool pruner_is_stopped(const struct auditd *a)
{
	return (a->failed && !pruner_is_full(a)) || a->daemon.draining;
}

static bool pruner_may(const struct auditd *a)
{
	return a->pruner.keep_ns > 0 && !a->pruner.hold && !pruner_is_stopped(a);
}

static void pruner_look(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	const struct ledger *l = a->ledger;
	uint64_t wall = pruner_time_ns(CLOCK_REALTIME);

	p->wanted = false;
	if (l->n_firsts == 0) { /* a disk that was full from the start: there is nothing to look at */
		pruner_looked(a);
		return;
	}
	uint64_t *firsts = reallocarray(p->firsts, l->n_firsts, sizeof(*firsts));
	if (!firsts) {
		pruner_fail(a, "a look", -ENOMEM);
		return;
	}
	memcpy(firsts, l->firsts, l->n_firsts * sizeof(*firsts));
	p->firsts = firsts;
	p->n_firsts = l->n_firsts;
	p->look.firsts = firsts;
	p->look.n = l->n_firsts;
	p->look.wall_ns = wall;
	p->look.now_ns = retention_clock_now(&p->clock, wall, pruner_time_ns(CLOCK_BOOTTIME));
	p->look.keep_ns = p->keep_ns;
	p->look.newest_before_ns = p->retained.newest_ns;
	p->look.signed_size = l->has_checkpoint ? l->published.size : 0;
	p->behind_ns = wall - MIN(wall, p->clock.believed_ns);
	p->retained.clock_ns = p->clock.believed_ns;
	pruner_job(a, PRUNER_LOOKING);
}

static bool pruner_turn_is_due(const struct pruner *p)
{
	const struct prune_look *l = &p->look;

	return l->active_ns > 0 && l->wall_ns > l->active_ns && l->wall_ns - l->active_ns >= pruner_slice_ns(p);
}

/* Has it recorded; what is removed is what was found, whatever is over by the time that it is signed. */
static void pruner_announce(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	char resource[48];

	(void)snprintf(resource, sizeof(resource), "%" PRIu64 "-%" PRIu64, p->firsts[0], p->look.end - 1);
	const struct proto_leaf leaf = {
		.code = EVENT_LOG_PRUNE,
		.resource = span_str(resource),
		.reason = span_str(p->keep),
		.bytes = p->look.end,
		.digest = span_of(p->look.root.b, sizeof(p->look.root.b)),
	};
	p->doing = PRUNER_RECORDING; /* before: it may be durable before we are back here */
	if (producers_record_own(a, &leaf, &p->seq) < 0)
		pruner_fail(a, "log.prune", -ENOSPC);
}

/* The log goes on in another segment where that was due. */
static void pruner_proceed(struct auditd *a)
{
	if (a->pruner.look.end > 0)
		pruner_announce(a);
	else
		pruner_rest(a);
}

/* Nothing can be recorded: there must be room for that first. */
static void pruner_looked_full(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	const struct segment *s = &a->ledger->segment;

	if (p->look.end > 0 && segment_has_spare(s)) {
		pruner_job(a, PRUNER_YIELDING);
		return;
	}
	if (p->look.end > 0)
		readonly_tell_full(a, "records are over, but there is no room to record that they go");
	else
		readonly_tell_full(a, "nothing is older than auditd.keep_records yet");
	pruner_rest(a);
}

static void pruner_looked(struct auditd *a)
{
	struct pruner *p = &a->pruner;

	if (p->result)
		pruner_fail(a, p->result > 0 ? p->look.where : "a segment that is over", p->result);
	else if (pruner_is_full(a) && pruner_may(a))
		pruner_looked_full(a);
	else if (!p->act || !pruner_may(a))
		pruner_rest(a);
	else if (pruner_turn_is_due(p) && a->writer.reserved)
		p->doing = PRUNER_TURNING;
	else
		pruner_proceed(a);
	writer_poke(&a->writer);
}

/* ---- recording, signing ---- */

void pruner_recorded(struct auditd *a, const struct ledger_batch *batch)
{
	struct pruner *p = &a->pruner;

	if (p->doing != PRUNER_RECORDING)
		return;
	for (size_t i = batch->told; i < batch->durable; i++) {
		const struct source *s = &batch->items[i].source;
		if (s->role != ROLE_AUDITD || s->last_seq != p->seq ||
		    memcmp(s->boot, a->daemon.boot, sizeof(s->boot)) != 0)
			continue;
		p->index = batch->first_index + i;
		p->doing = PRUNER_SIGNING;
		pruner_later(a, PRUNER_SIGNING_MS);
	}
}

/* It is signed: what the file says from now on is done, whatever happens. */
static void pruner_begin(struct auditd *a)
{
	struct pruner *p = &a->pruner;

	if (!pruner_may(a)) {
		pruner_rest(a);
		return;
	}
	p->before = p->retained;
	p->retained = (struct retained){
		.clock_ns = p->clock.believed_ns,
		.newest_ns = p->look.newest_ns,
		.first = p->firsts[0],
		.end = p->look.end,
		.index = p->index,
		.time_ns = pruner_time_ns(CLOCK_REALTIME),
	};
	(void)snprintf(p->retained.keep, sizeof(p->retained.keep), "%s", p->keep);
	pruner_job(a, PRUNER_BEGINNING);
}

static size_t pruner_n_over(const struct pruner *p)
{
	size_t n = 0;

	while (n < p->n_firsts && p->firsts[n] < p->retained.end)
		n++;
	return n;
}

/* ---- removing ---- */

static void pruner_removed(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	char text[48];

	if (p->result == 0) {
		pruner_later(a, PRUNER_PAUSE_MS);
	} else if (p->result == PRUNE_E_DONE) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, p->retained.first, p->retained.end - 1);
		log_event(&a->daemon.log, LOG_AUDIT_PRUNED, LOG_STR("records", text),
			  LOG_STR("keep_records", p->retained.keep));
		p->pruned_total += p->retained.end - p->retained.first;
		pruner_rest(a);
	} else { /* it is not over: what the file says stays to be done */
		log_event(&a->daemon.log, LOG_AUDIT_PRUNE_FAILED, LOG_STR("what", "a file of what was removed"),
			  LOG_STR("why", strerrordesc_np(-p->result)));
		pruner_later(a, PRUNER_FIRST_MS);
	}
}

/* ---- jobs and turns ---- */

static void on_pruner_work(uv_work_t *work)
{
	struct auditd *a = work->data;
	struct pruner *p = &a->pruner;

	if (p->doing == PRUNER_LOOKING) {
		int r = pruner_is_full(a) ? 0 : retained_write(p->look.dir, &p->retained);
		p->result = r ? r : prune_look(&p->look);
	} else if (p->doing == PRUNER_YIELDING) {
		int r = segment_give_spare(&a->ledger->segment);
		p->result = r ? r : retained_write(p->look.dir, &p->retained); /* the next life's clock */
	} else if (p->doing == PRUNER_BEGINNING) {
		p->result = prune_begin(&p->prune, p->look.dir, &p->retained, p->firsts, pruner_n_over(p));
	} else {
		p->result = prune_step(&p->prune, PRUNER_FILES);
	}
}

static void on_pruner_done(uv_work_t *work, int status)
{
	struct auditd *a = work->data;
	struct pruner *p = &a->pruner;

	(void)status;
	p->running = false;
	if (p->doing == PRUNER_LOOKING) {
		pruner_looked(a);
	} else if (p->doing == PRUNER_REMOVING) {
		pruner_removed(a);
	} else if (p->doing == PRUNER_YIELDING && p->result) {
		pruner_fail(a, "seg/spare", p->result);
	} else if (p->doing == PRUNER_YIELDING) {
		auditd_again(a, "the disk is full; seg/spare was given up, so that retention can remove what is over");
	} else if (p->result) {
		p->retained = p->before;
		pruner_fail(a, RETAINED_FILE, p->result);
	} else {
		p->doing = PRUNER_BEGUN;
	}
	writer_poke(&a->writer);
}

static void on_pruner_timer(uv_timer_t *timer)
{
	struct auditd *a = timer->data;
	struct pruner *p = &a->pruner;

	if (p->doing == PRUNER_REMOVING && !p->running && !pruner_is_stopped(a)) {
		pruner_job(a, PRUNER_REMOVING);
	} else if (p->doing == PRUNER_IDLE) {
		p->wanted = p->act = true;
		pruner_later(a, PRUNER_EVERY_MS);
	} else {
		p->answer = true;
	}
	writer_poke(&a->writer);
}

static int run_pruner_turn(void *ctx)
{
	return ledger_turn(((struct auditd *)ctx)->ledger);
}

static void on_pruner_turned(void *ctx, int r)
{
	(void)r; /* a failure has ended the process */
	pruner_proceed(ctx);
}

void pruner_save_clock(struct auditd *a)
{
	struct pruner *p = &a->pruner;

	if (p->running) /* it may be writing that file */
		return;
	(void)retention_clock_now(&p->clock, pruner_time_ns(CLOCK_REALTIME), pruner_time_ns(CLOCK_BOOTTIME));
	p->retained.clock_ns = p->clock.believed_ns;
	int r = retained_write(a->ledger->dir, &p->retained);
	if (r)
		log_event(&a->daemon.log, LOG_AUDIT_PRUNE_FAILED, LOG_STR("what", RETAINED_FILE),
			  LOG_STR("why", strerrordesc_np(-r)));
}

void pruner_hurry(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	uint64_t now_ms = uv_now(&a->daemon.loop);

	if (p->doing != PRUNER_IDLE || (p->hurried_ms > 0 && now_ms - p->hurried_ms < PRUNER_FIRST_MS))
		return;
	p->hurried_ms = now_ms;
	p->wanted = p->act = true;
}

/* Between two jobs of the writer's: the ledger may be read, and its list of segments changed. */
void pruner_consider(struct auditd *a)
{
	struct pruner *p = &a->pruner;

	if (p->doing == PRUNER_IDLE && p->wanted && !p->answer && pruner_may(a)) {
		pruner_look(a);
	} else if (p->doing == PRUNER_IDLE && p->wanted) {
		p->wanted = false;
		p->answer = true;
	} else if (p->doing == PRUNER_TURNING && !a->writer.task && a->writer.running != &p->turn &&
		   writer_may_turn(&a->writer)) {
		writer_run(&a->writer, &p->turn);
	} else if (p->doing == PRUNER_SIGNING && a->ledger->has_checkpoint && a->ledger->published.size > p->index) {
		pruner_begin(a);
	} else if (p->doing == PRUNER_BEGUN) {
		ledger_forget(a->ledger, p->retained.end);
		p->answer = true;
		pruner_job(a, PRUNER_REMOVING);
	}
	if (p->answer)
		pruner_answer(a);
}

/* ---- life ---- */

/* Is it what the signed log says? What the file says counts for nothing else. */
static bool pruner_is_covered(struct auditd *a)
{
	const struct retained *what = &a->pruner.retained;
	const struct ledger *l = a->ledger;
	struct span bundle, bytes;
	struct proto_leaf leaf;
	uint8_t *owned = NULL;

	if (!l->has_checkpoint || what->index >= l->published.size ||
	    tree_leaves(&a->ledger->tree, what->index, &bundle, &owned))
		return false;
	bool covered = tile_bundle_next(&bundle, &bytes) && leaf_unpack(bytes, &leaf) == 0 &&
		       leaf.code == EVENT_LOG_PRUNE && leaf.role == ROLE_AUDITD && leaf.bytes == what->end;
	free(owned);
	return covered;
}

/* What a stop interrupted. */
static int pruner_resume(struct auditd *a)
{
	struct pruner *p = &a->pruner;
	const struct ledger *l = a->ledger;

	if (p->retained.done || p->hold || pruner_is_stopped(a))
		return 0;
	if (!pruner_is_covered(a)) {
		log_event(&a->daemon.log, LOG_AUDIT_PRUNE_FAILED, LOG_STR("what", RETAINED_FILE),
			  LOG_STR("why", "it speaks of a removal that the log does not know; nothing is removed"));
		p->retained.done = true;
		return 0;
	}
	p->firsts = reallocarray(NULL, l->n_firsts, sizeof(*p->firsts));
	if (!p->firsts)
		return err_origin(-ENOMEM);
	memcpy(p->firsts, l->firsts, l->n_firsts * sizeof(*p->firsts));
	p->n_firsts = l->n_firsts;
	prune_resume(&p->prune, l->dir, &p->retained, p->firsts, pruner_n_over(p));
	ledger_forget(a->ledger, p->retained.end);
	p->doing = PRUNER_REMOVING;
	return 0;
}

int pruner_init(struct auditd *a)
{
	static const char *const words[] = CONFIG_KEEP_RECORDS_WORDS;
	static const uint32_t days[] = CONFIG_KEEP_RECORDS_DAYS;
	struct pruner *p = &a->pruner;
	uint64_t wall = pruner_time_ns(CLOCK_REALTIME);

	p->keep = words[a->config.auditd.keep_records];
	p->keep_ns = days[a->config.auditd.keep_records] * PRUNER_DAY_NS;
	p->hold = a->config.auditd.legal_hold;
	p->turn = (struct writer_task){run_pruner_turn, on_pruner_turned, a};
	p->timer.data = a;
	int r = prune_look_init(&p->look, a->ledger->dir);
	if (!r)
		r = retained_read(a->ledger->dir, &p->retained);
	if (r < 0)
		return r;
	/* A log without that file: its own records say until when time passed. */
	uint64_t known = r == 0 ? p->retained.clock_ns : a->ledger->newest_ns ? a->ledger->newest_ns : wall;
	p->clock = (struct retention_clock){.believed_ns = known, .steady_ns = pruner_time_ns(CLOCK_BOOTTIME)};
	r = uv_timer_init(&a->daemon.loop, &p->timer);
	if (!r)
		r = pruner_resume(a);
	bool soon = p->doing == PRUNER_REMOVING || a->writer.spec.lean || pruner_is_full(a);
	if (!r)
		pruner_later(a, soon ? PRUNER_PAUSE_MS : PRUNER_FIRST_MS);
	return r;
}

void pruner_close(struct auditd *a)
{
	uv_close((uv_handle_t *)&a->pruner.timer, NULL);
}

void pruner_deinit(struct auditd *a)
{
	prune_look_deinit(&a->pruner.look);
	free(a->pruner.firsts);
}
