/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a token endpoint answers (RFC 6749 5.1, 5.2). Sans I/O. Its body is hostile: one validating pass, no tree, then
 * four members are looked at; one of them twice is no answer.
 */
#pragma once

#include "common/base.h"

#define TOKEN_BYTES_MAX        4096
#define TOKEN_ANSWER_BYTES_MAX 32768
#define TOKEN_ERROR_BYTES      32
#define TOKEN_LIFE_S_ABSENT    300   /* where it does not say */
#define TOKEN_LIFE_S_MAX       86400 /* longer is not believed */

struct token_answer {
	struct span token, refresh; /* in `work`; refresh may be empty */
	uint64_t life_s;
};

enum token_answer_err {
	TOKEN_ANSWER_E_INVALID = 1, /* not what the RFC describes */
};

/* `work` takes the decoded strings: 2 * TOKEN_BYTES_MAX bytes of the arena. 0 or TOKEN_ANSWER_E_INVALID. */
MUST_USE int token_answer_read(struct span body, uint8_t *work, struct token_answer *ret_answer);
/* The code of an error answer, such as invalid_grant; empty when it has none that is one. */
void token_answer_error(struct span body, char ret[TOKEN_ERROR_BYTES + 1]);
