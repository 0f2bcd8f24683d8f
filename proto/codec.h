/* SPDX-License-Identifier: Apache-2.0 */
/* Between desc.c and the two halves of the codec: one pair of functions for each message, item and record. */
#pragma once

#include "proto/proto.h"

struct sink;
struct reader;

/* The fields only, without the array's head. 0 or PROTO_E_*. */
#define M(NAME, name, ...)                                         \
	int proto_##name##_pack(struct sink *pk, const void *msg); \
	int proto_##name##_unpack(struct reader *r, void *ret);
PROTO_MESSAGES(M)
PROTO_ITEMS(M)
PROTO_RECORDS(M)
#undef M

/* Large enough and aligned for any item of a list. */
union proto_any_item {
#define M(NAME, name) struct proto_##name name;
	PROTO_ITEMS(M)
#undef M
};
