/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon gives up before it meets input. The lists are tables: sandbox.def names each system call that a role
 * keeps.
 *
 * Two steps. sandbox_prepare() right at start: no_new_privs, no dumps, no core, MDWE, and a tiny filter that answers
 * io_uring_setup with ENOSYS so that libuv falls back to epoll. sandbox_enter() after everything is open: Landlock
 * (where the kernel has it) denying all file and TCP access beyond `paths`, then the role's seccomp list, kill on
 * anything else.
 */
#pragma once

#include "proto/proto.h"

struct sandbox_path {
	const char *path; /* a folder or file */
	bool write;
	bool remove_folders; /* with write: also empty folders below it */
};

/* 0 or negative; a missing kernel feature is not an error but is left out of the text of sandbox_enter(). */
MUST_USE int sandbox_prepare(void);
/* `paths` may be NULL. Describes what holds in `ret_text` ("seccomp(23) landlock(7) no-dump mdwe"). 0 or negative. */
MUST_USE int sandbox_enter(enum role role, const struct sandbox_path *paths, size_t n_paths, char *ret_text,
			   size_t cap);
/* The shipper's: these files and folders, to read, and TCP connections to these ports. */
MUST_USE int sandbox_enter_shipping(const struct sandbox_path *paths, size_t n_paths, const uint16_t *ports,
				    size_t n_ports, char *ret_text, size_t cap);
/* The dialer's: TCP connections to these ports and no others, where the kernel's Landlock knows ports (ABI 4). */
MUST_USE int sandbox_enter_dialing(const uint16_t *ports, size_t n_ports, char *ret_text, size_t cap);
