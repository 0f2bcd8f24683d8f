/* SPDX-License-Identifier: Apache-2.0 */
/* A launcher's part for auditd alone, in tests: configuration, listeners, a control socket. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/base.h"

#define AUDIT_LAUNCH_MAX 16

struct audit_launch {
	const char *program, *folder; /* folder: state_dir */
	uint64_t segment_bytes;       /* 0: the default, and commits when it likes; else small commits at once */
	unsigned life;                /* how often it was started before: AUDIT_LIFE in its environment */
	const int *listeners;         /* of auditd.router0 and so on */
	size_t n;
};

/* 0 or negative. */
MUST_USE int audit_launch(const struct audit_launch *spec, pid_t *ret_pid, int *ret_control);
