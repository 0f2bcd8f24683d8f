/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/segment.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

#define SEGMENT_NEXT        "next"
#define SEGMENT_SPARE       "spare"
#define SEGMENT_ZEROS_BYTES (1U << 20)
/* What is worth giving back of a segment that ends early. */
#define SEGMENT_RELEASE_BYTES 8192

void segment_name(char to[SEGMENT_NAME_BYTES], uint64_t first_index)
{
	(void)snprintf(to, SEGMENT_NAME_BYTES, "%020" PRIu64 ".seg", first_index);
}

void segment_file(char to[SEGMENT_FILE_BYTES], uint64_t first_index)
{
	memcpy(to, "seg/", 4);
	segment_name(to + 4, first_index);
}

/* False for a name that is not such. */
static bool segment_name_parse(const char *name, uint64_t *ret_first_index)
{
	char again[SEGMENT_NAME_BYTES];
	char *end;

	if (name[0] < '0' || name[0] > '9')
		return false;
	errno = 0;
	uint64_t first = strtoull(name, &end, 10);
	segment_name(again, first);
	if (errno || strcmp(name, again) != 0)
		return false;
	*ret_first_index = first;
	return true;
}

static int segment_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The next file that is a segment. 1, 0 at the end, or negative: a list that breaks off is none. */
static int segment_list_next(DIR *dir, uint64_t *ret_first)
{
	const struct dirent *e;

	do {
		errno = 0;
		e = readdir(dir);
	} while (e && !segment_name_parse(e->d_name, ret_first));
	return e ? 1 : -errno;
}

int segment_list(int log_dir, uint64_t **ret, size_t *ret_n)
{
	int fd = openat(log_dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t *firsts = NULL, first = 0;
	size_t n = 0, cap = 0;

	if (!dir)
		return -errno;
	while ((r = segment_list_next(dir, &first)) > 0) {
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			uint64_t *grown = reallocarray(firsts, cap, sizeof(*grown));
			if (!grown) {
				r = -ENOMEM;
				break;
			}
			firsts = grown;
		}
		firsts[n++] = first;
	}
	(void)closedir(dir);
	if (n > 0)
		qsort(firsts, n, sizeof(*firsts), segment_compare);
	if (r)
		free(firsts);
	*ret = r ? NULL : firsts;
	*ret_n = r ? 0 : n;
	return r ? err_origin(r) : 0;
}

int segment_init(struct segment *s, int log_dir, const char *path, uint64_t bytes_max)
{
	*s = SEGMENT_NULL;
	s->bytes_max = bytes_max & ~UINT64_C(7);
	if ((size_t)snprintf(s->path, sizeof s->path, "%s/seg", path) >= sizeof s->path)
		return err_origin(-ENAMETOOLONG);
	s->dir = openat(log_dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir >= 0 || errno != ENOENT)
		return s->dir < 0 ? err_origin(-errno) : 0;
	if (mkdirat(log_dir, "seg", 0700) < 0)
		return err_origin(-errno);
	s->dir = openat(log_dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->dir < 0 ? err_origin(-errno) : 0;
}

void segment_deinit(struct segment *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	if (s->dir >= 0)
		(void)close(s->dir);
	*s = SEGMENT_NULL;
}

static void segment_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static int segment_write(int fd, struct span bytes, uint64_t at)
{
	while (bytes.len > 0) {
		ssize_t n = pwrite(fd, bytes.p, bytes.len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_origin(n < 0 ? -errno : -EIO);
		bytes = span_of(bytes.p + n, bytes.len - (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

static int segment_write_zeros(int fd, uint64_t at, uint64_t len)
{
	uint8_t *zeros = calloc(1, SEGMENT_ZEROS_BYTES);
	int r = zeros ? 0 : -ENOMEM;

	while (len > 0 && !r) {
		size_t n = (size_t)MIN(len, (uint64_t)SEGMENT_ZEROS_BYTES);
		r = segment_write(fd, span_of(zeros, n), at);
		/* Not all at the end: a commit that comes meanwhile waits for what is in the disk's queue before it. */
		if (!r && fdatasync(fd) < 0)
			r = err_origin(-errno);
		at += n;
		len -= n;
	}
	free(zeros);
	return r;
}

/* It gets its full length only once all its zeros are durable. */
static int segment_fill(const struct segment *s, int fd)
{
	/* Blocks first, without the length: then the zeros cannot run out of disk. Not every file system can; they then
	 * may. */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)s->bytes_max) < 0 && errno != EOPNOTSUPP)
		return err_origin(-errno);
	int r = segment_write_zeros(fd, 0, s->bytes_max - 8);
	if (r)
		return r;
	if (fsync(fd) < 0 || ftruncate(fd, (off_t)s->bytes_max) < 0 || fsync(fd) < 0 || fsync(s->dir) < 0)
		return err_origin(-errno);
	return 0;
}

int segment_reserve(const struct segment *s)
{
	struct stat st;

	if (fstatat(s->dir, SEGMENT_NEXT, &st, AT_SYMLINK_NOFOLLOW) == 0 && (uint64_t)st.st_size == s->bytes_max)
		return 0;
	CLEANUP(segment_close)
	int fd = openat(s->dir, SEGMENT_NEXT, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_origin(-errno);
	int r = segment_fill(s, fd);
	if (r) /* what little room it got is needed by the segment that is being written */
		(void)unlinkat(s->dir, SEGMENT_NEXT, 0);
	return r;
}

bool segment_has_spare(const struct segment *s)
{
	struct stat st;

	return fstatat(s->dir, SEGMENT_SPARE, &st, AT_SYMLINK_NOFOLLOW) == 0 && (uint64_t)st.st_size == s->spare_bytes;
}

int segment_give_spare(const struct segment *s)
{
	return unlinkat(s->dir, SEGMENT_SPARE, 0) < 0 && errno != ENOENT ? err_origin(-errno) : 0;
}

/* Nothing is lost with it, so it is not made durable. */
int segment_keep_spare(const struct segment *s)
{
	if (s->spare_bytes == 0)
		return segment_give_spare(s);
	if (segment_has_spare(s))
		return 0;
	CLEANUP(segment_close)
	int fd = openat(s->dir, SEGMENT_SPARE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_origin(-errno);
	int r = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)s->spare_bytes) < 0 ? -errno : 0;
	if (!r && ftruncate(fd, (off_t)s->spare_bytes) < 0)
		r = -errno;
	if (r)
		(void)unlinkat(s->dir, SEGMENT_SPARE, 0);
	return r == -EOPNOTSUPP ? 0 : r ? err_origin(r) : 0;
}

/* The zeros behind the last entry stay zeros, but need no disk any more. Not every file system can. */
static void segment_release(const struct segment *s)
{
	if (s->size - s->end >= SEGMENT_RELEASE_BYTES)
		(void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->end,
				(off_t)(s->size - s->end));
}

static int segment_adopt(struct segment *s, int fd, const char *name, uint64_t end)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_origin(-errno);
	if (s->fd >= 0) { /* full: nobody shall write to it any more, by accident at least */
		segment_release(s);
		(void)fchmod(s->fd, 0400);
		(void)close(s->fd);
	}
	s->fd = fd;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->size = (uint64_t)st.st_size;
	s->end = end;
	(void)snprintf(s->name, sizeof s->name, "%s", name);
	return 0;
}

int segment_start(struct segment *s, const struct segment_head *head)
{
	uint8_t bytes[SEGMENT_HEAD_BYTES];
	char name[SEGMENT_NAME_BYTES];

	int r = segment_reserve(s);
	if (r)
		return r;
	int fd = openat(s->dir, SEGMENT_NEXT, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_origin(-errno);
	struct segment_head complete = *head;
	complete.file_bytes = s->bytes_max;
	segment_head_write(&complete, bytes);
	segment_name(name, head->first_index);
	r = segment_write(fd, span_of(bytes, sizeof bytes), 0);
	if (!r && (fsync(fd) < 0 || renameat(s->dir, SEGMENT_NEXT, s->dir, name) < 0 || fsync(s->dir) < 0))
		r = err_origin(-errno);
	if (!r)
		r = segment_adopt(s, fd, name, SEGMENT_HEAD_BYTES);
	if (r)
		(void)close(fd);
	return r;
}

int segment_resume(struct segment *s, uint64_t first_index, uint64_t end)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, first_index);
	int fd = openat(s->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_origin(-errno);
	int r = segment_adopt(s, fd, name, end);
	if (r)
		(void)close(fd);
	return r;
}

/* [from, s->end) is read and written as it is. */
static int segment_write_again(struct segment *s, uint64_t from)
{
	size_t len = (size_t)(s->end - from), done = 0;
	uint8_t *bytes = malloc(len + 1);
	int r = bytes ? 0 : -ENOMEM;

	while (done < len && !r) {
		ssize_t n = pread(s->fd, bytes + done, len - done, (off_t)(from + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			r = err_origin(n < 0 ? -errno : -EIO);
		else
			done += (size_t)n;
	}
	if (!r)
		r = segment_write(s->fd, span_of(bytes, len), from);
	free(bytes);
	return r;
}

int segment_settle(struct segment *s, uint64_t from, size_t debris_bytes)
{
	assert(from <= s->end);
	int r = segment_write_again(s, from);

	if (!r)
		r = segment_write_zeros(s->fd, s->end, debris_bytes);
	if (!r && (fsync(s->fd) < 0 || fsync(s->dir) < 0))
		r = err_origin(-errno);
	return r;
}

/* Is the open file still what its name leads to, by the whole path, and as long as it was? */
static int segment_check(const struct segment *s)
{
	char path[SEGMENT_PATH_BYTES + SEGMENT_NAME_BYTES];
	struct stat open_st, named;

	(void)snprintf(path, sizeof path, "%s/%s", s->path, s->name);
	if (fstat(s->fd, &open_st) < 0 || fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return err_origin(-errno);
	if (open_st.st_nlink == 0 || named.st_dev != s->dev || named.st_ino != s->ino ||
	    (uint64_t)open_st.st_size != s->size)
		return err_origin(-ESTALE);
	return 0;
}

int segment_commit(struct segment *s, struct span bytes)
{
	assert(s->fd >= 0 && bytes.len <= segment_room(s));
	int r = segment_check(s);
	if (r)
		return r;
	r = segment_write(s->fd, bytes, s->end);
	if (r)
		return r;
	if (fdatasync(s->fd) < 0)
		return err_origin(-errno);
	s->end += bytes.len;
	return 0;
}
