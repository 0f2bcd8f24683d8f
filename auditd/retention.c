/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/retention.h"

/* How much faster than the steady clock one that is ahead is followed. */
#define RETENTION_CATCH_UP 2

uint64_t retention_clock_now(struct retention_clock *c, uint64_t wall_ns, uint64_t steady_ns)
{
	uint64_t passed = steady_ns > c->steady_ns ? steady_ns - c->steady_ns : 0;

	c->steady_ns = MAX(c->steady_ns, steady_ns);
	if (wall_ns > c->believed_ns)
		c->believed_ns += MIN(wall_ns - c->believed_ns, RETENTION_CATCH_UP * passed);
	if (c->believed_ns - MIN(wall_ns, c->believed_ns) > RETENTION_TOLERANCE_NS)
		return 0; /* one of the two is wrong */
	return MIN(wall_ns, c->believed_ns);
}

void retention_times_add(struct retention_times *t, uint64_t recorded_ns, uint64_t wall_ns)
{
	bool future = recorded_ns > wall_ns, back = recorded_ns + RETENTION_TOLERANCE_NS < t->newest_ns;

	t->n++;
	t->oldest_ns = MIN(t->oldest_ns, recorded_ns);
	t->straight = t->straight && !future && !back;
	if (!future)
		t->newest_ns = MAX(t->newest_ns, recorded_ns);
}

uint64_t retention_newest(const struct retention_times *segments, size_t n, uint64_t newest_before_ns)
{
	for (size_t i = 0; i < n; i++)
		newest_before_ns = MAX(newest_before_ns, segments[i].newest_ns);
	return newest_before_ns;
}

size_t retention_over(const struct retention_times *segments, size_t n, uint64_t newest_before_ns, uint64_t now_ns,
		      uint64_t keep_ns)
{
	uint64_t newest = newest_before_ns;
	size_t over = 0;

	for (size_t i = 0; i < n; i++) {
		const struct retention_times *t = &segments[i];
		bool straight = t->n > 0 && t->straight && t->oldest_ns + RETENTION_TOLERANCE_NS >= newest;
		newest = MAX(newest, t->newest_ns);
		if (newest >= now_ns || now_ns - newest <= keep_ns)
			break;
		if (straight)
			over = i + 1;
	}
	return over;
}
