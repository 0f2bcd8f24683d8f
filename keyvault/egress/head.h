/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request to a provider, built from parts that the egress has checked; nothing is copied from a client's
 * head as it is.
 *
 * Sans I/O. Request line, Host of the binding, the fields that may pass, identity encoding, exact length, and last
 * the credential. The bytes are written into memory of the arena, which must be open.
 */
#pragma once

#include "proto/proto.h"

struct head {
	enum proto_method method;
	struct span path;
	struct span host; /* of the binding; IPv6 without brackets */
	uint16_t port;
	struct proto_list fields; /* of proto_header */
	uint64_t body_bytes;
	struct span auth_name, auth_prefix, secret;
};

enum head_err {
	HEAD_E_FIELD = 1, /* a name, a value or the path has characters that the router should not have let through */
	HEAD_E_SIZE,      /* does not fit */
};

/* The secret is written last, and not at all on failure. 0 or HEAD_E_*. */
MUST_USE int head_write(const struct head *h, uint8_t *to, size_t cap, size_t *ret_len);
/* Origin-form that no server can read as another place: no dot segments, in any encoding, no fragment, nothing but
 * ASCII. */
bool head_path_ok(struct span path);
