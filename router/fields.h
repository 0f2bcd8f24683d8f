/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which header fields pass. Both directions are allow-lists: what is not named here stays, so that credentials,
 * framing, Host, cookies and hop-by-hop fields need no list of their own to be kept out. Sans I/O.
 */
#pragma once

#include "common/buf.h"
#include "proto/proto.h"
#include "router/http_head.h"
#include "router/http_write.h"

enum fields_err {
	FIELDS_E_TOO_LARGE = 1, /* more than OPEN can carry: 431 */
};

/*
 * Appends the client's fields that the provider may see to `to`, as packed HEADER items, and counts them. content-type
 * is ours: the body has been checked to be JSON. 0, FIELDS_E_TOO_LARGE or negative.
 */
MUST_USE int fields_to_upstream(const struct http_head *head, struct span request_id, struct buf *to, size_t *ret_n);
/* Writes the provider's fields that the client may see. `list` is left at its end. */
void fields_to_client(struct http_write *w, struct proto_list *list);
/* The value of `name` (lower case) in a list of HEADER items; SPAN_NULL when there is none. */
struct span fields_find(const struct proto_list *list, const char *name);
