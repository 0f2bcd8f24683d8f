/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reasons.h"

#include <assert.h>

const struct reason_row *reason_row(uint64_t reason)
{
	static const struct reason_row rows[] = {
#define R(NAME, code, status, type, retry_ms, text) {(code), (status), (type), (retry_ms), (text)},
#include "proto/reasons.def"
#undef R
	};

	return &rows[reason < ARRAY_LEN(rows) ? reason : REASON_INTERNAL];
}

const struct class_row *class_row(enum class class)
{
	static const struct class_row rows[] = {
#define CLASS(NAME, number, text, label) [number] = {(text), (label)},
#include "proto/classes.def"
#undef CLASS
	};

	assert((size_t) class < ARRAY_LEN(rows));
	return &rows[class];
}
