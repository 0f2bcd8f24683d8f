/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/files.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

static int files_refuse(struct files *f, const char *path, const char *why)
{
	(void)snprintf(f->why, sizeof(f->why), "%s: %s", path, why);
	return FILES_E_REFUSED;
}

/* Whose file is it, and who can read it? */
static int files_check(struct files *f, int fd, const char *path, off_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_origin(-errno);
	if (!S_ISREG(st.st_mode))
		return files_refuse(f, path, "not a regular file");
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return files_refuse(f, path, "belongs to another user");
	if (st.st_mode & 077)
		return files_refuse(f, path, "others may read it; chmod 0400");
	*ret_bytes = st.st_size;
	return 0;
}

/* A file in our state folder, made when missing; the folder is synced so that it stays. */
static int files_open_state(struct files *f, int dir, const char *dir_path, const char *name, int *ret_fd,
			    off_t *ret_bytes)
{
	char path[FILES_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s", dir_path, name);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return files_refuse(f, path, strerrordesc_np(errno));
	*ret_fd = fd;
	if (fsync(dir))
		return err_origin(-errno);
	return files_check(f, fd, path, ret_bytes);
}

static int files_open_configured(struct files *f, const char *path, off_t *ret_bytes)
{
	f->configured_key = true;
	/* Mounted secrets are symbolic links: followed here, where the operator named the path. */
	f->root_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->root_fd < 0)
		return files_refuse(f, path, strerrordesc_np(errno));
	return files_check(f, f->root_fd, path, ret_bytes);
}

static int files_load_sealed(struct files *f, off_t bytes)
{
	ssize_t n = pread(f->root_fd, f->sealed, sizeof(f->sealed), 0);

	if (n < 0)
		return err_origin(-errno);
	if (bytes != ROOT_SEALED_BYTES || root_check_sealed(span_of(f->sealed, (size_t)n)))
		return files_refuse(f, f->root_path,
				    "damaged; restore it, or remove it if `vault init` never succeeded");
	f->initialised = true;
	(void)close(f->root_fd);
	f->root_fd = -1;
	return 0;
}

/* Reads a key file once at start, so that a bad one is found now and not at the next unseal. */
static int files_try_key(struct files *f, struct secret_arena *arena)
{
	struct secret root = SECRET_NULL;

	int r = files_read_key(f, arena, &root);
	secret_free(arena, &root);
	f->initialised = r == 0;
	return r;
}

/* A second root key beside the first would make every sealed credential useless: `keyvault.unseal` was changed by
 * mistake, or the old file has to be moved away first. */
static int files_check_other(struct files *f, int dir, const char *dir_path)
{
	const char *other = f->by_passphrase ? "root.key" : "root.sealed";
	char path[FILES_PATH_BYTES];
	struct stat st;

	if (fstatat(dir, other, &st, AT_SYMLINK_NOFOLLOW) || st.st_size == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%s", dir_path, other);
	return files_refuse(f, path, "is there, but keyvault.unseal asks for another root key");
}

static int files_open_root(struct files *f, const struct config *config, int dir, const char *dir_path,
			   struct secret_arena *arena)
{
	const char *name = f->by_passphrase ? "root.sealed" : "root.key";
	off_t bytes = 0;
	int r;

	if (!f->by_passphrase && config->keyvault.key_file[0]) {
		(void)snprintf(f->root_path, sizeof(f->root_path), "%s", config->keyvault.key_file);
		r = files_open_configured(f, f->root_path, &bytes);
	} else {
		(void)snprintf(f->root_path, sizeof(f->root_path), "%s/%s", dir_path, name);
		r = files_open_state(f, dir, dir_path, name, &f->root_fd, &bytes);
	}
	if (r || (bytes == 0 && !f->configured_key))
		return r;
	return f->by_passphrase ? files_load_sealed(f, bytes) : files_try_key(f, arena);
}

int files_open(struct files *f, const struct config *config, struct secret_arena *arena)
{
	char dir_path[FILES_PATH_BYTES - 64];
	off_t bytes;

	*f = FILES_NULL;
	f->by_passphrase = config->keyvault.unseal == CONFIG_UNSEAL_PASSPHRASE;
	(void)snprintf(dir_path, sizeof(dir_path), "%s/keyvault", config->bulkhead.state_dir);
	int dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return files_refuse(f, dir_path, strerrordesc_np(errno));
	int r = files_check_other(f, dir, dir_path);
	if (!r)
		r = files_open_root(f, config, dir, dir_path, arena);
	if (!r)
		r = files_open_state(f, dir, dir_path, "witness", &f->witness_fd, &bytes);
	(void)close(dir);
	if (r)
		files_close(f);
	return r;
}

void files_close(struct files *f)
{
	if (f->root_fd >= 0)
		(void)close(f->root_fd);
	if (f->witness_fd >= 0)
		(void)close(f->witness_fd);
	f->root_fd = f->witness_fd = -1;
}

int files_read_key(struct files *f, struct secret_arena *arena, struct secret *ret_root)
{
	struct secret file = SECRET_NULL;

	if (secret_alloc(arena, ROOT_FILE_BYTES_MAX + 1, &file))
		return FILES_E_FULL;
	secret_open(arena);
	ssize_t n = pread(f->root_fd, file.p, file.len, 0);
	int r = n < 0 ? err_origin(-errno) : 0;
	int e = r ? 0 : root_parse_file(arena, span_of(file.p, (size_t)n), ret_root);
	secret_close(arena);
	secret_free(arena, &file);
	return e ? files_refuse(f, f->root_path, root_err_text(e)) : r;
}

int files_write_root(struct files *f, struct span bytes)
{
	assert(!f->initialised && f->root_fd >= 0 && !f->configured_key);
	if (pwrite(f->root_fd, bytes.p, bytes.len, 0) != (ssize_t)bytes.len || fsync(f->root_fd)) {
		if (ftruncate(f->root_fd, 0))
			(void)err_origin(-errno);
		return FILES_E_STORAGE;
	}
	f->initialised = true;
	if (f->by_passphrase) {
		memcpy(f->sealed, bytes.p, sizeof(f->sealed));
		(void)close(f->root_fd);
		f->root_fd = -1;
	}
	return 0;
}
