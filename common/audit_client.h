/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer's side of the audit log. Events get the producer's own sequence number and stay in a bounded ring until
 * auditd says that they are durable. While auditd is away they wait; when the ring is full the newest are counted and
 * later reported as a gap: nothing blocks, and nothing is lost silently. After a reconnect RESUME tells what was kept,
 * and the rest is sent again. What a killed process had in its ring is counted too: common/tally.h.
 */
#pragma once

#include "common/ipc.h"
#include "proto/events.h"

struct audit_client;

enum audit_err {
	AUDIT_E_DOWN = 1, /* auditd is away or too slow: a must-ack effect must not happen */
};

/* So many are under way, not yet durable, at most. auditd holds back who has more. */
#define AUDIT_WINDOW 1024

/* `durable` is true when the record is on disk, false when auditd could not confirm in time: then refuse. */
typedef void audit_done(void *ctx, bool durable);

/*
 * `events_max`: ring size; `config_digest`: of the configuration that is in force. Records daemon.start; records
 * daemon.stop when the daemon has been told to stop, and then waits for the ring to become empty, for so long:
 */
#define AUDIT_FAREWELL_MS 5000
/* 0 or negative. */
MUST_USE int audit_client_new(struct ipc *ipc, size_t events_max, const uint8_t config_digest[32],
			      struct audit_client **ret_client);
/* Before daemon_deinit(), after which the last of it is gone. Whoever still waits is told false. NULL is fine. */
struct audit_client *audit_client_free(struct audit_client *c);
/* auditd, for questions of one's own; NULL while it is away. */
struct ipc_conn *audit_client_conn(struct audit_client *c);
/* Data plane: takes a copy; seq and time_ns are filled in, and what the event's row has not is left out. Cannot fail
 * visibly. */
void audit_record(struct audit_client *c, const struct proto_event *event);
/* An effect is about to be seen outside whose event comes later: audit_record_promised(), or audit_forget_promise() if
 * there was no effect. Should this process be killed in between, the log will say that an event is missing. */
void audit_promise(struct audit_client *c);
void audit_record_promised(struct audit_client *c, const struct proto_event *event);
void audit_forget_promise(struct audit_client *c);
/* Must-ack: `done` is called exactly once, within deadline_ms. 0 or AUDIT_E_DOWN (then `done` is not called). */
MUST_USE int audit_record_wait(struct audit_client *c, const struct proto_event *event, uint64_t deadline_ms,
			       audit_done *done, void *ctx);
