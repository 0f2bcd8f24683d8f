/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One answer on its way to the client: head, body as it comes, framing, and what a short write left over. Sans I/O.
 *
 *   reply_begin, http_write_*(&reply->head)     the head
 *   reply_append, reply_release                 body bytes; only released ones leave
 *   reply_hold_head                             the head waits for the first of them, or for the end
 *   reply_end | reply_cut                       complete, or broken off: then it is never ended cleanly
 *   reply_iov, writev, reply_sent               as often as it takes
 *
 * Framing is decided when the head leaves. An answer that is complete by then has a Content-Length; any other is
 * chunked, one chunk per write, or ends with the connection where the client speaks HTTP/1.0.
 */
#pragma once

#include <sys/uio.h>

#include "common/buf.h"

#define REPLY_IOV_MAX 4
/* An incomplete event is held back up to this size. */
#define REPLY_HELD_BYTES_MAX (1U << 20)
/* A plain answer is held back until it is whole up to this one. */
#define REPLY_WHOLE_BYTES_MAX 65536

enum reply_framing {
	REPLY_FRAMING_OPEN, /* not decided: the head has not left */
	REPLY_FRAMING_LENGTH,
	REPLY_FRAMING_CHUNKED,
	REPLY_FRAMING_CLOSE, /* ends with the connection */
	REPLY_FRAMING_NONE,  /* an answer to HEAD, or 204 and 304 */
};

struct reply {
	struct buf head, body, wire;
	size_t released;
	enum reply_framing framing;
	bool chunks, bodiless, close; /* what the client understands; no body may follow; say so in the head */
	bool head_waits;
	bool begun, ended, cut;
	uint64_t body_bytes; /* released so far, of what may follow the head */
	size_t offered;      /* by the last reply_iov() */
	char chunk_head[20];
};

void reply_init(struct reply *r);
void reply_deinit(struct reply *r);
/* Gives memory back that an idle connection should not hold. Legal between answers. */
void reply_trim(struct reply *r);

/* Starts anew. The last answer must have left, or been discarded. `chunks`: the client speaks HTTP/1.1. */
void reply_begin(struct reply *r, bool chunks, bool bodiless, bool close);
/* From here on the head leaves with the first bytes that are released, or with the end. Before anything is written. */
void reply_hold_head(struct reply *r);
/* Takes a copy. 0, BUF_E_FULL (more held back than REPLY_HELD_BYTES_MAX) or -ENOMEM. */
MUST_USE int reply_append(struct reply *r, struct span bytes);
/* What was appended and not yet released. */
struct span reply_held(const struct reply *r);
void reply_release(struct reply *r, size_t bytes);
void reply_end(struct reply *r);
/* Forgets what is held back and adds some last words. What was released still leaves, and then the connection must be
 * closed. */
COLD void reply_cut(struct reply *r, struct span words);
/* Forgets an answer of which nothing has left. */
void reply_discard(struct reply *r);

/* Fills in what can be written now; 0 when nothing can. -ENOMEM or a count. */
int reply_iov(struct reply *r, struct iovec iov[REPLY_IOV_MAX]);
/* `bytes` of what the last reply_iov() offered were written. 0 or -ENOMEM. */
MUST_USE int reply_sent(struct reply *r, size_t bytes);
/* Bytes that still wait for the client. 0: everything given so far has left. */
size_t reply_pending(const struct reply *r);
/* Only the connection's end will end it, and it is not complete: whoever closes now must not do so in good order. */
bool reply_needs_reset(const struct reply *r);
