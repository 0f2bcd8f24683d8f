/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/edges.h"

#define KEY_FILE_PATH_BYTES 4096

PRINTF_LIKE(2, 3) static int key_file_refuse(char why[KEY_FILE_WHY_BYTES], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, KEY_FILE_WHY_BYTES, format, args);
	va_end(args);
	return -EPERM;
}

static bool key_file_trusts(uid_t uid, const struct key_file_owner *owner)
{
	return uid == 0 || uid == geteuid() || uid == owner->uid;
}

/* A folder that others may write to is fine where they cannot touch what is not theirs. */
static int key_file_folder(const char *path, const struct key_file_owner *owner, int *ret_dir,
			   char why[KEY_FILE_WHY_BYTES])
{
	const char *slash = strrchr(path, '/');
	char folder[KEY_FILE_PATH_BYTES];
	struct stat st;

	(void)snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st)) {
		int r = -errno;

		(void)key_file_refuse(why, "%s: %s", folder, strerror(errno));
		if (dir >= 0)
			close(dir);
		return r;
	}
	if (!key_file_trusts(st.st_uid, owner) || ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))) {
		close(dir);
		return key_file_refuse(why, "%s: others could put a key of theirs into this folder: `chmod go-w %s`%s",
				       folder, folder, key_file_trusts(st.st_uid, owner) ? "" : " and `chown root` it");
	}
	*ret_dir = dir;
	return 0;
}

static int key_file_readers(const char *path, const struct stat *st, const struct key_file_owner *owner,
			    char why[KEY_FILE_WHY_BYTES])
{
	bool for_its_group = st->st_uid == 0 && (st->st_gid == 0 || st->st_gid == owner->gid);
	mode_t others = st->st_mode & (for_its_group ? 037 : 077);

	if (!others)
		return 0;
	return key_file_refuse(
		why,
		"%s: others may read it (mode %04o): `chmod 0400 %s`, in Kubernetes `defaultMode: 0400`; "
		"and think about whether somebody has",
		path, (unsigned)(st->st_mode & 07777), path);
}

static int key_file_check(int fd, const char *path, const struct key_file_owner *owner, size_t bytes_max,
			  char why[KEY_FILE_WHY_BYTES])
{
	struct stat st;

	if (fstat(fd, &st))
		return key_file_refuse(why, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return key_file_refuse(why, "%s: not a regular file", path);
	if (!key_file_trusts(st.st_uid, owner))
		return key_file_refuse(why, "%s: belongs to uid %u: `chown %u %s`, once you know why", path, st.st_uid,
				       owner->uid, path);
	int r = key_file_readers(path, &st, owner, why);
	if (r)
		return r;
	if (st.st_size == 0) {
		(void)key_file_refuse(why, "%s: empty", path);
		return -ENODATA;
	}
	if ((uintmax_t)st.st_size > bytes_max)
		return key_file_refuse(why, "%s: %ju bytes, and a key has no more than %zu", path,
				       (uintmax_t)st.st_size, bytes_max);
	return 0;
}

int key_file_open(const char *path, const struct key_file_owner *owner, size_t bytes_max, int *ret_fd,
		  char why[KEY_FILE_WHY_BYTES])
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int dir, r;

	if (path[0] != '/' || strlen(path) >= KEY_FILE_PATH_BYTES)
		return key_file_refuse(why, "%s: not an absolute path", path);
	r = key_file_folder(path, owner, &dir, why);
	if (r)
		return r;
	int fd = (int)syscall(SYS_openat2, dir, strrchr(path, '/') + 1, &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6: then no link at all */
		fd = openat(dir, strrchr(path, '/') + 1, (int)how.flags | O_NOFOLLOW);
	r = fd < 0 ? -errno : 0;
	close(dir);
	if (r == -EXDEV || r == -ELOOP)
		(void)key_file_refuse(why, "%s: a symbolic link that leaves its folder; name the file itself", path);
	else if (r)
		(void)key_file_refuse(why, "%s: %s", path, strerror(-r));
	else if ((r = key_file_check(fd, path, owner, bytes_max, why)) != 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

struct key_file_owner key_file_core(const struct cli *cli)
{
	uid_t uid = (uid_t)cli_value_u64(cli, "bulkhead.uid_base") + (uid_t)ROLE_KEYVAULT;
	bool distinct = geteuid() == 0;

	return (struct key_file_owner){.uid = distinct ? uid : geteuid(), .gid = distinct ? (gid_t)uid : getegid()};
}
