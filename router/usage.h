/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many tokens a reply came to, read from its last `usage` object. Sans I/O.
 *
 * Answers are not parsed: the object is found by its name near the end of the body, or near its beginning, where
 * Mistral and Perplexity have it, or in the events of a stream that have it. Inside a JSON string the name's quotes
 * would be escaped, so text of the model cannot pose as it. What the provider says is believed: it is the provider who
 * bills by it.
 */
#pragma once

#include "common/base.h"

#define USAGE_TAIL_BYTES 1024 /* so near to either end */

struct usage {
	uint64_t tokens_in, tokens_out; /* 0: unknown */
};

/* The end of a body that passes by in pieces. Zero to start with. */
struct usage_tail {
	uint16_t len;
	uint8_t bytes[USAGE_TAIL_BYTES];
};

/* Reads the last usage object of `text`, if there is one with numbers in it among the last few; else *usage stays as it
 * is. True: it is there from its name to a closing brace. */
bool usage_read(struct usage *usage, struct span text);
void usage_tail_add(struct usage_tail *t, struct span bytes);
/* A piece of a body: one that holds the whole object is read at once and need not be kept. */
void usage_pass(struct usage *usage, struct usage_tail *t, struct span bytes);
/* The body has passed. */
void usage_end(struct usage *usage, const struct usage_tail *t);
/* The beginning of a body of which no usage is known. */
void usage_begin(struct usage *usage, struct span body);
