/* SPDX-License-Identifier: Apache-2.0 */
/* From the provider's connection to the lane: decrypt, parse, digest, scrub, send. Called by the exchange in HEAD and
 * BODY. */
#pragma once

#include "keyvault/egress/exchange.h"

void relay_begin(struct exchange *x);
/*
 * Passes on what is there, within the stream's credit. REASON_NONE: wait, or, with x->reply_over, complete. Anything
 * else: broken. Forwards first and accounts afterwards.
 */
enum reason relay_pump(struct exchange *x);
