/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of reasons.def, classes.def and endpoints.def, as enums and rows. */
#pragma once

#include "common/base.h"

enum reason {
#define R(NAME, code, status, type, retry_ms, text) REASON_##NAME,
#include "proto/reasons.def"
#undef R
	N_REASONS,
};

struct reason_row {
	const char *code;
	uint16_t status;
	const char *type;
	uint32_t retry_ms;
	const char *text;
};

/* The row of a reason; a number out of range, as a peer might send, yields INTERNAL's. */
const struct reason_row *reason_row(uint64_t reason);

enum class {
#define CLASS(NAME, number, text, label) CLASS_##NAME = (number),
#include "proto/classes.def"
#undef CLASS
	N_CLASSES,
};

enum guard_action { GUARD_IGNORE, GUARD_FLAG, GUARD_REDACT, GUARD_BLOCK };

struct class_row {
	const char *name, *label;
};

/* `class` < N_CLASSES. */
const struct class_row *class_row(enum class class);

/* What PERMIT.guard says about a class. */
static inline enum guard_action guard_action(uint64_t guard, enum class class)
{
	return (enum guard_action)(guard >> (2 * (unsigned)class) & 3);
}

enum endpoint {
#define ENDPOINT(NAME, number, method, path, suffix, body) ENDPOINT_##NAME = (number),
#include "proto/endpoints.def"
#undef ENDPOINT
	N_ENDPOINTS,
};
