/* SPDX-License-Identifier: Apache-2.0 */
/* The core as a process: the vault, its edges, its line to the log. One instance, on main's stack. */
#pragma once

#include "common/audit_client.h"
#include "common/daemon.h"
#include "common/ipc.h"
#include "keyvault/rotation.h"
#include "keyvault/tokens.h"
#include "proto/reasons.h"

struct core {
	struct daemon daemon;
	struct config config;
	struct secret_arena *arena, *token_arena;
	struct vault vault;
	struct tokens tokens;
	uv_timer_t tokens_tick; /* while one is waited for */
	struct audit_client *audit;
	struct ipc_edge *authd, *egress, *auditd, *admin; /* served; filled in by core_serve() */
	bool sealed_by_hand;                              /* since start */
	bool complete;                                    /* authd has said what there is, since start */
	uint64_t unseals, rejects, signatures;            /* counters, since start */
	struct core_rotation rotation;
	struct core_retirements retirements;
};

/* ---- tell.c: 0 or negative, unless void ---- */

/* Readiness, peers and log after the vault was opened, and after it was closed; at start either may be the case. */
MUST_USE int core_opened(struct core *c, const char *actor);
MUST_USE int core_closed(struct core *c, const char *actor);
MUST_USE int core_announce_start(struct core *c);
/* A peer has connected: what it must know. It is dropped if it cannot be told. */
void core_meet_authd(struct core *c, struct ipc_conn *conn);
void core_meet_egress(struct core *c, struct ipc_conn *conn);
void core_meet_auditd(struct core *c, struct ipc_conn *conn);
/* What authd makes from now on is of another series, and it renews nothing of an older one. That series. */
uint64_t core_next_series(struct core *c, bool new_keys);
/* EDGE_KEY_KNOWN: authd makes grants with it. */
void core_edge_key_known(struct core *c, unsigned worker, uint64_t epoch);
/* To every egress but one (NULL: to all): forget this credential. */
MUST_USE int core_drop_credential(struct core *c, struct span id, uint32_t version, const struct ipc_conn *but);

/* As ipc_send, but a peer that does not read is dropped: it is told the state anew when it connects again. */
MUST_USE int core_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg);
MUST_USE int core_refuse(struct ipc_conn *conn, uint64_t id, const char *reason, const char *text);
MUST_USE int core_refuse_vault(struct ipc_conn *conn, uint64_t id, int e);
uint64_t core_unix_ms(void);
MUST_USE int core_done(struct ipc_conn *conn, uint64_t id, const char *text);

#define CORE_ACTOR_BYTES 32
/* Who acts through an admin socket: the uid behind it. */
void core_actor(const struct ipc_conn *conn, char to[CORE_ACTOR_BYTES]);
void core_record(struct core *c, enum event_code code, const char *actor, struct span credential, const char *reason);
/* A sealed credential was refused, VAULT_E_*: counted, logged, recorded. */
void core_reject(struct core *c, const char *actor, struct span credential, int e);

void core_each_authd(struct core *c, enum proto_type type, const void *msg);

/* ---- dispatch_tokens.c ---- */

MUST_USE int core_tokens_start(struct core *c);
void core_tokens_stop(struct core *c);
ipc_handler core_handle_token_take, core_handle_token_put, core_handle_token_fail, core_handle_token_hold;
/* authd has sent what it has. True: the very secret that we asked it to store. */
bool core_is_pending(struct core *c, const struct proto_credential_load *m);
void core_note_stored(struct core *c, struct span id);
/* authd has said what there is. */
void core_note_complete(struct core *c);
/* authd's connection, NULL while it is away. */
struct ipc_conn *core_authd(struct core *c);

/* ---- dispatch.c ---- */

/* An answer that waits until the log has its record. One at a time for each connection, whose context it is; wiped when
 * freed. */
struct core_answer {
	struct ipc_conn *conn; /* NULL: the operator has gone */
	uint64_t id;
	enum proto_type type; /* VAULT_ADDED, VAULT_SOURCED, VAULT_FERNET or VAULT_BACKED_UP */
	size_t len;
	uint8_t bytes[SEAL_BYTES_MAX];
	struct secret_arena *arena;
	struct secret shares; /* of VAULT_BACKED_UP */
};

/* 0, IPC_E_VIOLATION (one is waiting already) or negative. */
MUST_USE int core_answer_new(struct ipc_conn *conn, uint64_t id, enum proto_type type, struct core_answer **ret_answer);
struct core_answer *core_answer_free(struct core_answer *a);
/* Takes the answer over: it is sent when the record is durable, else a refusal. 0 or negative. */
MUST_USE int core_answer_when_recorded(struct core *c, struct core_answer *a, enum event_code code,
				       struct proto_binding *about);
MUST_USE int core_answer_when(struct core *c, struct core_answer *a, const struct proto_event *event);
/* The same for a blob just sealed, `r` being what sealing returned. */
MUST_USE int core_answer_sealed(struct core *c, struct core_answer *a, int r);

/* ---- dispatch_fernet.c: handlers of the admin edge ---- */

ipc_handler core_import_fernet, core_export_fernet, core_rotate_fernet;

/* ---- dispatch_backup.c: the same ---- */
ipc_handler core_backup, core_restore;
/* What makes a proof of the operator's wrong: told, recorded, logged. 0 or negative. */
MUST_USE int core_refuse_proof(struct core *c, struct ipc_conn *conn, uint64_t id, int e);
/* VAULT_BACKED_UP. 0 or negative. */
MUST_USE int core_backup_send(const struct core_answer *a);

/* ---- dispatch_source.c and dispatch_revoke.c: the same ---- */

ipc_handler core_source, core_revoke_grants;

/* ---- dispatch.c, the tables ---- */

/* Serves every edge. The vault must have been started. 0 or negative. */
MUST_USE int core_serve(struct core *c);
/* Closes the timers, so that the loop can end. */
void core_close(struct core *c);
/* A daemon.metrics function. */
void core_metrics(void *ctx, char *to, size_t cap);
