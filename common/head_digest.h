/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the head of a provider's answer reaches a client, as one digest: the egress makes it, who holds a receipt
 * makes it again. SHA-256 of
 *
 *   200<LF>
 *   name: value<LF>       for each field of proto/passed.def, by the name that the client gets, small letters, by name
 *
 * Values without space around them; fields of one name in the order in which they came.
 */
#pragma once

#include "common/sha256.h"
#include "proto/proto.h"

#define HEAD_DIGEST_FIELDS_MAX 64

/* At most HEAD_DIGEST_FIELDS_MAX fields, in any order. */
void head_digest(unsigned status, const struct proto_header *fields, size_t n, uint8_t ret[SHA256_BYTES]);
