/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.def as a seccomp program for one role. Apart from sandbox.c so that a test can run it. */
#pragma once

#include <sys/types.h>

#include "common/seccomp_bpf.h"
#include "proto/proto.h"

/* `self`: the process that will run under it. 0 or -E2BIG. */
MUST_USE int sandbox_program(enum role role, pid_t self, uint32_t otherwise, struct seccomp_bpf *ret);
