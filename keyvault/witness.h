/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the signer must not forget: the origin, size and root of the checkpoint it signed last. Written and synced
 * before a signature leaves the process; without it a captured auditd could have a shortened or forked log signed after
 * a restart.
 *
 * Two slots in two pages of one file, written in turn, each with a count and a checksum: a write that was torn by a
 * crash destroys the older slot only. The newer valid one counts.
 */
#pragma once

#include "common/base.h"

#define WITNESS_ORIGIN_BYTES_MAX 128
#define WITNESS_ROOT_BYTES       32

struct witness {
	int fd;
	uint64_t count; /* of saves; 0: nothing was ever signed and the rest is empty */
	uint64_t size;
	uint8_t root[WITNESS_ROOT_BYTES];
	char origin[WITNESS_ORIGIN_BYTES_MAX + 1];
};

enum witness_err {
	WITNESS_E_DAMAGED = 1, /* something is in the file, and no slot is valid */
	WITNESS_E_STORAGE,     /* it could not be made durable: do not sign */
};

/* `fd` stays the caller's. 0, WITNESS_E_DAMAGED or negative. */
MUST_USE int witness_load(int fd, struct witness *ret_witness);
/* 0 or WITNESS_E_STORAGE; then *w is as before. */
MUST_USE int witness_save(struct witness *w, struct span origin, uint64_t size, const uint8_t root[WITNESS_ROOT_BYTES]);
