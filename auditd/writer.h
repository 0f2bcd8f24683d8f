/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: entries are collected by the loop while a worker thread makes the previous batch durable. One job at a
 * time touches the ledger; between jobs, and only then, the loop's thread may read it (on_idle). What touches nothing
 * that they touch runs beside them, because a commit shall wait for no disk but its own: the making of the next
 * segment, the syncing of the tree's files before it is begun, and whatever writer_run_beside() is given.
 *
 * A batch takes two jobs. After the first its entries are durable, and whoever waits for them is told; the second makes
 * them part of the tree.
 *
 * A batch leaves when it is urgent, when it has `commit_records`, or `commit_ms` after its first entry or after the job
 * that ran then: a commit costs the same for one entry as for many. A failed write is never tried again: on_failed must
 * end the process.
 */
#pragma once

#include <uv.h>

#include "auditd/ledger.h"

enum writer_err {
	WRITER_E_FULL = 1, /* as much is waiting as may wait: the producer must be held back */
};

/* A job for the worker thread; `done` runs on the loop. */
struct writer_task {
	int (*run)(void *ctx);
	void (*done)(void *ctx, int result);
	void *ctx;
};

struct writer_spec {
	size_t commit_records;
	uint64_t commit_ms;
	void (*on_recorded)(void *ctx, const struct ledger_batch *batch); /* durable; on the loop, as all of these */
	void (*on_idle)(void *ctx);           /* the ledger may be read until this returns; after every job */
	void (*on_failed)(void *ctx, int r);  /* does not return */
	void (*on_no_room)(void *ctx, int r); /* the next segment, or the spare, cannot be made; this one has room */
	bool lean;                            /* neither shall be made before writer_reserve_again() */
	void *ctx;
};

struct writer {
	struct writer_spec spec;
	struct ledger *ledger;
	uv_loop_t *loop;
	uv_work_t job, reserve, beside;
	uv_timer_t timer;
	struct ledger_batch batches[2];
	struct ledger_batch *filling, *writing;
	const struct writer_task *task, *running, *besides; /* the one that waits, the ones that run */
	int job_result, reserve_result, spare_result, beside_result;
	bool busy, growing, due, poked, reserving, making, reserved, turning, syncing, synced;
	uint64_t reserved_for, reserve_again_ms;
	uint64_t commits, entries;
};

/* Starts the thread pool: before the sandbox. For a ledger that is not writable, on_idle is all that it does. 0 or
 * negative. */
MUST_USE int writer_init(struct writer *w, uv_loop_t *loop, struct ledger *ledger, const struct writer_spec *spec);
/* Nothing may be running. The timer is closed when the loop has run. */
void writer_close(struct writer *w);
void writer_deinit(struct writer *w);

/* 0, WRITER_E_FULL or negative. */
MUST_USE int writer_add(struct writer *w, const struct proto_leaf *leaf, bool urgent);
/* The same of an EVENT as it came: ledger_batch_add_event(). */
MUST_USE int writer_add_event(struct writer *w, const struct proto_leaf_head *head, struct span fields, bool urgent);
/* One at a time; kept by reference until done. */
void writer_run(struct writer *w, const struct writer_task *task);
/* The same for what touches nothing of the ledger that changes: runs at once. */
void writer_run_beside(struct writer *w, const struct writer_task *task);
/* The segment is to end before it is full. False while the tree's files are synced beside the commits, as they are
 * before an end for want of room; on_idle is called when they are. */
MUST_USE bool writer_may_turn(struct writer *w);
/* There may be room for the next segment and the spare now: it is looked whether they are there, and they are made. */
void writer_reserve_again(struct writer *w);
/* Calls on_idle now, or after the job that runs. */
void writer_poke(struct writer *w);
/* Nothing waits and nothing runs. */
bool writer_quiet(const struct writer *w);
/* What waits leaves without further ado. */
void writer_hurry(struct writer *w);
