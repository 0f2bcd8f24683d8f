/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a whole log folder, offline, from the segments up:
 *
 *      checkpoint      signed by the key, of the key's origin
 *      segments        contiguous from index 0, or from where a signed log.prune says that retention began to keep
 *                      (prefix.h), each head continuing the one before, nothing but zeros after the last entry
 *      entries         whole, in order, records of ours; each producer's sequence without holes but for those that
 *                      log.gap covers
 *      tree            at the checkpoint's size, its root; every tile and bundle up to there, byte for byte; what is
 *                      left of earlier ones (strays.h)
 *
 * What follows the checkpoint is checked as well, but nobody has signed it yet. The folder may be in use: then only the
 * very last entries can be caught half-written, and are looked at again. It may be a copy of one that was in use: then
 * what follows the checkpoint may be torn anywhere. From there on it proves nothing, and that is said; it is no damage.
 */
#pragma once

#include "common/tlog_policy.h"

struct verify_options {
	const struct note_key
		*key; /* NULL: the policy's, else the one in the folder, which proves nothing against its owner */
	const struct tlog_policy *policy; /* who must have cosigned; NULL: nobody */
	bool in_use;                      /* somebody may be writing: look again before calling the last entries torn */
	bool copied; /* somebody may have been writing when it was copied: what is torn behind the checkpoint is no
			damage */
	void (*progress)(void *ctx, uint64_t done_bytes, uint64_t all_bytes); /* may be NULL */
	void *ctx;
};

struct verify_report {
	bool good;
	char why[256]; /* with !good: what was found first */
	struct note_key key;
	uint64_t first; /* index of the first entry that is there; what was before it is a matter of its hashes */
	struct {
		uint64_t index, time_ns; /* of the log.prune that says that retention removed those before `first` */
		char keep[16];           /* because they were older than that */
	} pruned;                        /* with first > 0 and good */
	uint64_t entries, signed_size, segments; /* entries: of the log, removed ones included */
	uint64_t gaps, lost;                     /* log.gap entries, and the events that they cover */
	struct {
		uint64_t bytes, segments; /* behind the last whole entry: in its segment, and segments after that */
	} uncovered;                      /* by any checkpoint, and not as they were written; with good */
	uint64_t first_ns, last_ns;
	struct merkle_hash root;      /* signed */
	unsigned cosigned, witnesses; /* of the policy's witnesses, so many of so many */
	uint64_t cosigned_s;          /* POSIX time of the oldest of these cosignatures */
};

/* 0, and *ret_report says whether it is good; or negative. */
MUST_USE int verify_log(const char *path, const struct verify_options *options, struct verify_report *ret_report);
