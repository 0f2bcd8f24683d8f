/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte: who speaks to whom. Rest: a frame body. What the strict reader accepts must pack to the same bytes again,
 * and msgpack-c, as a second opinion, must read exactly one object from them.
 */
#include <assert.h>
#include <stdlib.h>

#include <msgpack.h>

#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[PROTO_FRAME_BYTES_MAX];
	const struct proto_desc *desc;
	union proto_any msg;
	uint64_t id;
	size_t len, at = 0;

	if (size < 1 || size > PROTO_FRAME_BYTES_MAX)
		return 0;
	struct span body = span_of(data + 1, size - 1);
	if (proto_unpack(body, (enum role)(data[0] & 15), (enum role)(data[0] >> 4), &id, &desc, &msg))
		return 0;
	assert(proto_pack(desc, id, &msg, again, sizeof again, &len) == 0);
	assert(len == body.len && memcmp(again, body.p, len) == 0);

	msgpack_unpacked oracle;
	msgpack_unpacked_init(&oracle);
	assert(msgpack_unpack_next(&oracle, (const char *)body.p, body.len, &at) == MSGPACK_UNPACK_SUCCESS);
	assert(at == body.len && oracle.data.type == MSGPACK_OBJECT_ARRAY);
	assert(oracle.data.via.array.size == desc->n_fields + 2U);
	msgpack_unpacked_destroy(&oracle);
	return 0;
}
