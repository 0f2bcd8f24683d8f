/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/leaf.h"

const struct event_row *event_row(uint64_t code)
{
	switch (code) {
#define EVENT(NAME, number, text_, class_, doc_)                                             \
	case EVENT_##NAME: {                                                                 \
		static const struct event_row row = {(text_), EVENT_CLASS_##class_, (doc_)}; \
		return &row;                                                                 \
	}
#include "proto/events.def"
#undef EVENT
	default:
		return NULL;
	}
}

int leaf_pack(const struct proto_leaf *leaf, uint8_t *to, size_t cap, size_t *ret_len)
{
	return proto_pack_record(&proto_leaf_desc, leaf, to, cap, ret_len);
}

int leaf_unpack(struct span in, struct proto_leaf *ret)
{
	return proto_unpack_record(&proto_leaf_desc, in, ret);
}
