/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/tally.h: one page for each instance that talks to the log. It is ours, so that it survives every process that
 * writes to it, and it goes with us: whoever is started by the next launcher begins a new sequence.
 */
#include "cli/launch_tally.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/tally.h"

/* Nobody can make it shorter than what others have mapped. */
#define TALLY_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

static int tally_make(int *ret_fd)
{
	int fd = memfd_create("bulkhead-tally", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(struct tally)) || fcntl(fd, F_ADD_SEALS, TALLY_SEALS)) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int launch_tally(struct launch_child *c, int *ret_fd)
{
	int r = c->tally_fd < 0 && edge_row(ROLE_AUDITD, c->role) ? tally_make(&c->tally_fd) : 0;

	*ret_fd = c->tally_fd;
	return r;
}

void launch_close_tallies(struct launcher *l)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (l->children[i].tally_fd >= 0)
			close(l->children[i].tally_fd);
}
