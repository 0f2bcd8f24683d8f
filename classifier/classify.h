/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON text in, its findings out: keys, strings at any depth with their escapes decoded, and whole numbers. Sans
 * I/O. Memory is reused from call to call and bounded by the largest text.
 */
#pragma once

#include "classifier/engine.h"
#include "proto/proto.h"

#define CLASSIFY_BYTES_MAX    10485760
#define CLASSIFY_FINDINGS_MAX 512 /* as many as VERDICT lists */

struct classifier;

/* Compiles the patterns. 0, -ENOMEM or -ENOTSUP. */
MUST_USE int classifier_new(struct classifier **ret_classifier);
/* NULL is fine. Returns NULL. */
struct classifier *classifier_free(struct classifier *c);

struct classify_verdict {
	/* Findings in all, or CLASSIFY_FINDINGS_MAX + 1 when there are more than can be listed: the scan ends there. */
	size_t total;
	/* In ascending order, not overlapping: offsets into the JSON text. Valid until the next call. */
	const struct proto_finding *findings;
	size_t n_findings;
};

enum classify_err {
	CLASSIFY_E_JSON = 1, /* not what json_scan accepts, or too long */
};

/* `classes`: a mask of BIT(class); bits of no class are ignored. 0, CLASSIFY_E_JSON or negative. */
MUST_USE int classify(struct classifier *c, struct span json, uint64_t classes, struct classify_verdict *ret_verdict);
