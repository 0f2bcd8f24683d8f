/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stream, cut into reads in two ways: the events' data must be the same. What the oracle compares is the
 * text of the data lines, since an LF after a CR may be counted to either side.
 */
#include <assert.h>
#include <stdlib.h>

#include "router/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_all(const uint8_t *data, size_t size, size_t step, uint8_t *out)
{
	struct sse s = {0};
	size_t taken = 0, len = 0, bytes;

	for (size_t have = 0; have < size;) {
		have = MIN(size, have + step);
		while (sse_next(&s, span_of(data + taken, have - taken), &bytes)) {
			assert(bytes > 0 && bytes <= have - taken);
			struct span text = sse_data(span_of(data + taken, bytes));
			if (text.len > 0) {
				memcpy(out + len, text.p, text.len);
				len += text.len;
				out[len++] = '|';
			}
			taken += bytes;
		}
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t step = data[0] ? data[0] : 1, n = size - 1;
	uint8_t *a = malloc(2 * n), *b = malloc(2 * n);

	assert(a && b);
	size_t len = read_all(data + 1, n, n, a);
	assert(len == read_all(data + 1, n, step, b));
	assert(len == 0 || memcmp(a, b, len) == 0);
	free(a);
	free(b);
	return 0;
}
