/* SPDX-License-Identifier: Apache-2.0 */
/* The egress's way to an access token, of which a test is the core, the service and the credential. */
#pragma once

#include "keyvault/egress/egress.h"
#include "keyvault/egress/token.h"
#include "keyvault/egress/token_call.h"

struct way_world {
	struct egress eg; /* first */
	struct credential_cache cache;
	struct credential credential;
	uint64_t now_ms;
	/* the core */
	int call_says, send_says;
	ipc_reply *reply;
	void *reply_ctx;
	unsigned asked, forgotten, dropped;
	enum proto_type last;
	char put_token[32], put_secret[64];
	struct proto_token_take take;
	struct proto_token_put put;
	struct proto_token_fail fail;
	struct proto_token_hold hold;
	/* the call */
	enum reason start_says;
	bool calling;
	char called_with[64];
	token_call_done *done;
	void *done_ctx;
	unsigned ticked, recorded, noted_end, woken;
	/* what the credential was told */
	unsigned noted;
	struct credential_key *key;
	enum reason why;
};

/* For cmocka; the second proves that nothing is left on the way. */
int way_setup(void **state);
int way_teardown(void **state);
void way_start(struct way_world *w);
/* The answer to what it was asked last. */
void way_core_says(struct way_world *w, enum proto_type type, const void *msg);
void way_core_says_token(struct way_world *w, const char *token, uint64_t life_ms);
void way_core_refuses(struct way_world *w, const char *reason);
void way_core_is_silent(struct way_world *w, enum ipc_outcome outcome);
/* Until the service is called. */
void way_lease(struct way_world *w);
/* REASON_NONE: the token "tok", for an hour. */
void way_service_says(struct way_world *w, enum reason why, const char *refresh);
/* What the credential was told, once. */
void way_expect_noted(struct way_world *w, enum reason why);
/* And that nothing is on the way any more. */
void way_expect_over(struct way_world *w, enum reason why);
/* Until there is no room for `least` bytes in one piece. */
void way_fill_arena(struct way_world *w, size_t least, struct secret *pieces, size_t n);
void way_free_all(struct way_world *w, struct secret *pieces, size_t n);
