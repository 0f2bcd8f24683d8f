/* SPDX-License-Identifier: Apache-2.0 */
/* Framing: u32 big-endian length of the body, then the body. Sans I/O; the length is checked before the body is
 * awaited. */
#pragma once

#include "common/base.h"

#define FRAME_HEAD_BYTES 4

enum frame_err {
	FRAME_E_MORE = 1, /* not all of it is there yet */
	FRAME_E_LENGTH,   /* zero or above PROTO_FRAME_BYTES_MAX: drop the peer */
};

/* Takes the first frame of `in`: its body (a view) and how many bytes head and body take. */
MUST_USE int frame_next(struct span in, struct span *ret_body, size_t *ret_used);
/* Writes the head of a frame of `body_bytes`. */
void frame_put_head(uint8_t to[FRAME_HEAD_BYTES], size_t body_bytes);
