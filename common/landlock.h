/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock by its raw system calls: no file access beyond a list of folders, no TCP bind, no TCP connect but to a list
 * of ports, no signals and no abstract Unix sockets outside the process. A kernel gives as much of it as its ABI
 * version knows; it never stands alone, since UDP, MPTCP and pathname sockets pass it: seccomp closes those.
 */
#pragma once

#include "common/sandbox.h"

struct landlock_rules {
	const struct sandbox_path *paths;
	size_t n_paths;
	const uint16_t *tcp_ports; /* connect is permitted to these */
	size_t n_tcp_ports;
};

/* Restricts the calling thread for good. no_new_privs must be set. *ret_abi: 0 where the kernel has no Landlock. 0 or
 * negative. */
MUST_USE int landlock_enter(const struct landlock_rules *rules, int *ret_abi);
