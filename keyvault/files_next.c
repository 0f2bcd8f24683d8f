/* SPDX-License-Identifier: Apache-2.0 */
/* The root key that is about to take the place of the one there is. */
#include <assert.h>
#include <unistd.h>

#include "common/err.h"
#include "keyvault/files.h"

bool files_has_next(const struct files *f)
{
	uint8_t byte;

	return pread(f->next_fd, &byte, 1, 0) == 1;
}

int files_drop_next(struct files *f)
{
	static const uint8_t zeros[ROOT_FILE_BYTES_MAX + ROOT_SEALED_BYTES];

	if (!files_has_next(f))
		return 0;
	if (pwrite(f->next_fd, zeros, sizeof(zeros), 0) != sizeof(zeros) || fsync(f->next_fd) ||
	    ftruncate(f->next_fd, 0) || fsync(f->next_fd))
		return FILES_E_STORAGE;
	return 0;
}

int files_write_next(struct files *f, struct span bytes)
{
	/* Behind it may be what could not be dropped: all that is in the file becomes the root file. */
	if (pwrite(f->next_fd, bytes.p, bytes.len, 0) == (ssize_t)bytes.len &&
	    ftruncate(f->next_fd, (off_t)bytes.len) == 0 && fsync(f->next_fd) == 0)
		return 0;
	if (files_drop_next(f))
		(void)err_origin(-EIO);
	return FILES_E_STORAGE;
}

/*
 * In the form and the length of what is there, which may be hex or base64: so it is one write within one sector, and
 * whoever dies, or whatever power fails, it is the one key or the other. A length that no form has is cut afterwards.
 */
int files_take_next(struct files *f, struct secret_arena *arena)
{
	struct secret file = SECRET_NULL; /* and behind it the same in another form */
	int r = FILES_E_STORAGE;

	assert(!f->configured_key);
	if (secret_alloc(arena, ROOT_SEALED_BYTES + ROOT_FILE_BYTES_MAX, &file))
		return r;
	secret_open(arena);
	uint8_t *text = file.p + ROOT_SEALED_BYTES;
	ssize_t n = pread(f->next_fd, file.p, ROOT_SEALED_BYTES, 0);
	struct span bytes = span_of(file.p, n > 0 ? (size_t)n : 0);
	if (bytes.len == ROOT_KEY_BYTES && f->root_bytes < ROOT_FILE_BYTES_MAX &&
	    root_format_file(file.p, (char *)text, f->root_bytes))
		bytes = span_of(text, f->root_bytes);
	if (n > 0 && pwrite(f->replace_fd, bytes.p, bytes.len, 0) == (ssize_t)bytes.len &&
	    ftruncate(f->replace_fd, (off_t)bytes.len) == 0 && fsync(f->replace_fd) == 0)
		r = 0;
	if (r == 0 && f->by_passphrase)
		memcpy(f->sealed, file.p, sizeof(f->sealed));
	if (r == 0)
		f->root_bytes = bytes.len;
	secret_close(arena);
	secret_free(arena, &file);
	return r;
}
