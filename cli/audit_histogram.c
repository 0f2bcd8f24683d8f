/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_histogram.h"

#define SUB_BITS  HISTOGRAM_SUB_BITS
#define SUB_COUNT (1U << SUB_BITS)

static size_t histogram_bucket(uint64_t value)
{
	if (value < SUB_COUNT)
		return (size_t)value;
	unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
	return ((size_t)(shift + 1) << SUB_BITS) + (size_t)(value >> shift) - SUB_COUNT;
}

/* The largest value of a bucket. */
static uint64_t histogram_top(size_t bucket)
{
	if (bucket < SUB_COUNT)
		return bucket;
	unsigned shift = (unsigned)(bucket >> SUB_BITS) - 1;
	uint64_t first = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
	return first + (BIT(shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->n++;
	h->max = MAX(h->max, value);
	h->buckets[histogram_bucket(value)]++;
}

uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille)
{
	uint64_t want = h->n / 1000 * per_mille + (h->n % 1000 * per_mille + 999) / 1000, seen = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS && h->n > 0; i++) {
		seen += h->buckets[i];
		if (seen >= MAX(want, 1U))
			return MIN(histogram_top(i), h->max);
	}
	return 0;
}
