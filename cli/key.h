/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway keys that there are, revoked ones included. */
#pragma once

#include "cli/admin.h"

/* `key` views the connection's buffer. */
typedef void key_visit(void *ctx, const struct proto_key_info *key);
/* Asks authd page by page. CLI_DONE, or CLI_FAILED with the line printed. */
MUST_USE int key_each(struct admin *authd, key_visit *visit, void *ctx);
