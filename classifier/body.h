/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON text of a SCAN: in the frame, or in a sealed memfd that came along. */
#pragma once

#include "common/base.h"
#include "proto/proto.h"

struct body {
	struct span json; /* a view of the frame or of the mapping, until body_close() */
	void *map;        /* NULL when in the frame */
};

#define BODY_NULL ((struct body){SPAN_NULL, NULL})

enum body_err {
	BODY_E_PEER = 1, /* the lengths disagree, or the descriptor is not a sealed memfd of that length */
};

/* Consumes `fd`, -1 for none. 0, BODY_E_PEER or negative. */
MUST_USE int body_open(const struct proto_scan *scan, int fd, struct body *ret_body);
/* Idempotent. */
void body_close(struct body *b);
