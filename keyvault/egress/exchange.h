/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream of the lane: a request to a provider and its answer.
 *
 *   GRANT -> CREDENTIAL -> (RECORD) -> CONNECT -> SEND -> HEAD -> BODY -> OVER
 *
 * GRANT waits for the key that grants are checked with, when the egress or the core has just started; CREDENTIAL for
 * one that is not there yet; RECORD, in strict mode only, for the log to have the record of what is about to happen.
 *
 * From every state to OVER when something fails, the router cancels, or a deadline passes. CONNECT comes again after
 * SEND at most once: when a connection that had been idle turns out dead before it took a byte of the request.
 * CREDENTIAL comes again when the one that was found is replaced before that.
 */
#pragma once

#include "common/sha256.h"
#include "keyvault/egress/credential.h"
#include "keyvault/egress/reply.h"
#include "keyvault/egress/request.h"

struct egress;
struct intent;
struct lane;

/* The core's answer, and a token that is got anew; a little longer than both, which have deadlines of their own. */
#define EGRESS_INTENT_MS       2000
#define EXCHANGE_CREDENTIAL_MS (CREDENTIAL_DEADLINE_MS + 25000)
#define EXCHANGE_TURNS_MAX     8

/* S(STATE, deadline in ms (0: connect_timeout_ms), what is wrong when it passes, states that may follow besides OVER)
 */
#define EXCHANGE_STATES(S)                                                                                      \
	S(GRANT, 1000, GRANT_STALE, BIT(EXCHANGE_CREDENTIAL))                                                   \
	S(CREDENTIAL, EXCHANGE_CREDENTIAL_MS, VAULT_SEALED, BIT(EXCHANGE_RECORD) | BIT(EXCHANGE_CONNECT))       \
	S(RECORD, EGRESS_INTENT_MS + 1000, AUDIT_GONE, BIT(EXCHANGE_CONNECT))                                   \
	S(CONNECT, 0, UPSTREAM_TIMEOUT, BIT(EXCHANGE_SEND) | BIT(EXCHANGE_CREDENTIAL))                          \
	S(SEND, 60000, UPSTREAM_TIMEOUT, BIT(EXCHANGE_HEAD) | BIT(EXCHANGE_CONNECT) | BIT(EXCHANGE_CREDENTIAL)) \
	S(HEAD, 3600000, UPSTREAM_TIMEOUT, BIT(EXCHANGE_BODY))                                                  \
	S(BODY, 3600000, UPSTREAM_TIMEOUT, 0)                                                                   \
	S(OVER, 0, NONE, 0)

enum exchange_state {
#define S(NAME, deadline_ms, late, next) EXCHANGE_##NAME,
	EXCHANGE_STATES(S)
#undef S
		N_EXCHANGE_STATES,
};

/* What came of a read: bytes of eg->in, and 0 or TLS_E_*; `more` can be read without the socket. */
struct relay_read {
	size_t at, len;
	int answer;
	bool more;
};

struct exchange {
	struct egress *eg;
	struct lane *lane;
	uint64_t id;
	enum exchange_state state;
	bool running, cancelled;
	struct list in_state, in_lane, in_stalled, in_readable;
	uint64_t deadline_ms, began_us;

	struct exchange_request request;
	bool authentic;
	char request_id[65], tenant[65], principal[65], credential_id[65];
	char host[POOL_HOST_BYTES]; /* of the grant's route */
	uint16_t port;

	struct credential *credential;
	struct credential_key *key; /* what is sent, and scrubbed */
	struct credential_waiter credential_waiter;
	struct intent *intent; /* while in RECORD */
	struct upstream *upstream;
	struct pool_waiter pool_waiter;

	struct secret first; /* the first record, while the socket is too full for it */
	size_t first_len;    /* head and beginning of the body */
	size_t sent;         /* of head and body together */
	size_t head_len;
	bool retried, promised, sent_any; /* promised: to the log, before sent_any */
	unsigned turns;                   /* how often its credential was replaced meanwhile */
	bool spare, refused; /* the grant has another try; the provider answered 401, which is not passed on then */

	struct relay_read read;
	struct reply reply;
	struct scrub_pass scrub;
	struct sha256 digest; /* of what has left the scrubber: no byte of a secret is in it */
	uint8_t head_digest[SHA256_BYTES];
	uint64_t body_bytes, credit;
	unsigned status;
	bool head_sent, reply_over, unclean;
	enum reason why; /* REASON_NONE: complete */
};

/* OPEN. Takes fd, if any. 0, IPC_E_VIOLATION or negative. */
MUST_USE int exchange_open(struct egress *eg, struct lane *lane, uint64_t id, const struct proto_open *open, int fd);
/* The edge key has come: whoever waited for it goes on. */
void exchange_key(struct egress *eg);
void exchange_credit(struct exchange *x, uint64_t bytes);
/* relay_turn() has read from its connection. */
void exchange_read(struct exchange *x);
/* The router is no longer interested: ends at once and says nothing. */
void exchange_cancel(struct exchange *x);
/* Ends it with BROKEN. */
COLD void exchange_break(struct exchange *x, enum reason why);
void exchange_timeout(struct exchange *x);
