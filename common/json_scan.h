/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One validating pass over a JSON text (RFC 8259), without a tree and without memory. Sans I/O.
 *
 * Accepts exactly one value with optional white space around it. Stricter than the RFC in four points: the text must be
 * valid UTF-8, \u escapes must form whole surrogate pairs, nesting is limited, and the fields below, by which
 * a request is understood, must be unambiguous: no top-level key may name one of them twice, in any spelling that some
 * reader would take for it. Every other duplicate passes. Of the fields the router itself reads `model` alone.
 */
#pragma once

#include "common/json_value.h"

#define JSON_DEPTH_MAX 64

/* Top-level fields that are looked for. */
#define JSON_FIELDS(F)                                    \
	F(MODEL, "model")                                 \
	F(STREAM, "stream")                               \
	F(STREAM_OPTIONS, "stream_options")               \
	F(INCLUDE_USAGE, "include_usage")                 \
	F(USER, "user")                                   \
	F(N, "n")                                         \
	F(MAX_TOKENS, "max_tokens")                       \
	F(MAX_COMPLETION_TOKENS, "max_completion_tokens") \
	F(MESSAGES, "messages")                           \
	F(INPUT, "input")

enum json_field {
#define F(NAME, text) JSON_FIELD_##NAME,
	JSON_FIELDS(F)
#undef F
		N_JSON_FIELDS,
};

struct json_body {
	struct json_value value;                 /* the whole text */
	struct json_value fields[N_JSON_FIELDS]; /* JSON_KIND_ABSENT where it has no such field, or is not an object */
};

enum json_scan_err {
	JSON_SCAN_E_SYNTAX = 1,
	JSON_SCAN_E_UTF8,
	JSON_SCAN_E_DEPTH,
	JSON_SCAN_E_AMBIGUOUS, /* a field of JSON_FIELDS twice, or in a spelling that some readers take for it */
};

/*
 * Called for each string and number at any depth, in order, already validated itself (the rest of the text is not yet).
 * `is_key`: a member's name. 0 to go on; a negative errno ends the scan and is returned.
 */
typedef int json_visit(void *ctx, const struct json_value *value, bool is_key);

/* `visit` may be NULL. *ret_body views `text`. 0, JSON_SCAN_E_* or what `visit` returned. */
MUST_USE int json_scan(struct span text, json_visit *visit, void *ctx, struct json_body *ret_body);
