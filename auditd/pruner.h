/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention in the daemon: looks once an hour, or when an operator asks, what is over (retention.h); has log.prune
 * recorded and signed; removes (prune.h), some files at a time with pauses between, by jobs beside the writer's.
 *
 *   IDLE -> LOOKING -> TURNING -> RECORDING -> SIGNING -> BEGINNING -> BEGUN -> REMOVING -> IDLE
 *
 * TURNING when the segment that is written becomes old: the log goes on in another. What is not due is passed over.
 *
 * A removal that a stop interrupted goes on at the next start, if the record that it rests on is in the signed log.
 *
 * When room runs short it does not wait for its hour. On a full disk nothing can be recorded, so nothing new can be
 * removed: then it looks, and if something is over gives up the spare (segment.h) and has auditd start anew. What
 * begins without a spare, lean, looks first, and takes room for itself only when that is over.
 *
 *   IDLE -> LOOKING -> YIELDING -> the next life: IDLE -> LOOKING -> RECORDING ...
 */
#pragma once

#include "auditd/prune.h"
#include "auditd/writer.h"
#include "common/ipc.h"

#define PRUNER_ASKS_MAX 4
#define PRUNER_DAY_NS   UINT64_C(86400000000000)
/* A segment holds no more than this part of what is kept, or a day: so much longer than promised may a record stay. */
#define PRUNER_SLICES 24

struct auditd;

enum pruner_doing {
	PRUNER_IDLE,
	PRUNER_LOOKING,
	PRUNER_TURNING,
	PRUNER_RECORDING,
	PRUNER_SIGNING,
	PRUNER_BEGINNING,
	PRUNER_BEGUN,
	PRUNER_REMOVING,
	PRUNER_YIELDING,
};

struct pruner_ask {
	struct ipc_conn *conn; /* NULL: free */
	uint64_t id;
	bool now;
};

struct pruner {
	const char *keep; /* as configured */
	uint64_t keep_ns; /* 0: for ever */
	bool hold;
	enum pruner_doing doing;
	bool act;     /* what is found to be over goes */
	bool wanted;  /* a look */
	bool answer;  /* whoever asks */
	bool running; /* a job; what it works on is its own */
	int result;
	uv_work_t work;
	uv_timer_t timer;
	struct writer_task turn;
	struct retention_clock clock;
	struct retained retained, before;
	struct prune_look look;
	struct prune prune;
	uint64_t *firsts; /* the ledger's, when they were looked at */
	size_t n_firsts;
	uint64_t behind_ns;  /* of the clock, at the last look */
	uint64_t seq, index; /* of log.prune: auditd's own event, and the record that it became */
	struct pruner_ask asks[PRUNER_ASKS_MAX];
	uint64_t pruned_total; /* records, since start */
	uint64_t hurried_ms;   /* when room ran short last */
	char full[200];        /* the disk is, and this is why nothing is done about it */
};

/* The log could be written if its disk were not full; what was recorded to be removed can be. */
bool pruner_is_full(const struct auditd *a);

static inline uint64_t pruner_slice_ns(const struct pruner *p)
{
	return MIN(p->keep_ns / PRUNER_SLICES, PRUNER_DAY_NS);
}

/* 0 or negative. */
MUST_USE int pruner_init(struct auditd *a);
void pruner_close(struct auditd *a);
void pruner_deinit(struct auditd *a);
/* The next thing to do: from on_idle. */
void pruner_consider(struct auditd *a);
/* Before this process ends by itself: what it saw of time, the next one knows. */
void pruner_save_clock(struct auditd *a);
/* There is no room for the next segment or the spare. */
void pruner_hurry(struct auditd *a);
/* From on_recorded. */
void pruner_recorded(struct auditd *a, const struct ledger_batch *batch);

/* pruner_status.c */
/* Tells whoever asks, from on_idle. */
void pruner_answer(struct auditd *a);
/* The peer is gone. */
void pruner_forget(struct auditd *a, const struct ipc_conn *conn);
/* AUDIT_RETENTION of an operator; ctx is the struct auditd. */
ipc_handler pruner_handle_operator;
