/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/root_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOT_SOURCE_PATH_BYTES 4096

bool root_source_is_passphrase(const struct cli *cli)
{
	return strcmp(cli_value(cli, "keyvault.unseal"), "passphrase") == 0;
}

static bool root_source_is_credential(const struct cli *cli)
{
	return strcmp(cli_value(cli, "keyvault.unseal"), "credential") == 0;
}

bool root_source_is_made_by_us(const struct cli *cli)
{
	return !root_source_is_passphrase(cli) && !root_source_is_credential(cli) &&
	       !cli_value(cli, "keyvault.key_file")[0];
}

static int root_source_path(const struct cli *cli, char path[ROOT_SOURCE_PATH_BYTES], char why[KEY_FILE_WHY_BYTES])
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY"), *name = cli_value(cli, "keyvault.credential");

	if (root_source_is_made_by_us(cli)) {
		(void)snprintf(path, ROOT_SOURCE_PATH_BYTES, "%s/keyvault/root.key",
			       cli_value(cli, "bulkhead.state_dir"));
	} else if (!root_source_is_credential(cli)) {
		(void)snprintf(path, ROOT_SOURCE_PATH_BYTES, "%s", cli_value(cli, "keyvault.key_file"));
	} else if (!folder || folder[0] != '/') {
		(void)snprintf(why, KEY_FILE_WHY_BYTES,
			       "keyvault.unseal is credential, and $CREDENTIALS_DIRECTORY is not set: "
			       "LoadCredential=%s:... in "
			       "the unit; in a shell name the file, --key-file /run/credentials/bulkhead.service/%s",
			       name, name);
		return -EINVAL;
	} else {
		(void)snprintf(path, ROOT_SOURCE_PATH_BYTES, "%.3000s/%s", folder, name);
	}
	return 0;
}

int root_source_open(const struct cli *cli, int *ret_fd, char why[KEY_FILE_WHY_BYTES])
{
	struct key_file_owner core = key_file_core(cli);
	char path[ROOT_SOURCE_PATH_BYTES];
	int r = root_source_path(cli, path, why);

	return r ? r : key_file_open(path, &core, ROOT_SOURCE_FILE_BYTES_MAX, ret_fd, why);
}

/* ---- the mark ---- */

static void root_source_mark_path(const struct cli *cli, char path[ROOT_SOURCE_PATH_BYTES])
{
	(void)snprintf(path, ROOT_SOURCE_PATH_BYTES, "%s/keyvault.sealed", cli_value(cli, "bulkhead.run_dir"));
}

int root_source_mark(const struct cli *cli)
{
	char path[ROOT_SOURCE_PATH_BYTES];

	root_source_mark_path(cli, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (fd < 0)
		return errno == EACCES && root_source_is_marked(cli) ? 0 : -errno;
	close(fd);
	return 0;
}

int root_source_unmark(const struct cli *cli)
{
	char path[ROOT_SOURCE_PATH_BYTES];

	root_source_mark_path(cli, path);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

bool root_source_is_marked(const struct cli *cli)
{
	char path[ROOT_SOURCE_PATH_BYTES];

	root_source_mark_path(cli, path);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
