/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantiles of a stream in constant memory: counters over values whose width grows with the value, 32 to a power of
 * two. What it answers is at least the true quantile and less than 1/32 above it.
 */
#pragma once

#include "common/base.h"

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t n, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The smallest value that at least `per_mille` of all are not above; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille);
