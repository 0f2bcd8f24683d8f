/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which segments are over: the rule alone, without a file or a clock of its own.
 *
 * A segment is over when each of its records is older than what is kept. How old a record is, is said by its own time
 * (recorded_ns) and by a clock, and either may be wrong. What must not happen is that something young is removed:
 *
 *   The clock is believed only as far as auditd has seen time pass. One that leaps ahead, and the time while auditd did
 *   not run, are followed at twice the speed of the machine's steady clock until they are caught up with. So
 *   whatever a clock says, nothing goes that was not held for half of its time at least. While a clock says what was
 *   past long ago, nothing goes.
 *
 *   Records lie in the order in which they were made. So each is taken to be as young as the youngest before it; and a
 *   segment with a time that lies in the future, or before an earlier record's, tells of a wrong clock and is over only
 *   together with one after it that does not.
 */
#pragma once

#include "common/base.h"

/* Slower steps back than this are a clock being set right, not one that is wrong. */
#define RETENTION_TOLERANCE_NS UINT64_C(60000000000)

/* How far the clock is believed. */
struct retention_clock {
	uint64_t believed_ns; /* Unix time */
	uint64_t steady_ns;   /* at which that was so; CLOCK_BOOTTIME */
};

/* The times of a segment's records. */
struct retention_times {
	uint64_t n;         /* records */
	uint64_t oldest_ns; /* of all, by their own word */
	uint64_t newest_ns; /* of those that are not in the future */
	bool straight;      /* none lies in the future, none before one that came earlier */
};

#define RETENTION_TIMES_NULL ((struct retention_times){.oldest_ns = UINT64_MAX, .straight = true})

/* Follows the clock. The time by which ages are measured, never later than `wall_ns`; 0, by which nothing is old, when
 * the clock was set back behind what was believed before. */
uint64_t retention_clock_now(struct retention_clock *c, uint64_t wall_ns, uint64_t steady_ns);

/* The segment's next record. */
void retention_times_add(struct retention_times *t, uint64_t recorded_ns, uint64_t wall_ns);
/*
 * How many of the first of these segments are over, oldest first: their records are all older than keep_ns at now_ns.
 * `newest_before_ns`: the youngest that was removed before them, 0 when nothing was.
 */
size_t retention_over(const struct retention_times *segments, size_t n, uint64_t newest_before_ns, uint64_t now_ns,
		      uint64_t keep_ns);
/* The youngest of the first n, or newest_before_ns. */
uint64_t retention_newest(const struct retention_times *segments, size_t n, uint64_t newest_before_ns);
