/* SPDX-License-Identifier: Apache-2.0 */
/* From the provider's connection to the lane: decrypt, parse, digest, scrub, send. Called by the exchange in HEAD and
 * BODY. */
#pragma once

#include "keyvault/egress/exchange.h"

void relay_begin(struct exchange *x);
/* It may have something to read: at the end of the turn. */
void relay_later(struct exchange *x);
/* It has credit again, or the lane's queue is empty again. */
void relay_resume(struct exchange *x);
/* The end of the turn: reads, within each stream's credit, and calls exchange_read() for each. `ctx`: struct egress. */
void relay_turn(void *ctx);
/*
 * Passes on what was read. REASON_NONE: wait, or, with x->reply_over, complete. Anything else: broken. Forwards first
 * and accounts afterwards.
 */
enum reason relay_take(struct exchange *x);
