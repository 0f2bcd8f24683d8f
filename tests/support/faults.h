/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls by which the log is written, one of them made to fail: for tests that are linked with
 * $(PKG_LIBS_faults), where each stands before the real one. Told to the power supply (tests/support/power.h) as well.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULT_CALLS_MAX 4000

enum fault {
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_EINTR,
	FAULT_SHORT, /* a write of half of it */
	FAULT_KILL,  /* the process ends, with 99; in the midst of a write */
	FAULT_POWER, /* the same, and the power goes */
	FAULT_LATER, /* EIO; the test lets the power go later */
	FAULT_DEAD,  /* EIO from there on for whatever writes */
};

/* The wrappers have no context to be given; there is one run at a time. */
extern struct faults {
	bool armed;
	enum fault fault;
	unsigned at, calls;
	uint64_t seed; /* 0: of what was not synced, nothing is left */
	bool *met;
} faults;

/* In a child that a test forked for it: from now on this call of those (UINT_MAX: none yet) fails so, *met says whether
 * it came to that, and nothing is said of it on standard error. */
void faults_begin(enum fault fault, unsigned at, bool *met);
/* Whether the power can go, so that all is told to power.h. */
bool faults_need_power(void);
void faults_cut_power(void);
