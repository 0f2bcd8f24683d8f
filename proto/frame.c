/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <assert.h>

#include "proto/proto.h"

int frame_next(struct span in, struct span *ret_body, size_t *ret_used)
{
	if (in.len < FRAME_HEAD_BYTES)
		return FRAME_E_MORE;
	size_t len = (size_t)in.p[0] << 24 | (size_t)in.p[1] << 16 | (size_t)in.p[2] << 8 | in.p[3];
	if (len == 0 || len > PROTO_FRAME_BYTES_MAX)
		return FRAME_E_LENGTH;
	if (in.len - FRAME_HEAD_BYTES < len)
		return FRAME_E_MORE;
	*ret_body = span_of(in.p + FRAME_HEAD_BYTES, len);
	*ret_used = FRAME_HEAD_BYTES + len;
	return 0;
}

void frame_put_head(uint8_t to[FRAME_HEAD_BYTES], size_t body_bytes)
{
	assert(body_bytes > 0 && body_bytes <= PROTO_FRAME_BYTES_MAX);
	to[0] = (uint8_t)(body_bytes >> 24);
	to[1] = (uint8_t)(body_bytes >> 16);
	to[2] = (uint8_t)(body_bytes >> 8);
	to[3] = (uint8_t)body_bytes;
}
