/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts and how they hang together:
 *
 *   producers.c   EVENT, GAP -> leaves -> writer -> RECORDED        router, authd, keyvault, egress
 *   checkpoint.c  tree -> SIGN_CHECKPOINT -> checkpoint              keyvault
 *   reader.c      AUDIT_READ                                         cli
 *   receipts.c    RECEIPT_FIND -> RECEIPT_FOUND                      authd, cli
 *   pruner.c      AUDIT_RETENTION; removes what is over              cli
 *   writer.c      group commit over ledger.c
 *   readonly.c    what is left when the log cannot be written
 *
 * Everything here runs on the loop's thread; the ledger is touched by writer jobs, and by the loop only in on_idle.
 */
#pragma once

#include "auditd/pruner.h"
#include "auditd/receipts.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/ipc.h"

#define READERS_MAX 20

/* A producer as the loop knows it; what is accepted may be in a batch, what is recorded is durable. */
struct producer {
	uint8_t role, worker;
	uint8_t boot[16];
	uint64_t accepted_seq, recorded_seq, recorded_index, pending; /* of this name, whichever process: not durable */
	struct ipc_conn *conn;                                        /* NULL: not connected */
	bool touched;                                                 /* by the batch that is being reported */
	struct {
		uint8_t boot[16];
		uint64_t accepted_seq, recorded_seq;
	} before; /* the process before this one, while this one has said nothing: it may be the one that stays */
};

struct producer_edge {
	struct auditd *a;
	enum role role;
	struct ipc_edge *edge;
};

struct reader {
	struct ipc_conn *conn; /* NULL: free */
	uint64_t id, from, max, deadline_ms;
};

struct checkpointer {
	struct ipc_edge *edge;
	bool told, adopting,
		open; /* the signer told its size and key on this connection: not looked at, looked at, good */
	struct note_key told_key, key;   /* with told; with open */
	uint64_t told_size, signed_size; /* the same */
	bool working, urgent; /* between the decision and the publication; somebody should not wait for the interval */
	bool hurried;         /* the last one came before its time */
	uint64_t next_ms, size; /* not before; that is being signed */
	struct merkle_hash root;
	struct merkle_proof proof;
	char note[LEDGER_NOTE_MAX];
	size_t note_len;
	struct writer_task prepare, publish, adopt;
	uv_timer_t timer;
};

struct auditd {
	struct daemon daemon;
	struct config config;
	struct ledger *ledger;
	struct writer writer;
	struct producer_edge edges[4];
	struct producer producers[SOURCES_MAX];
	size_t n_producers;
	struct checkpointer checkpointer;
	struct ipc_edge *admin;
	struct reader readers[READERS_MAX];
	uv_timer_t reader_timer;
	bool failed; /* the log is not what was signed, or not writable: nothing is recorded any more */
	struct {
		bool damaged, trying;
		unsigned tries;
		int result;
		uv_work_t work;
		uv_timer_t timer;
	} readonly;
	struct receipts receipts;
	struct pruner pruner;
	uint64_t gaps, overruns;
};

/* producers.c */
MUST_USE int producers_serve(struct auditd *a);
/* Records an event of auditd itself; *ret_seq is its number. 0 or negative. */
MUST_USE int producers_record_own(struct auditd *a, const struct proto_leaf *what, uint64_t *ret_seq);
/* Makes auditd's first words durable, before anything runs. 0 or negative. */
MUST_USE int producers_record_start(struct auditd *a);
void producers_recorded(struct auditd *a, const struct ledger_batch *batch);
void producers_drop_all(struct auditd *a, const char *why);

/* checkpoint.c */
MUST_USE int checkpoint_connect(struct auditd *a);
void checkpoint_consider(struct auditd *a); /* from on_idle */
void checkpoint_close(struct auditd *a);

/* reader.c */
MUST_USE int readers_serve(struct auditd *a);
void readers_answer(struct auditd *a); /* from on_idle */
void readers_close(struct auditd *a);

/* readonly.c: with a->ledger->unwritable */
MUST_USE int readonly_serve(struct auditd *a);
void readonly_drain(struct auditd *a);
void readonly_tell_full(struct auditd *a, const char *why); /* why retention does not help */
void readonly_close(struct auditd *a);

/* main.c. The log is not the one that was signed: records no more, keeps everything, says so until somebody comes. */
void auditd_fail(struct auditd *a, const char *why);
/* Ends the process, to be started again: what could not be done, or why it might be done now. Neither returns. */
void auditd_die(struct auditd *a, int r);
void auditd_again(struct auditd *a, const char *why);
