/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoded strings of a JSON text, one behind the other with barriers between, and the way back from an offset in
 * them to the bytes that spelled it. Sans I/O. Memory grows to the largest batch and is kept.
 */
#pragma once

#include "common/buf.h"
#include "common/json_value.h"

/* A batch ends at the first value behind so many bytes, or at so many values. */
#define JSON_TEXT_BYTES  65536
#define JSON_TEXT_VALUES 4096

struct json_piece {
	size_t begin;    /* in the decoded text */
	struct span raw; /* in the body: contents without quotes */
	bool escaped, number;
};

struct json_text {
	struct buf text;
	size_t n_pieces;
	struct json_piece pieces[JSON_TEXT_VALUES];
	/* where the last json_text_raw() ended */
	size_t at_piece, at_text, at_raw;
};

enum json_text_err {
	JSON_TEXT_E_FULL = 1, /* take the batch out first: json_text_span(), json_text_raw(), json_text_reset() */
};

/* A value is at most `bytes_max` long. */
void json_text_init(struct json_text *t, size_t bytes_max);
void json_text_deinit(struct json_text *t);
void json_text_reset(struct json_text *t);

/* Adds a string or number; it must stay where it is until the reset. 0, JSON_TEXT_E_FULL or -ENOMEM. */
MUST_USE int json_text_add(struct json_text *t, const struct json_value *value);
/* The batch, beginning and ending with a barrier. */
struct span json_text_span(const struct json_text *t);

struct json_range {
	struct span raw;
	bool number;
};

/* The raw bytes of [begin, end) of the batch, which must lie within one value. Calls must come in ascending order. */
struct json_range json_text_raw(struct json_text *t, size_t begin, size_t end);
