/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a provider's answer: where it ends, whether the connection may be used again, and the few fields that may go on
 * to a client. The most exposed parser of the vault: it sits beside credentials and its input is chosen by others.
 *
 * Sans I/O. Feed bytes in any pieces; the sink hears of the head once and then of body bytes with transfer coding taken
 * off.
 */
#pragma once

#include <llhttp.h>

#include "common/base.h"
#include "proto/proto.h"

#define REPLY_HEAD_BYTES_MAX 65536
#define REPLY_FIELDS_MAX     100
#define REPLY_PASSED_MAX     48
#define REPLY_INTERIM_MAX    8
#define REPLY_OVERHEAD_MAX   16384 /* bytes of framing and trailers between two bytes of body */

struct reply_sink {
	/* `passed`: permitted fields, renamed; views valid during the call. */
	void (*head)(void *ctx, unsigned status, const struct proto_header *passed, size_t n);
	void (*body)(void *ctx, struct span bytes);
};

enum reply_state { REPLY_HEAD, REPLY_BODY, REPLY_DONE };

enum reply_err {
	REPLY_E_INVALID = 1, /* not the HTTP/1.1 that is accepted here */
	REPLY_E_REDIRECT,    /* status 3xx other than 304 */
	REPLY_E_TOO_LARGE,   /* body above the limit */
	REPLY_E_CUT,         /* the connection ended before the answer did */
};

struct reply {
	enum reply_state state;
	llhttp_t parser;
	const struct reply_sink *sink;
	void *ctx;
	uint8_t *head; /* only while a head has come in part */
	size_t head_len, head_cap, line_begin;
	uint64_t body_bytes, body_bytes_max;
	size_t overhead;
	unsigned interim;
	bool to_head_request, until_close, keep_alive, head_seen, body_seen, too_large;
};

/* `method` is the request's. Cannot fail. */
void reply_init(struct reply *r, enum proto_method method, uint64_t body_bytes_max, const struct reply_sink *sink,
		void *ctx);
void reply_deinit(struct reply *r);
/* *ret_used < in.len only when the answer is complete. 0, REPLY_E_INVALID, _REDIRECT, _TOO_LARGE or -ENOMEM; after
 * anything but 0 it must not be fed again. */
MUST_USE int reply_feed(struct reply *r, struct span in, size_t *ret_used);
/* The provider closed in order. 0: the answer is complete; REPLY_E_CUT. */
MUST_USE int reply_eof(struct reply *r);
