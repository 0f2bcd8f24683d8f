/* SPDX-License-Identifier: Apache-2.0 */
/* The root key for a core that starts. The core reads it and closes it before its first peer speaks. */
#include "cli/launch_files.h"

#include <errno.h>
#include <unistd.h>

#include "cli/root_source.h"

static bool key_starts_core(const struct launcher *l)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (l->children[i].role == ROLE_KEYVAULT)
			return true;
	return false;
}

/* 0 with *ret_fd -1 where `vault init` has yet to make the key. */
static int key_open(struct launcher *l, int *ret_fd, char why[KEY_FILE_WHY_BYTES])
{
	int r = root_source_open(l->cli, ret_fd, why);

	if ((r == -ENOENT || r == -ENODATA) && root_source_is_made_by_us(l->cli)) {
		*ret_fd = -1;
		return 0;
	}
	return r;
}

int launch_check_key(struct launcher *l)
{
	char why[KEY_FILE_WHY_BYTES];
	int fd = -1;

	if (!key_starts_core(l) || root_source_is_passphrase(l->cli))
		return CLI_DONE;
	if (key_open(l, &fd, why))
		return cli_fail(l->cli, "the root key: %s", why);
	if (fd >= 0)
		close(fd);
	return CLI_DONE;
}

int launch_open_key(struct launcher *l)
{
	char why[KEY_FILE_WHY_BYTES];
	int fd = -1;

	if (root_source_is_passphrase(l->cli) || root_source_is_marked(l->cli))
		return -1;
	if (key_open(l, &fd, why) == 0)
		return fd;
	log_event(&l->log, LOG_LAUNCH_NO_KEY, LOG_STR("why", why));
	return -1;
}

void launch_forget_seal(struct launcher *l)
{
	int r = key_starts_core(l) ? root_source_unmark(l->cli) : 0;

	if (r)
		cli_fail(l->cli, "the mark of `vault seal` stays in %s: %s", cli_value(l->cli, "bulkhead.run_dir"),
			 strerror(-r));
}
