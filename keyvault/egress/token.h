/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to an access token. One at a time for each credential; all exchanges that need it wait for the same.
 *
 *   take ---- the core has one -------------------------------> over
 *    '------- lease ---> call ---> put ---> the core has it --> over
 *
 * All workers together make one call: the core gives one of them the secret and a lease, and the others what came of
 * it. A refresh token that its service replaced is used up, so what came of such a call outlives its credential and the
 * core: it is put again until a core says that the new secret is stored.
 */
#pragma once

#include "keyvault/egress/credential.h"

enum token_err {
	TOKEN_E_DOWN = 1, /* the core cannot be asked */
};

/* There is none on the way (c->token), and will be one. 0 or TOKEN_E_DOWN. */
MUST_USE int token_start(struct credential *c);
/* The credential is removed, or the vault is sealed: everything is wiped. */
void token_cancel(struct token *t);
void token_cancel_of(struct credential_cache *cache, struct span id);
void token_cancel_all(struct credential_cache *cache);
/* The core is there again: says what is under way and what came of it. */
void token_resume(struct credential_cache *cache);
/* True while any is on the way. */
bool token_tick(struct credential_cache *cache, uint64_t now_ms);
