/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request as the router gave it. While the OPEN message's handler runs its parts are views of the message, and most
 * requests are written to a pooled connection right there; one that must wait is copied first.
 */
#pragma once

#include "proto/proto.h"

struct exchange_request {
	bool kept;         /* copied */
	struct span grant; /* as long as it is to be checked */
	uint64_t route;
	enum proto_method method;
	struct span path, body;
	struct proto_list fields; /* of proto_header */
	uint8_t *owned;           /* the copy */
	void *map;                /* a body above 64 KiB: its memfd */
	size_t map_len;
};

/* Maps the body that came as a memfd; false: it is not sealed, or not as long as was said. fd is not consumed. */
MUST_USE bool request_map(struct exchange_request *q, uint64_t body_bytes, int fd);
/* Copies what are views. Idempotent. 0 or -ENOMEM. */
MUST_USE int request_keep(struct exchange_request *q);
/* Frees; the method stays. Idempotent. */
void request_drop(struct exchange_request *q);
