/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the egress's record of a request by its id, for receipts. Costs the log nothing until somebody asks.
 *
 * Works on the published part of the log folder alone, which nobody changes any more, so it may run beside the writer.
 * The index is made when it is first needed, from the bundles, one file for each FINDER_BLOCK records:
 *
 *   receipts/<n>   a sorted array of u64, little endian: 48 bits of SHA-256(request id), 16 bits of place in the block
 *
 * The newest block's lies in memory and grows with what was published since the last question. An index is a hint:
 * what counts is the record that it leads to. So a lost or damaged file is no harm to the log; it is made again when it
 * is not there.
 */
#pragma once

#include "auditd/leaf.h"

#define FINDER_BLOCK      ((uint64_t)65536)
#define FINDER_FOLDER     "receipts"
#define FINDER_LOOKS_MAX  256 /* records of one id that are looked at, the newest first */
#define FINDER_BUILDS_MAX 8   /* files made for one question: more makes the next ones wait */

struct finder {
	int dir;        /* of the log, borrowed */
	int files;      /* FINDER_FOLDER, owned; -1: it cannot be made */
	uint64_t next;  /* the first record that `rows` does not know of; its block is theirs */
	uint64_t *rows; /* of the newest block, in order of place; room for FINDER_BLOCK */
	size_t n;
	/* What is to be asked again goes on there: where no file can be written, it would never come to an end. */
	struct {
		uint8_t question[32];   /* a digest of what was wanted */
		uint64_t newest, block; /* while that is the newest block, all from `block` on was looked at; 0: none */
	} left;
};

#define FINDER_NULL ((struct finder){.dir = -1, .files = -1})

/* Whose record it must be; an empty `actor`: anybody's. */
struct finder_wanted {
	struct span request_id, tenant, actor;
};

enum finder_err {
	FINDER_E_NONE = 1, /* no such record among the first `size` */
	FINDER_E_LATER,    /* not all of them were looked at: ask again */
};

/* Makes the folder, if it can. 0 or -ENOMEM. */
MUST_USE int finder_init(struct finder *f, int dir);
void finder_deinit(struct finder *f);
/* The newest matching record of the log's first `size`, which must be published. 0, FINDER_E_* or negative. */
MUST_USE int finder_find(struct finder *f, uint64_t size, const struct finder_wanted *wanted, uint64_t *ret_index);
