/* SPDX-License-Identifier: Apache-2.0 */
/* The request on its way out. Called by the exchange in SEND. */
#pragma once

#include "keyvault/egress/exchange.h"

/* Head and as much of the body as makes one TLS record, in the arena, which is open. REASON_NONE or why not. */
enum reason send_compose(struct exchange *x);
/* Writes on until all is sent or the socket is full. The arena is open. 0 or TLS_E_*. */
MUST_USE int send_write(struct exchange *x);
/* The bytes that carry the secret have left, or never will. Idempotent. */
void send_drop(struct exchange *x);
