/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns a table of permitted system calls into a seccomp program. Sans I/O: nothing here talks to the kernel, so that a
 * test can run every program on every input.
 *
 * A row permits one system call when all of its conditions hold; several rows for one call are alternatives. A
 * condition compares an argument under a mask, which expresses equality, "these bits and no others" and "none of these
 * bits". What no row permits gets `otherwise`, and so does every call made through another architecture's entry (x32
 * and i386 on x86-64).
 */
#pragma once

#include <linux/filter.h>

#include "common/base.h"

#define SECCOMP_BPF_CONDS_MAX 3
#define SECCOMP_BPF_INSNS_MAX 1024

/* (args[arg] & mask) == value. A mask of 0 ends the list. An int argument is compared by its low 32 bits, as the kernel
 * does. */
struct seccomp_bpf_cond {
	uint64_t mask, value;
	uint8_t arg;
};

struct seccomp_bpf_row {
	uint64_t roles; /* BIT(role): whose row this is */
	int nr;
	struct seccomp_bpf_cond conds[SECCOMP_BPF_CONDS_MAX];
};

struct seccomp_bpf {
	struct sock_filter insns[SECCOMP_BPF_INSNS_MAX];
	uint16_t n;
	uint16_t n_calls; /* different system calls that it permits */
};

/* The rows of `role_bit`, answered with SECCOMP_RET_ALLOW. 0 or -E2BIG. */
MUST_USE int seccomp_bpf_build(struct seccomp_bpf *ret, const struct seccomp_bpf_row *rows, size_t n_rows,
			       uint64_t role_bit, uint32_t otherwise);
/* One call answered with `answer`, everything else allowed. */
void seccomp_bpf_build_single(struct seccomp_bpf *ret, int nr, uint32_t answer);
