/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events a producer has made, where its death cannot take the number along.
 *
 * The launcher keeps one page for each instance that records events, a memfd of sealed size, and hands it to every
 * process that takes the instance's place. Each event is numbered there before anything that follows from it can be
 * seen outside; the number is one store to memory. A process that is killed leaves it behind, and its successor goes on
 * in the same sequence: what the dead one had made, or owed, and auditd never got, is a jump in that sequence, which
 * the successor reports as a gap, and which auditd would notice without it.
 *
 * So nobody has to read a stranger's memory, and whoever lies in its page can say nothing that it could not say to
 * auditd itself, but for one thing: that less was made than auditd has. The successor, whose events would be taken for
 * old ones, finds that out from RESUME and goes on under a name of its own (common/audit_client.c).
 */
#pragma once

#include "common/base.h"

/* More than anybody makes in a thousand years; what lies above is not a count. */
#define TALLY_MADE_MAX (1ULL << 53)

struct tally {
	uint8_t sequence[16]; /* its name in HELLO and in the log: the boot id of the first process in it */
	uint64_t made;        /* the last number, of an event that was made or is owed */
};

/* Maps the page in `fd`, which is consumed; -1: a page of one's own, for who has no launcher or records nothing. A page
 * that is new, or cannot be, becomes the sequence `boot`. 0 or negative. */
MUST_USE int tally_open(int fd, const uint8_t boot[16], struct tally **ret_tally);
/* NULL is fine. */
void tally_close(struct tally *t);
/* Goes on under another name, with the next number. */
void tally_leave(struct tally *t, const uint8_t boot[16]);

/* Before anything that follows from the event is written to a socket; a call to the kernel is not moved before it. */
static inline void tally_set(struct tally *t, uint64_t made)
{
	__atomic_store_n(&t->made, made, __ATOMIC_RELAXED);
}
