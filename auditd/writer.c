/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/writer.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"

/* Producers have at most AUDIT_WINDOW events under way each (common/audit_client.h), their predecessors as
 * many: this is room for 16 of them. */
#define WRITER_ENTRIES_MAX      16384
#define WRITER_BYTES_MAX        (8U << 20)
#define WRITER_RESERVE_AGAIN_MS 5000
/* With so much of a segment left, the tree's files are synced: all must be when the next one begins, and that may take
 * as long as the whole file system has something to write. */
#define WRITER_SYNC_PART 16

static void writer_step(struct writer *w);
static void on_commit_timer(uv_timer_t *timer);

/* ---- the next segment ---- */

static void on_reserve(uv_work_t *work)
{
	struct writer *w = work->data;
	const struct segment *s = &w->ledger->segment;

	w->reserve_result = w->syncing ? ledger_sync_tree(w->ledger) : w->making ? segment_reserve(s) : 0;
	w->spare_result = w->making && w->reserve_result == 0 ? segment_keep_spare(s) : 0;
}

static void on_tree_synced(struct writer *w)
{
	w->syncing = false;
	if (w->reserve_result)
		w->spec.on_failed(w->spec.ctx, w->reserve_result);
}

static void on_reserved(uv_work_t *work, int status)
{
	struct writer *w = work->data;

	(void)status;
	w->reserving = false;
	if (w->syncing)
		on_tree_synced(w);
	else
		w->reserved = w->making && w->reserve_result == 0;
	if (w->reserve_result || w->spare_result) {
		w->reserve_again_ms = uv_now(w->loop) + WRITER_RESERVE_AGAIN_MS;
		w->spec.on_no_room(w->spec.ctx, w->reserve_result ? w->reserve_result : w->spare_result);
	}
	w->poked = true; /* who waits for quiet may have waited for this alone */
	writer_step(w);
}

static bool writer_turns_soon(const struct writer *w)
{
	return w->turning || segment_room(&w->ledger->segment) < w->ledger->segment.size / WRITER_SYNC_PART;
}

static void writer_reserve(struct writer *w)
{
	if (w->reserved_for != w->ledger->segments) {
		w->reserved_for = w->ledger->segments;
		w->reserved = w->turning = w->synced = false;
	}
	if (w->reserving || w->ledger->unwritable)
		return;
	w->making = !w->reserved && !w->spec.lean && uv_now(w->loop) >= w->reserve_again_ms;
	if (w->reserved && !w->synced && writer_turns_soon(w))
		w->syncing = w->synced = true;
	else if (!w->making)
		return;
	w->reserving = uv_queue_work(w->loop, &w->reserve, on_reserve, on_reserved) == 0;
}

bool writer_may_turn(struct writer *w)
{
	w->turning = true;
	writer_reserve(w);
	return w->synced && !w->reserving;
}

/* ---- jobs ---- */

static void on_job(uv_work_t *work)
{
	struct writer *w = work->data;

	if (w->running)
		w->job_result = w->running->run(w->running->ctx);
	else if (w->growing)
		w->job_result = ledger_grow(w->ledger, w->writing);
	else
		w->job_result = ledger_commit(w->ledger, w->writing);
}

static void on_job_done(uv_work_t *work, int status);

static void writer_start(struct writer *w)
{
	w->busy = true;
	int r = uv_queue_work(w->loop, &w->job, on_job, on_job_done);
	if (r)
		w->spec.on_failed(w->spec.ctx, r);
}

/* True when all of the batch is durable and in the tree; else the next job of it runs. */
static bool writer_batch_done(struct writer *w)
{
	w->growing = !w->growing;
	if (w->growing)
		w->spec.on_recorded(w->spec.ctx, w->writing);
	if (!w->growing && w->writing->durable == w->writing->n) {
		w->commits++;
		w->entries += w->writing->n;
		ledger_batch_clear(w->writing);
		return true;
	}
	writer_start(w);
	return false;
}

static void on_job_done(uv_work_t *work, int status)
{
	struct writer *w = work->data;
	const struct writer_task *task = TAKE(w->running);

	(void)status;
	w->busy = false;
	if (task) {
		if (w->job_result < 0)
			w->spec.on_failed(w->spec.ctx, w->job_result);
		task->done(task->ctx, w->job_result);
	} else {
		if (w->job_result)
			w->spec.on_failed(w->spec.ctx, w->job_result);
		if (!writer_batch_done(w))
			return;
	}
	if (w->filling->n > 0)
		(void)uv_timer_start(&w->timer, on_commit_timer, w->spec.commit_ms, 0);
	w->poked = true;
	writer_step(w);
}

static bool writer_wants_commit(const struct writer *w)
{
	const struct ledger_batch *b = w->filling;

	return b->n > 0 && (w->due || b->urgent || b->n >= w->spec.commit_records);
}

/* What to do next; the only place that starts a job. */
static void writer_step(struct writer *w)
{
	if (w->busy)
		return;
	if (w->poked) {
		w->poked = false;
		w->spec.on_idle(w->spec.ctx);
	}
	if (w->busy) /* on_idle came back here by way of writer_run() */
		return;
	writer_reserve(w);
	if (w->task) {
		w->running = TAKE(w->task);
		writer_start(w);
		return;
	}
	/* A batch that needs the next segment waits until that one is made. */
	if (!writer_wants_commit(w) || (w->reserving && w->filling->len > segment_room(&w->ledger->segment)))
		return;
	(void)uv_timer_stop(&w->timer);
	w->due = false;
	struct ledger_batch *full = w->filling;
	w->filling = w->writing;
	w->writing = full;
	writer_start(w);
}

static void on_commit_timer(uv_timer_t *timer)
{
	struct writer *w = timer->data;

	w->due = true;
	writer_step(w);
}

/* ---- what auditd calls ---- */

static int writer_added(struct writer *w, int r, bool urgent)
{
	if (r == LEDGER_E_FULL)
		return WRITER_E_FULL;
	if (r)
		return r;
	w->filling->urgent |= urgent;
	if (w->filling->n == 1 && !w->busy)
		(void)uv_timer_start(&w->timer, on_commit_timer, w->spec.commit_ms, 0);
	if (writer_wants_commit(w))
		writer_step(w);
	return 0;
}

int writer_add(struct writer *w, const struct proto_leaf *leaf, bool urgent)
{
	return writer_added(w, ledger_batch_add(w->filling, leaf), urgent);
}

int writer_add_event(struct writer *w, const struct proto_leaf_head *head, struct span fields, bool urgent)
{
	return writer_added(w, ledger_batch_add_event(w->filling, head, fields), urgent);
}

void writer_run(struct writer *w, const struct writer_task *task)
{
	assert(!w->task && w->running != task);
	w->task = task;
	writer_step(w);
}

static void on_beside(uv_work_t *work)
{
	struct writer *w = work->data;

	w->beside_result = w->besides->run(w->besides->ctx);
}

static void on_beside_done(uv_work_t *work, int status)
{
	struct writer *w = work->data;
	const struct writer_task *task = TAKE(w->besides);

	(void)status;
	if (w->beside_result < 0)
		w->spec.on_failed(w->spec.ctx, w->beside_result);
	task->done(task->ctx, w->beside_result);
	writer_poke(w);
}

void writer_run_beside(struct writer *w, const struct writer_task *task)
{
	assert(!w->besides);
	w->besides = task;
	int r = uv_queue_work(w->loop, &w->beside, on_beside, on_beside_done);
	if (r)
		w->spec.on_failed(w->spec.ctx, r);
}

void writer_reserve_again(struct writer *w)
{
	w->spec.lean = w->reserved = false;
	writer_poke(w);
}

void writer_poke(struct writer *w)
{
	w->poked = true;
	writer_step(w);
}

bool writer_quiet(const struct writer *w)
{
	return !w->busy && !w->reserving && !w->task && !w->besides && w->filling->n == 0;
}

void writer_hurry(struct writer *w)
{
	w->due = w->filling->n > 0;
	writer_poke(w);
}

/* The pool's threads are made at the first job, and the sandbox lets nobody make a thread: so there is a first job. */
static int writer_start_pool(struct writer *w)
{
	w->reserving = true;
	w->making = !w->spec.lean;
	int r = uv_queue_work(w->loop, &w->reserve, on_reserve, on_reserved);
	if (r)
		return err_origin(r);
	w->reserved_for = w->ledger->segments;
	return 0;
}

int writer_init(struct writer *w, uv_loop_t *loop, struct ledger *ledger, const struct writer_spec *spec)
{
	*w = (struct writer){.spec = *spec, .ledger = ledger, .loop = loop};
	w->job.data = w->reserve.data = w->beside.data = w->timer.data = w;
	w->filling = &w->batches[0];
	w->writing = &w->batches[1];
	int r = ledger_batch_init(w->filling, WRITER_ENTRIES_MAX, WRITER_BYTES_MAX);
	if (!r)
		r = ledger_batch_init(w->writing, WRITER_ENTRIES_MAX, WRITER_BYTES_MAX);
	if (!r)
		r = uv_timer_init(loop, &w->timer);
	return r || ledger->unwritable ? r : writer_start_pool(w);
}

void writer_close(struct writer *w)
{
	uv_close((uv_handle_t *)&w->timer, NULL);
}

void writer_deinit(struct writer *w)
{
	ledger_batch_deinit(&w->batches[0]);
	ledger_batch_deinit(&w->batches[1]);
}
