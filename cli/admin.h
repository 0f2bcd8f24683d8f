/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's side of an admin socket: blocking, one call at a time, every wait with a deadline. Frames, buffers and
 * answers lie in locked memory that is wiped when the connection is closed: they may carry secrets.
 */
#pragma once

#include "cli/cli.h"
#include "proto/proto.h"

struct admin;

#define ADMIN_DEADLINE_MS 10000

/* Connects to an instance's admin socket and exchanges HELLO. CLI_DONE, or CLI_FAILED with the line printed. */
MUST_USE int admin_open(struct cli *cli, enum role role, unsigned worker, struct admin **ret_admin);
/* The same without a line, for `status`: *ret_why says what was the matter. */
MUST_USE int admin_try(struct cli *cli, enum role role, unsigned worker, struct admin **ret_admin,
		       const char **ret_why);
/* A daemon to be asked; `a` NULL: `why` it cannot be. */
typedef void admin_visit(void *ctx, const char *name, struct admin *a, const char *why);
/* Visits every daemon that the configuration calls for. CLI_DONE; CLI_FAILED: there is no configuration. */
MUST_USE int admin_each(struct cli *cli, admin_visit *visit, void *ctx);
/* Wipes and frees. NULL is fine. Returns NULL. */
struct admin *admin_close(struct admin *a);
/*
 * Sends `msg` and awaits the answer `expect`; *ret_msg (the struct of that message) views the connection's buffer and
 * lives until the next call. CLI_DONE; CLI_FAILED with the line printed: REFUSED's text, a timeout, a lost peer.
 */
MUST_USE int admin_call(struct admin *a, enum proto_type type, const void *msg, enum proto_type expect,
			uint64_t deadline_ms, const union proto_any **ret_msg);
/* The same with a descriptor, which stays the caller's; -1: none. */
MUST_USE int admin_call_fd(struct admin *a, enum proto_type type, const void *msg, int fd, enum proto_type expect,
			   uint64_t deadline_ms, const union proto_any **ret_msg);
