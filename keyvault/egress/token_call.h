/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to a token service and its answer, on a connection of its own. The destination is the binding's. Request
 * and answer lie in one piece of the arena, which goes with the call.
 */
#pragma once

#include "keyvault/egress/credential.h"
#include "keyvault/egress/reply.h"
#include "keyvault/egress/token_answer.h"

#define TOKEN_CALL_MS 10000 /* from resolving to the last byte */

struct token_call;

struct token_call_end {
	enum reason why;   /* REASON_NONE: `answer` is filled in, and lives during the call back */
	unsigned status;   /* of the answer; 0: none came */
	const char *error; /* RFC 6749 5.2; "" */
	struct token_answer answer;
};

/* The arena is open. Never called from within token_call_start() or token_call_cancel(). */
typedef void token_call_done(void *ctx, const struct token_call_end *end);

/* The arena is open. REASON_NONE and *ret_call, which is gone after `done`; or why there is no call. */
enum reason token_call_start(struct credential *c, struct span secret, token_call_done *done, void *ctx,
			     struct token_call **ret_call);
void token_call_cancel(struct token_call *call);
/* Ends it with TOKEN_UNAVAILABLE when its time is over. */
void token_call_tick(struct token_call *call, uint64_t now_ms);
