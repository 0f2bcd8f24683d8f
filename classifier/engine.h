/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multi-pattern engine: Vectorscan over patterns.def. All patterns are compiled once, at start, before the sandbox
 * closes; scanning takes no memory and makes no system call.
 */
#pragma once

#include "common/base.h"
#include "proto/reasons.h"

struct engine;

/* 0, -ENOMEM, or -ENOTSUP: the CPU is too old for Vectorscan, or Vectorscan does not find its examples on it. */
MUST_USE int engine_new(struct engine **ret_engine);
/* NULL is fine. Returns NULL. */
struct engine *engine_free(struct engine *e);

/* A finding in text[begin, end). True to go on, false to end the scan. */
typedef bool engine_found(void *ctx, enum class class, size_t begin, size_t end);

/*
 * Reports what `text` (UTF-8 with barriers, see recognise.h; 4 GiB at most) holds of `classes`, a mask of BIT(class),
 * roughly in the order of the text; findings of different anchors may overlap. 0 or negative. Not reentrant: one scan
 * at a time.
 */
MUST_USE int engine_scan(struct engine *e, struct span text, uint64_t classes, engine_found *found, void *ctx);

/* The class of the lower number has precedence where findings overlap: the order of patterns.def. */
unsigned engine_precedence(enum class class);
