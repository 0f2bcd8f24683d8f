/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record that ends in the fields of a message takes their bytes as they came. They are what the packer would write
 * again: one message has exactly one encoding, and proto_unpack() accepts no other.
 */
#pragma once

#include "proto/proto.h"

/* The fields of a body that proto_unpack() accepted. A view. */
struct span proto_fields(struct span body);
/* The record `desc` of which `head` has the first fields and `fields` all others. 0 or PROTO_E_*. */
MUST_USE int proto_pack_spliced(const struct proto_desc *desc, const struct proto_desc *head_desc, const void *head,
				struct span fields, uint8_t *to, size_t cap, size_t *ret_len);
