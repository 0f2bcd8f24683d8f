/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/leaf.h"

#include "proto/splice.h"

int leaf_pack(const struct proto_leaf *leaf, uint8_t *to, size_t cap, size_t *ret_len)
{
	return proto_pack_record(&proto_leaf_desc, leaf, to, cap, ret_len);
}

int leaf_pack_event(const struct proto_leaf_head *head, struct span fields, uint8_t *to, size_t cap, size_t *ret_len)
{
	return proto_pack_spliced(&proto_leaf_desc, &proto_leaf_head_desc, head, fields, to, cap, ret_len);
}

int leaf_unpack(struct span in, struct proto_leaf *ret)
{
	return proto_unpack_record(&proto_leaf_desc, in, ret);
}
