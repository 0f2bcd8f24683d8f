/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/ipc share; nobody else includes it. */
#pragma once

#include "common/daemon.h"
#include "common/edges.h"
#include "common/ipc.h"
#include "common/secret.h"

#define IPC_RX_BYTES         (PROTO_FRAME_BYTES_MAX + 4 + 65536)
#define IPC_SECRET_BYTES     16384 /* each buffer of a secret direction: such frames are small */
#define IPC_TX_BYTES_DEFAULT (4U << 20)
#define IPC_FDS_MAX          16 /* descriptors in flight per direction */
#define IPC_CALLS_MAX        4096
#define IPC_HELLO_MS         5000
#define IPC_RETRY_MS_MAX     2000
#define IPC_TICK_MS          20

/* A buffer in ordinary memory that grows, or in the arena, where it cannot. Bytes lie at [begin, end). */
struct ipc_buf {
	uint8_t *mem;
	size_t begin, end, cap, max;
	struct secret secret; /* mem is its p when it is in the arena */
	bool dirty;           /* held a frame of class SECRET since it was last wiped */
};

struct ipc_call {
	uint64_t id; /* 0: free */
	uint64_t deadline_ms;
	ipc_reply *reply;
	void *ctx;
	uint32_t next_free;
};

enum ipc_state { IPC_CONN_HELLO, IPC_CONN_OPEN, IPC_CONN_CLOSING };

struct ipc_conn {
	struct ipc *ipc;
	struct ipc_edge *edge;         /* NULL for the control channel */
	struct ipc_listener *listener; /* servers only */
	struct list in_edge, in_dirty;
	enum ipc_state state;
	enum role peer;
	unsigned worker;
	uint8_t boot[16];
	uint64_t peer_uid;
	uint64_t hello_deadline_ms; /* servers only; 0: none */
	int fd;
	uv_poll_t poll;
	bool opened;  /* HELLO was heard: on_open ran, on_close is owed */
	bool blocked; /* the kernel's buffer is full: waiting for UV_WRITABLE */
	bool cut;     /* the peer reads no more: what it has said is heard yet */
	struct ipc_buf rx, tx;
	struct {
		uint64_t pos; /* stream position of the frame that it travels with */
		int fd;
	} tx_fds[IPC_FDS_MAX];
	int rx_fds[IPC_FDS_MAX];
	size_t n_tx_fds, n_rx_fds;
	uint64_t tx_pos; /* stream position of tx.begin */
	struct ipc_call *calls;
	uint32_t n_calls, free_call, live_calls;
	uint64_t call_count;
	void *user;
};

struct ipc_listener {
	struct ipc_edge *edge;
	unsigned client_worker;
	int fd;
	uv_poll_t poll;
	size_t n_conns;
};

struct ipc_edge {
	struct ipc *ipc;
	struct list in_ipc, conns;
	const struct ipc_edge_spec *spec;
	void *ctx;
	bool serves;
	/* serving */
	struct ipc_listener *listeners;
	size_t n_listeners;
	/* connecting */
	char name[EDGE_NAME_BYTES];
	unsigned peer_worker;
	struct ipc_conn *link; /* NULL while down */
	bool asked;            /* LINK sent, no answer yet */
	uint64_t retry_at_ms, retry_ms, opened_ms;
};

struct ipc {
	struct daemon *d;
	struct secret_arena *arena, *buffers;
	struct list edges, dirty, later; /* connections with bytes to write: before this sleep, or soon */
	struct ipc_conn *control;
	uv_prepare_t flush;
	void (*before_flush)(void *ctx); /* NULL: nobody wants to know */
	void *before_flush_ctx;
	uv_timer_t tick, hurry;   /* hurry: `later` becomes dirty */
	uint64_t now_us, unix_ns; /* 0: this turn has not asked yet */
	bool closing;
};

/* ipc_buf.c */
MUST_USE int ipc_buf_init(struct ipc_buf *b, struct secret_arena *arena, size_t cap, size_t max);
void ipc_buf_deinit(struct ipc_buf *b, struct secret_arena *arena);
/* Room for more than now, up to max. 0, IPC_E_FULL or -ENOMEM. */
MUST_USE int ipc_buf_grow(struct ipc_buf *b);
void ipc_buf_consume(struct ipc_buf *b, size_t len);

/* ipc_conn.c: adopts fd in every case. */
MUST_USE int ipc_conn_new(struct ipc *ipc, struct ipc_edge *edge, enum role peer, unsigned worker, int fd,
			  struct ipc_conn **ret_conn);
void ipc_conn_flush(struct ipc_conn *c);
/* Ends the loop's life as a whole: a handler met a broken machine. */
COLD void ipc_fatal(struct ipc *ipc, int r);

/* ipc_call.c */
/* True when the message answered a call of ours, or a forgotten one. */
bool ipc_call_answer(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, const void *msg, int fd);
void ipc_call_expire(struct ipc_conn *c, uint64_t now_ms);
COLD void ipc_call_lost(struct ipc_conn *c);

/* ipc_edge.c */
/* A decoded message from an open peer, or the HELLO of a new one. 0, IPC_E_VIOLATION or negative. */
MUST_USE int ipc_edge_message(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, const void *msg, int fd);
void ipc_edge_closed(struct ipc_conn *c);
/* Something has a deadline now. */
void ipc_arm(struct ipc *ipc);
/* Something is in `later` now. */
void ipc_arm_later(struct ipc *ipc);

/* ipc_admin.c */
MUST_USE int ipc_admin_message(struct ipc_conn *c, uint64_t id, const struct proto_desc *desc, bool *ret_mine);

/* ipc_edge.c; called by daemon.c */
MUST_USE int ipc_new(struct daemon *d, struct ipc **ret_ipc);
/* The admin socket, for a daemon that has no messages of its own there: STATUS and METRICS are answered by all. */
MUST_USE int ipc_serve_admin(struct ipc *ipc);
/* Starts closing everything; memory goes with ipc_free() once the loop has run dry. */
void ipc_close(struct ipc *ipc);
struct ipc *ipc_free(struct ipc *ipc);
