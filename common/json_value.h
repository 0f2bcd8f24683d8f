/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What json_scan finds: a value as a view into the text, and the ways to read it. Sans I/O, no memory.
 */
#pragma once

#include "common/base.h"

enum json_kind {
	JSON_KIND_ABSENT,
	JSON_KIND_NULL,
	JSON_KIND_FALSE,
	JSON_KIND_TRUE,
	JSON_KIND_NUMBER,
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT
};

/* `raw` is a view into the text: the whole value; of a string what stands between its quotes. */
struct json_value {
	enum json_kind kind;
	bool escaped; /* a string with at least one backslash */
	struct span raw;
};

/*
 * Reads the first character of the raw contents of a validated string, not empty: its code point, and how many raw
 * bytes spell it.
 */
size_t json_char(struct span raw, uint32_t *ret_char);
/* What this character counts in a \u escape, -1: nothing. */
int json_hex_digit(uint32_t c);
/* Writes a code point in UTF-8; the number of bytes, 1 to 4. */
size_t json_utf8(uint32_t c, uint8_t to[4]);

enum json_value_err {
	JSON_VALUE_E_KIND = 1, /* not of this kind */
	JSON_VALUE_E_RANGE,    /* does not fit */
};

/* The text of a string, escapes decoded, into `to`. */
MUST_USE int json_text(const struct json_value *value, uint8_t *to, size_t cap, size_t *ret_len);
/* A number written as plain digits. */
MUST_USE int json_u64(const struct json_value *value, uint64_t *ret_u64);

/*
 * For scanners, on bytes not yet validated, p < end: length of the escape at the backslash `p`, 0 when it
 * is none; a high surrogate must be followed by a low one, which must not stand alone.
 */
size_t json_escape(const uint8_t *p, const uint8_t *end, uint32_t *ret_char);
