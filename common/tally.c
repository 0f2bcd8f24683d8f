/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tally.h"

#include <sys/mman.h>
#include <unistd.h>

#include "common/err.h"

static bool tally_is_good(const struct tally *t)
{
	static const uint8_t nobody[sizeof(t->sequence)];

	return t->made <= TALLY_MADE_MAX &&
	       !span_eq(span_of(t->sequence, sizeof(nobody)), span_of(nobody, sizeof(nobody)));
}

int tally_open(int fd, const uint8_t boot[16], struct tally **ret_tally)
{
	int flags = fd >= 0 ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS;
	struct tally *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, flags, fd, 0);
	int r = t == MAP_FAILED ? err_origin(-errno) : 0;

	if (fd >= 0)
		(void)close(fd);
	if (r)
		return r;
	if (!tally_is_good(t)) {
		tally_set(t, 0);
		memcpy(t->sequence, boot, sizeof(t->sequence));
	}
	*ret_tally = t;
	return 0;
}

void tally_leave(struct tally *t, const uint8_t boot[16])
{
	memcpy(t->sequence, boot, sizeof(t->sequence));
}

void tally_close(struct tally *t)
{
	if (t)
		(void)munmap(t, sizeof(*t));
}
