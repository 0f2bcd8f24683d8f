/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes cut into frames, once whole and once as if it had arrived in pieces whose lengths the input
 * chooses. Both must give the same frames, never read past what is there, refuse an empty or oversized one by its head
 * alone, and consume what they say.
 */
#include <assert.h>

#include "proto/frame.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAMES_MAX 64

static size_t cut(struct span in, struct span frames[FRAMES_MAX], int *ret_end)
{
	size_t n = 0, used;

	while (n < FRAMES_MAX && (*ret_end = frame_next(in, &frames[n], &used)) == 0) {
		assert(used == frames[n].len + FRAME_HEAD_BYTES && used <= in.len);
		assert(frames[n].len > 0 && frames[n].len <= PROTO_FRAME_BYTES_MAX);
		in = span_of(in.p + used, in.len - used);
		n++;
	}
	if (n < FRAMES_MAX && in.len >= FRAME_HEAD_BYTES) {
		uint32_t len = (uint32_t)in.p[0] << 24 | (uint32_t)in.p[1] << 16 | (uint32_t)in.p[2] << 8 | in.p[3];
		assert((*ret_end == FRAME_E_LENGTH) == (len == 0 || len > PROTO_FRAME_BYTES_MAX));
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span whole[FRAMES_MAX], again[FRAMES_MAX];
	uint8_t head[FRAME_HEAD_BYTES];
	size_t step, n, got = 0, begin = 0;
	int end, piece_end = FRAME_E_MORE;

	if (size < 2)
		return 0;
	step = data[0] + 1U;
	data++;
	size--;
	n = cut(span_of(data, size), whole, &end);
	for (size_t have = 0; have < size && got < n;) {
		have = MIN(have + step, size);
		size_t k = cut(span_of(data + begin, have - begin), again, &piece_end);
		for (size_t i = 0; i < k && got < n; i++, got++) {
			assert(again[i].p == whole[got].p && again[i].len == whole[got].len);
			begin = (size_t)(again[i].p - data) + again[i].len;
		}
	}
	assert(got == n);
	for (size_t i = 0; i < n; i++) {
		frame_put_head(head, whole[i].len);
		assert(memcmp(head, whole[i].p - FRAME_HEAD_BYTES, FRAME_HEAD_BYTES) == 0);
	}
	return 0;
}
