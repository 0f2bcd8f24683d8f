/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts on request: authd asks for a key's owner, an operator for anybody. A question is looked up by a job beside
 * the writer's (finder.h). One whose record is not there waits until everything that was recorded shortly after it came
 * is in a signed checkpoint, since whoever has just had an answer may ask at once; then it is known that there is none.
 */
#pragma once

#include "auditd/finder.h"
#include "common/buf.h"
#include "common/ipc.h"

#define RECEIPTS_WAITING_MAX 64

struct auditd;

struct receipts_ask {
	struct ipc_conn *conn; /* NULL: free */
	uint64_t id, serial;
	char request_id[65], tenant[65], actor[65];
	bool looked;
	uint64_t looked_size;             /* and found nothing among so many */
	uint64_t until_size;              /* nor will there be, once so many are signed; UINT64_MAX: not known yet */
	uint64_t settled_ms, deadline_ms; /* when until_size is taken; when the question is answered whatever comes */
};

struct receipts {
	struct receipts_ask asks[RECEIPTS_WAITING_MAX];
	size_t n;
	bool closed;
	uint64_t serial;
	struct finder finder;
	uv_timer_t timer;
	struct {
		bool running;
		uv_work_t work;
		struct receipts_ask ask; /* a copy: whoever asked may be gone */
		int result;
		uint64_t size;
		struct buf text;
	} job;
	uint64_t found, missed; /* counters, since start */
};

/* 0 or negative. */
MUST_USE int receipts_init(struct auditd *a);
void receipts_close(struct auditd *a);
void receipts_deinit(struct auditd *a);
/* Answers, and looks for what can be looked for: from on_idle. */
void receipts_answer(struct auditd *a);
/* The peer is gone. */
void receipts_forget(struct auditd *a, const struct ipc_conn *conn);
/* RECEIPT_FIND of authd, which must name an owner, and of an operator; ctx is the struct auditd. */
ipc_handler receipts_handle_owner, receipts_handle_operator;
