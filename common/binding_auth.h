/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a binding that says what is made of a secret (proto/auth.def). The core checks it before it seals, and
 * the egress once more before it uses it. Sans I/O.
 */
#pragma once

#include "proto/proto.h"

#define BINDING_PIN_BYTES 32

/* The secret is exchanged for an access token. */
bool binding_takes_token(const struct proto_binding *b);
/* The fields from `auth` on fit together, and hold nothing that could break out of a header, a form or a claim. */
bool binding_auth_ok(const struct proto_binding *b);
/* REGION and SERVICE of a signature's scope. False when it is none. */
bool binding_sign_scope(const struct proto_binding *b, struct span *ret_region, struct span *ret_service);
