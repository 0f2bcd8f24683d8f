/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request's body ends, and its bytes without their framing (RFC 9112 sections 6 and 7). Sans I/O. */
#pragma once

#include "router/http_head.h"

enum http_body_err {
	HTTP_BODY_E_MORE = 1, /* every byte of `in` that could be used was; more must come */
	HTTP_BODY_E_DONE,     /* the body is complete; what follows in `in` belongs to the next request */
	HTTP_BODY_E_BAD,      /* the framing is not as it must be: 400, and no further byte can be trusted */
};

enum http_body_state { HTTP_BODY_SIZE, HTTP_BODY_DATA, HTTP_BODY_DATA_END, HTTP_BODY_LAST, HTTP_BODY_DONE };

struct http_body {
	enum http_body_state state;
	bool chunked;
	uint64_t left; /* of the chunk or the whole body */
};

/* From a head that parsed. */
void http_body_init(struct http_body *b, const struct http_head *head);
/*
 * Takes from the front of `in`: *ret_used bytes, of which *ret_data (a view, maybe empty) are body. 0: call again with
 * the rest. Otherwise HTTP_BODY_E_*; *ret_used is then 0.
 */
MUST_USE int http_body_next(struct http_body *b, struct span in, size_t *ret_used, struct span *ret_data);
