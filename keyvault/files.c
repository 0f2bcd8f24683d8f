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
		return files_refuse(f, path, "belongs to another user; chown it");
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
		return files_refuse(f, path,
				    errno == ELOOP ? "a symbolic link; put the file itself there"
						   : strerrordesc_np(errno));
	*ret_fd = fd;
	if (fsync(dir))
		return err_origin(-errno);
	return files_check(f, fd, path, ret_bytes);
}

static void files_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static int files_load_sealed(struct files *f, off_t bytes)
{
	ssize_t n = pread(f->root_fd, f->sealed, sizeof(f->sealed), 0);

	if (n < 0)
		return err_origin(-errno);
	if (bytes != ROOT_SEALED_BYTES || root_check_sealed(span_of(f->sealed, (size_t)n)))
		return files_refuse(f, f->root_path,
				    "damaged; restore it from a backup, or remove it if `vault init` never succeeded");
	f->initialised = true;
	files_close_fd(&f->root_fd);
	return 0;
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

static int files_open_root(struct files *f, int dir, const char *dir_path)
{
	const char *name = f->by_passphrase ? "root.sealed" : "root.key";
	off_t bytes = 0;

	(void)snprintf(f->root_path, sizeof(f->root_path), "%s/%s", dir_path, name);
	int r = files_open_state(f, dir, dir_path, name, &f->root_fd, &bytes);
	if (!r) {
		f->replace_fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		r = f->replace_fd < 0 ? err_origin(-errno) : 0;
		f->root_bytes = (size_t)bytes;
	}
	if (r || bytes == 0)
		return r;
	if (f->by_passphrase)
		return files_load_sealed(f, bytes);
	f->initialised = true;
	files_close_fd(&f->root_fd);
	return 0;
}

static bool files_key_is_configured(const struct config *config)
{
	return config->keyvault.unseal == CONFIG_UNSEAL_CREDENTIAL ||
	       (config->keyvault.unseal == CONFIG_UNSEAL_KEY_FILE && config->keyvault.key_file[0]);
}

int files_open(struct files *f, const struct config *config)
{
	char dir_path[FILES_PATH_BYTES - 64];
	off_t bytes;

	*f = FILES_NULL;
	f->by_passphrase = config->keyvault.unseal == CONFIG_UNSEAL_PASSPHRASE;
	f->configured_key = f->initialised = files_key_is_configured(config);
	(void)snprintf(f->root_path, sizeof(f->root_path), "%s",
		       config->keyvault.unseal == CONFIG_UNSEAL_CREDENTIAL ? config->keyvault.credential
									   : config->keyvault.key_file);
	(void)snprintf(dir_path, sizeof(dir_path), "%s/keyvault", config->bulkhead.state_dir);
	int dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return files_refuse(f, dir_path, strerrordesc_np(errno));
	int r = files_check_other(f, dir, dir_path);
	if (!r && !f->configured_key)
		r = files_open_root(f, dir, dir_path);
	if (!r)
		r = files_open_state(f, dir, dir_path, "root.next", &f->next_fd, &bytes);
	if (!r)
		r = files_open_state(f, dir, dir_path, "keys", &f->keys_fd, &bytes);
	if (!r)
		r = files_open_state(f, dir, dir_path, "marks", &f->marks_fd, &bytes);
	if (!r)
		r = files_open_state(f, dir, dir_path, "witness", &f->witness_fd, &bytes);
	(void)close(dir);
	if (r)
		files_close(f);
	return r;
}

void files_close(struct files *f)
{
	files_close_fd(&f->root_fd);
	files_close_fd(&f->replace_fd);
	files_close_fd(&f->next_fd);
	files_close_fd(&f->keys_fd);
	files_close_fd(&f->marks_fd);
	files_close_fd(&f->witness_fd);
}

int files_read_key(struct files *f, int key_fd, struct secret_arena *arena, struct secret *ret_root)
{
	struct secret file = SECRET_NULL;

	if (secret_alloc(arena, ROOT_FILE_BYTES_MAX + 1, &file)) {
		(void)close(key_fd);
		return FILES_E_FULL;
	}
	secret_open(arena);
	ssize_t n = pread(key_fd, file.p, file.len, 0);
	int error = errno;
	int e = n < 0 ? 0 : root_parse_file(arena, span_of(file.p, (size_t)n), ret_root);
	secret_close(arena);
	secret_free(arena, &file);
	(void)close(key_fd);
	if (n < 0)
		return files_refuse(f, f->root_path, strerrordesc_np(error));
	if (e == ROOT_E_FULL)
		return FILES_E_FULL;
	return e ? files_refuse(f, f->root_path, root_err_text(e)) : 0;
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
	f->root_bytes = bytes.len;
	if (f->by_passphrase)
		memcpy(f->sealed, bytes.p, sizeof(f->sealed));
	files_close_fd(&f->root_fd);
	return 0;
}
