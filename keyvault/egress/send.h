/* SPDX-License-Identifier: Apache-2.0 */
/* The request on its way out. Called by the exchange in SEND, with the arena open. */
#pragma once

#include "keyvault/egress/exchange.h"

#define SEND_RECORD_BYTES 16384 /* RFC 8446 5.1; also the longest head */

/* Composes the first record and writes as far as the socket takes it: *ret_answer is 0 (all of it) or TLS_E_*.
 * REASON_NONE, or why nothing was written. */
enum reason send_begin(struct exchange *x, int *ret_answer);
/* Writes on. 0 or TLS_E_*. */
MUST_USE int send_write(struct exchange *x);
/* The bytes that carry the secret have left, or never will. Idempotent; the arena may be closed. */
void send_drop(struct exchange *x);
