/* SPDX-License-Identifier: Apache-2.0 */
/* Which of our paths a request asks for: those of endpoints.def, with or without /v1 in front, and three of our own. */
#pragma once

#include "proto/reasons.h"
#include "router/http_head.h"

enum endpoint_kind {
	ENDPOINT_KIND_API,     /* a row of endpoints.def, by a key */
	ENDPOINT_KIND_ROOT,    /* "/": a probe of some clients */
	ENDPOINT_KIND_HEALTHZ, /* this process runs */
	ENDPOINT_KIND_READYZ,  /* a chat would be answered now */
};

struct endpoint_match {
	enum endpoint_kind kind;
	enum endpoint endpoint; /* of KIND_API */
	bool has_body;
	struct span id; /* the piece behind a path that ends with a slash, else SPAN_NULL; a view of the head */
};

#define ENDPOINT_ID_BYTES_MAX 64
/* [A-Za-z0-9-]{1,64}: a request's id, whoever made it. */
bool endpoint_id_valid(struct span id);

/* REASON_NONE, NOT_FOUND, METHOD_NOT_ALLOWED or KEY_IN_QUERY. */
MUST_USE enum reason endpoint_match(const struct http_head *head, struct endpoint_match *ret_match);
/* What a 405 for this path says in its field Allow. */
const char *endpoint_methods(struct span path);
/* The path of a row, for records: never what the client wrote. */
const char *endpoint_path(const struct endpoint_match *match);
/*
 * The gateway key, from `Authorization: Bearer`, x-api-key, api-key or x-goog-api-key; SPAN_NULL when there is none, or
 * more than one that differ.
 */
struct span endpoint_credential(const struct http_head *head);
