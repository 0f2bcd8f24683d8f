/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leaf: the bytes that are hashed into the tree, a packed LEAF record (proto/messages.def). There is one way to write
 * a given leaf; what does not read back strictly is no leaf of ours.
 */
#pragma once

#include "proto/events.h"

/* Every field at its longest, with room to spare; asserted in the test. */
#define LEAF_BYTES_MAX 1536
#define LEAF_VERSION   1

/* 0 or a PROTO_E_*, which is a defect of ours: every field was checked when it came in. */
MUST_USE int leaf_pack(const struct proto_leaf *leaf, uint8_t *to, size_t cap, size_t *ret_len);
/* The same of what auditd puts before an EVENT, and the EVENT's fields as they came (proto_fields()). */
MUST_USE int leaf_pack_event(const struct proto_leaf_head *head, struct span fields, uint8_t *to, size_t cap,
			     size_t *ret_len);
/* Views into `in`. 0 or PROTO_E_*. */
MUST_USE int leaf_unpack(struct span in, struct proto_leaf *ret);
