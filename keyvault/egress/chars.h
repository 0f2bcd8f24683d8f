/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes in HTTP fields (RFC 9110 5.5, 5.6.2): one table, one look-up a byte. */
#pragma once

#include "common/bytes16.h"

enum chars_class {
	CHARS_TOKEN = 1, /* of a name, letters of both cases */
	CHARS_SMALL = 2, /* of a name, small letters only */
	CHARS_TEXT = 4,  /* of a value: visible, space, tab, bytes above ASCII */
	CHARS_PATH = 8,  /* of a path: visible, but what begins a segment, query, escape or fragment, and backslash */
};

extern const uint8_t chars_classes[256];

/* Whether all bytes are of the class; true when there are none. */
static inline bool chars_all(struct span s, enum chars_class class)
{
	uint8_t common = (uint8_t) class;

	for (size_t i = 0; i < s.len; i++)
		common &= chars_classes[s.p[i]];
	return common != 0;
}

/* Which of sixteen bytes are neither visible nor a space. */
static inline mask16 chars_other(const uint8_t *p)
{
	bytes16 b = bytes16_load(p);

	return (b < ' ') | (b == 0x7f);
}

/* chars_all() of CHARS_TEXT, sixteen bytes at a time where no tab is among them. */
static inline bool chars_text(struct span s)
{
	if (s.len < 16)
		return chars_all(s, CHARS_TEXT);
	mask16 other = chars_other(s.p + s.len - 16); /* overlaps what comes next */
	for (size_t at = 0; at < s.len - 16; at += 16)
		other |= chars_other(s.p + at);
	return !mask16_any(other) || chars_all(s, CHARS_TEXT);
}
