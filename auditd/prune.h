/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The removal of records that are over, as files go (auditd/pruner.c says when). Blocking; touches nothing that commits
 * touch, so it may run beside them.
 *
 *   1  prune_look()    which segments are over; the root of the tree of what they and all before them hold
 *   2                  log.prune is recorded, with that index and root, and is signed
 *   3  prune_begin()   the file `retention` says what is to be removed (retained.h)
 *   4  prune_step()    segments, the oldest first, each one durably; then bundles; then the index for receipts
 *   5                  the file says that it is done
 *
 * Whatever stops it between 2 and 5, what is left is a good log (verify.h): segments are contiguous from some point on
 * that log.prune covers, and below it there are hashes and perhaps some bundles. After 3 the next start goes on with 4.
 * Before 3, the next look finds the same segments over, and says so once more.
 *
 * Hash tiles are never removed: so proofs of what is left, and old checkpoints, stay good.
 */
#pragma once

#include "auditd/ledger.h"
#include "auditd/retained.h"
#include "auditd/retention.h"

/* Segments whose times are remembered: no more of them can be over at one look. */
#define PRUNE_SEGMENTS_MAX 4096

enum prune_err {
	PRUNE_E_DAMAGED = 1, /* a segment, or the tiles, are not what they should be: nothing may be removed */
	PRUNE_E_DONE,
};

/* What a look is about, and what it finds. */
struct prune_look {
	int dir;                /* of the log; borrowed */
	const uint64_t *firsts; /* first indices of all segments; the last one is being written */
	size_t n;
	uint64_t wall_ns, now_ns, keep_ns, newest_before_ns, signed_size;
	/* The times of closed segments, as far as they had to be read; kept from one look to the next. */
	struct prune_times {
		uint64_t first;
		struct retention_times times;
	} * known;
	size_t n_known;
	uint64_t end;       /* found: records before this one are over; 0: none */
	uint64_t newest_ns; /* with end: the youngest of them */
	struct merkle_hash root;
	char where[128];    /* with PRUNE_E_DAMAGED: what is not as it should be, or cannot be read */
	uint64_t active_ns; /* the time of the first record of the segment that is written; 0: it has none */
};

/* 0 or -ENOMEM. */
MUST_USE int prune_look_init(struct prune_look *l, int dir);
void prune_look_deinit(struct prune_look *l);
/* 0, PRUNE_E_DAMAGED or negative. */
MUST_USE int prune_look(struct prune_look *l);

struct prune {
	int dir;                /* of the log; borrowed */
	struct retained *what;  /* borrowed: its `done` is set at the end */
	const uint64_t *firsts; /* of segments that go, ascending; may be fewer than are there to go */
	size_t n, at;
	uint64_t bundle; /* the next to go */
	uint64_t block;  /* of the index for receipts: likewise */
};

/* Says durably what will be removed: *what is written. 0 or negative. */
MUST_USE int prune_begin(struct prune *p, int dir, struct retained *what, const uint64_t *firsts, size_t n);
/* The same for what the file said already: after a restart. */
void prune_resume(struct prune *p, int dir, struct retained *what, const uint64_t *firsts, size_t n);
/* Removes at most about `files` files. 0: there is more to do; PRUNE_E_DONE; or negative, and it may be tried again. */
MUST_USE int prune_step(struct prune *p, unsigned files);
