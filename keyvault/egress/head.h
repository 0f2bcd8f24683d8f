/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request to a provider, built from parts that the egress has checked; nothing is copied from a client's
 * head as it is.
 *
 * Sans I/O. Request line, Host of the binding, the fields that may pass, identity encoding, exact length, and last
 * the credential. The bytes are written into memory of the arena, which must be open.
 */
#pragma once

#include "keyvault/egress/text.h"
#include "proto/proto.h"

struct head;
/* Appends the lines that authenticate, each with its end. 0, HEAD_E_* or negative. */
typedef int head_auth(const void *ctx, const struct head *h, struct text *to);

struct head {
	enum proto_method method;
	struct span path;
	struct span host; /* of the binding; IPv6 without brackets */
	uint16_t port;
	struct proto_list fields; /* of proto_header */
	uint64_t body_bytes;
	struct span auth_name; /* a field of that name is not passed on */
	head_auth *auth;
	const void *auth_ctx;
};

enum head_err {
	HEAD_E_FIELD = 1, /* a name, a value or the path has characters that the router should not have let through */
	HEAD_E_SIZE,      /* does not fit */
};

/* What authenticates is written last, and not at all when the rest does not fit. 0, HEAD_E_* or what `auth` says. */
MUST_USE int head_write(const struct head *h, uint8_t *to, size_t cap, size_t *ret_len);
/* Origin-form that no server can read as another place: no dot segments, in any encoding, no fragment, nothing but
 * ASCII. */
bool head_path_ok(struct span path);
/* The value of Host. */
void head_put_host(struct text *t, struct span host, uint16_t port);
/* "GET"; NULL: none that is known. */
const char *head_method(enum proto_method method);
