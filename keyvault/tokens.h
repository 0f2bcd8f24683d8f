/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens: one call for all egress workers. The core cannot make it, having no network; it says who does, keeps
 * what came of it in the arena, and hands that to the others. Sans I/O.
 *
 *   nothing ---- somebody asks ----> leased ---- put ----> token ---- used up or refused ----> nothing
 *                                      |  '- put with a new secret -> pending - stored -^
 *                                      '---- failed: nobody may try for a moment
 *
 * A refresh token that was replaced by its service is worth nothing any more, so its successor must not be lost: it is
 * sealed at once, is pending until authd has it on disk, and only then anybody is told of the token. While it is
 * pending it is sent again and again. After a start, and after a worker is lost, a moment passes before such a
 * credential is leased anew: a worker may be about to report.
 *
 * A worker may be captured. It can do what a lease lets it do, and use it up: the next in turn waits for one lease. It
 * has its part of the table and no more, what it left behind when it went is gone unless somebody may yet report, and
 * it can have a lease that this core did not give, to hold it or to put what came of it, only as long after the start
 * as there can be one. What comes of a lease whose time is over is taken as long as nobody has been given the next.
 *
 * Tokens lie in an arena of their own, so that they take no room from anything else. When it is full, the one that ends
 * first goes, for it can be got again: one that the same worker has put, where that has put more than half.
 */
#pragma once

#include "common/list.h"
#include "common/secret.h"
#include "keyvault/lanes.h"
#include "proto/reasons.h"

#define TOKENS_ID_BYTES_MAX 64
#define TOKENS_MAX          1024
#define TOKENS_PEER_MAX     256   /* of them, in which one peer makes the call or waits for it */
#define TOKENS_LEASE_MS     15000 /* longer than an egress tries */
#define TOKENS_SETTLE_MS    1500
#define TOKENS_RESEND_MS    2000
#define TOKENS_DENIED_MS    10000 /* the service said no: the next try will not be better */
#define TOKENS_FAILED_MS    1000

struct tokens_waiter {
	void *peer;
	uint64_t id; /* of its message */
};

struct tokens_entry {
	struct list in_tokens;
	char id[TOKENS_ID_BYTES_MAX + 1];
	bool rotating;       /* its secret is replaced by use */
	struct secret token; /* null: none */
	uint64_t serial, until_ms;
	uint64_t lease, lease_until_ms; /* 0: nobody has it */
	bool late;                      /* it is over: others may have the next, its holder may still put */
	uint64_t lease_end_ms;          /* however often it is lost and held anew */
	void *holder;                   /* NULL with a lease: was lost just now */
	const void *from;               /* who has put the token; NULL: is gone */
	uint8_t *blob;                  /* pending; NULL: nothing is */
	size_t blob_len;
	uint64_t blob_version, resend_at_ms;
	enum reason failed;
	uint64_t retry_at_ms;
	struct tokens_waiter waiters[LANES_MAX]; /* one a peer */
	size_t n_waiters;
};

/* How a waiter is answered, once. `lease` says why not when the secret cannot be had. `store` sends the pending blob.
 */
struct tokens_out {
	void (*token)(void *ctx, struct tokens_waiter w, const struct tokens_entry *e, uint64_t life_ms);
	enum reason (*lease)(void *ctx, struct tokens_waiter w, const struct tokens_entry *e);
	void (*none)(void *ctx, struct tokens_waiter w, enum reason why);
	void (*store)(void *ctx, const struct tokens_entry *e);
};

struct tokens {
	struct secret_arena *arena; /* of tokens alone */
	const struct tokens_out *out;
	void *ctx;
	struct list all;
	size_t n;
	uint64_t last_serial, settled_at_ms;
	uint64_t inherits_until_ms; /* so long there may be leases of a core before this one */
};

enum tokens_err {
	TOKENS_E_FULL = 1, /* no room */
	TOKENS_E_LEASE,    /* not this peer's to say */
};

void tokens_init(struct tokens *t, struct secret_arena *arena, const struct tokens_out *out, void *ctx);
/* The vault has opened. */
void tokens_open(struct tokens *t, uint64_t now_ms);
/* The vault is closed: wipes everything, answers all. */
void tokens_close(struct tokens *t);

/* `serial`: of the token that is of no more use, 0: none. 0 (it is or will be answered) or TOKENS_E_FULL: the table is,
 * or the peer's part of it. */
MUST_USE int tokens_take(struct tokens *t, struct span id, bool rotating, uint64_t serial, struct tokens_waiter w,
			 uint64_t unix_ms, uint64_t now_ms);
/* May this peer say what came of `lease`? */
bool tokens_holds(const struct tokens *t, struct span id, uint64_t lease, const void *peer, uint64_t now_ms);
/* What came of it. `blob` of `version`: the secret that replaces the one used; empty: none does. Both are copied; the
 * arena that `token` lies in is open. 0 (w is or will be answered), TOKENS_E_FULL, TOKENS_E_LEASE. */
MUST_USE int tokens_put(struct tokens *t, struct span id, uint64_t lease, uint64_t life_ms, struct span token,
			struct span blob, uint64_t version, struct tokens_waiter w, uint64_t unix_ms, uint64_t now_ms);
void tokens_fail(struct tokens *t, struct span id, uint64_t lease, enum reason why, const void *peer, uint64_t now_ms);
/* A worker has a lease of before: of this core on a connection that was lost, or of the core before it. Anything else
 * changes nothing. */
void tokens_hold(struct tokens *t, struct span id, bool rotating, uint64_t lease, void *peer, uint64_t now_ms);
void tokens_peer_gone(struct tokens *t, const void *peer, uint64_t now_ms);

/* NULL: nothing is pending. */
const struct tokens_entry *tokens_pending(const struct tokens *t, struct span id);
bool tokens_any_pending(const struct tokens *t);
void tokens_stored(struct tokens *t, struct span id, uint64_t now_ms);
/* The credential was removed or replaced. */
void tokens_drop(struct tokens *t, struct span id);
/* Of all there are, those of which this says so. */
void tokens_drop_if(struct tokens *t, bool (*is_void)(void *ctx, struct span id), void *ctx);
/* True while there is something to wait for. */
bool tokens_tick(struct tokens *t, uint64_t now_ms);
