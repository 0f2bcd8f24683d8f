/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes in HTTP fields (RFC 9110 5.5, 5.6.2): one table, one look-up a byte. */
#pragma once

#include "common/base.h"

enum chars_class {
	CHARS_TOKEN = 1, /* of a name, letters of both cases */
	CHARS_SMALL = 2, /* of a name, small letters only */
	CHARS_TEXT = 4,  /* of a value: visible, space, tab, bytes above ASCII */
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
