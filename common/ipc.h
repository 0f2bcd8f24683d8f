/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to other daemons: typed messages over the edges of edges.def, on a libuv loop.
 *
 * A daemon never creates a socket for this. Its launcher hands it bound listeners (for edges where it serves) and, on
 * request, connected sockets (for edges where it is the client); so no seccomp list needs socket(), connect() or
 * bind(), and a peer's identity is the socket it came in on. What this module adds: HELLO in both directions, decoding
 * against the peer's role, dispatch by table, call ids with deadlines, reconnection, quotas, descriptor passing.
 *
 * Everything sent within one loop turn leaves in one write, before the loop sleeps. A message view is valid until its
 * handler returns.
 */
#pragma once

#include <uv.h>

#include "common/list.h"
#include "proto/proto.h"

struct ipc;      /* all edges of one process */
struct ipc_edge; /* one edge: a listener or a link, and its specification */
struct ipc_conn; /* one connected peer, HELLO done */

enum ipc_err {
	IPC_E_DOWN = 1,  /* no connected peer */
	IPC_E_FULL,      /* the peer reads too slowly: its queue is at the limit; nothing was queued */
	IPC_E_VIOLATION, /* returned by a handler: the peer broke the protocol; it is dropped */
};

/* A handler: 0, IPC_E_VIOLATION, or negative for a fatal error. `msg` is the struct of the row's type. `fd` is the
 * handler's to close if >= 0. */
typedef int ipc_handler(void *ctx, struct ipc_conn *conn, uint64_t id, const void *msg, int fd);

struct ipc_row {
	enum proto_type type;
	ipc_handler *handle;
};

/* A client that restarts may be back before its end was noticed; and operators are several. */
#define IPC_CONNS_MAX 8
#define IPC_CLIS_MAX  64

/* Kept by reference: static. */
struct ipc_edge_spec {
	enum role peer;
	const struct ipc_row *rows;
	size_t n_rows;
	void (*on_open)(void *ctx, struct ipc_conn *conn);  /* HELLO done; may send; may be NULL */
	void (*on_close)(void *ctx, struct ipc_conn *conn); /* last mention of conn; may be NULL */
	void (*on_drain)(void *ctx, struct ipc_conn *conn); /* a queue that had to wait is empty again; may be NULL */
	size_t tx_bytes_max;                                /* queue limit; 0: 4 MiB */
	size_t conns_max;                                   /* a server has of one client; 0: IPC_CONNS_MAX */
};

enum ipc_outcome { IPC_REPLY, IPC_TIMEOUT, IPC_LOST };

/* `desc` and `msg` are NULL unless `outcome` is IPC_REPLY; called exactly once for each accepted call. */
typedef void ipc_reply(void *ctx, enum ipc_outcome outcome, const struct proto_desc *desc, const void *msg, int fd);

/* Made by daemon_init(). Before a SECRET edge is served or connected: `buffers` is where its messages lie in the
 * directions that can carry secrets, `arena`, maybe the same, what their handlers find open too; ipc owns neither. */
struct secret_arena;
void ipc_set_arena(struct ipc *ipc, struct secret_arena *arena, struct secret_arena *buffers);

/* Serves `spec->peer` on the listeners that the launcher handed over. 0 or negative. */
MUST_USE int ipc_serve(struct ipc *ipc, const struct ipc_edge_spec *spec, void *ctx, struct ipc_edge **ret_edge);
/* Keeps a link to `spec->peer`'s instance (worker `peer_worker`), asking the launcher again when it is lost. */
MUST_USE int ipc_connect(struct ipc *ipc, const struct ipc_edge_spec *spec, unsigned peer_worker, void *ctx,
			 struct ipc_edge **ret_edge);
/* The link's connection, NULL while it is down. */
struct ipc_conn *ipc_edge_conn(struct ipc_edge *edge);
/* A server's connected peers. */
void ipc_edge_each(struct ipc_edge *edge, void (*each)(void *arg, struct ipc_conn *conn), void *arg);

/* `before` is called each time before what was sent leaves: what it sends leaves with it. For one user, who gathers
 * work over a loop turn as this module gathers frames. */
void ipc_set_before_flush(struct ipc *ipc, void (*before)(void *ctx), void *ctx);

/* Queues a message. 0, IPC_E_DOWN (conn NULL), IPC_E_FULL, or negative (out of bounds: a defect of ours). */
MUST_USE int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg);
/* As ipc_send, for what nobody waits for: it leaves with the next message to that peer, or IPC_LATER_MS later by
 * itself, so that a quiet gateway does not wake a peer twice for one request. */
#define IPC_LATER_MS 5
MUST_USE int ipc_send_later(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg);
/* A message that proto_pack() wrote already, now or later. */
MUST_USE int ipc_send_packed(struct ipc_conn *conn, enum proto_type type, struct span packed, bool later);
/* With a descriptor, which is consumed (closed after sending) in every case, error included. */
MUST_USE int ipc_send_fd(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg, int fd);
/* Sends and awaits one answer with the same id, from any message type that the peer may send. Errors as ipc_send, and
 * then `reply` is not called. *ret_id serves ipc_forget(). fd: -1, or consumed as above. */
MUST_USE int ipc_call(struct ipc_conn *conn, enum proto_type type, const void *msg, int fd, uint64_t deadline_ms,
		      ipc_reply *reply, void *ctx, uint64_t *ret_id);
/* The caller is no longer interested; the late answer is dropped. Unknown ids are ignored. */
void ipc_forget(struct ipc_conn *conn, uint64_t id);
/* Ends the connection; on_close follows, from the loop. Idempotent. `why` goes to the log. */
COLD void ipc_drop(struct ipc_conn *conn, const char *why);

/* Unsent bytes in the queue: the producer of bulk data stops above a limit and goes on when on_drain says so. */
size_t ipc_queued(const struct ipc_conn *conn);

void *ipc_conn_ctx(const struct ipc_conn *conn); /* a place for the user's own pointer, NULL at first */
void ipc_conn_set_ctx(struct ipc_conn *conn, void *ctx);
/* The body of the frame that a handler was called for, until it returns. */
struct span ipc_conn_frame(const struct ipc_conn *conn);
unsigned ipc_conn_worker(const struct ipc_conn *conn);     /* of the peer; from the socket's name, not from HELLO */
const uint8_t *ipc_conn_boot(const struct ipc_conn *conn); /* 16 bytes of the peer's HELLO */
uint64_t ipc_conn_peer_uid(const struct ipc_conn *conn);   /* SO_PEERCRED */

/* The loop that all of this runs on, for the user's own timers. */
uv_loop_t *ipc_loop(const struct ipc *ipc);
struct daemon *ipc_daemon(const struct ipc *ipc);
/* The time of the current loop turn: monotonic, as libuv keeps it; the same to the microsecond and Unix time, read when
 * a turn first asks. Under load a turn handles hundreds of messages, all of which were there when it began. */
uint64_t ipc_now_ms(const struct ipc *ipc);
uint64_t ipc_now_us(struct ipc *ipc);
uint64_t ipc_unix_ns(struct ipc *ipc);
/* Likewise, of what a message of this turn tells; read anew where it is said to be of a later time than the turn. */
uint64_t ipc_unix_ns_after(struct ipc *ipc, uint64_t ns);
