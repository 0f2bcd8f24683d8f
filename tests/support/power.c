/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/power.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POWER_CHANGES_MAX  65536
#define POWER_NAME_BYTES   96
#define POWER_SECTOR_BYTES 512

/* What the wrappers stand before; a program that wraps less still links. */
#define REAL(ret, name, params) ret __real_##name params __attribute__((weak))
REAL(ssize_t, pwrite, (int fd, const void *p, size_t len, off_t at));
REAL(int, ftruncate, (int fd, off_t len));
REAL(int, renameat, (int d1, const char *from, int d2, const char *to));
REAL(int, fstat, (int fd, struct stat *st));
REAL(int, openat, (int dir, const char *path, int flags, ...));
REAL(int, fstatat, (int dir, const char *path, struct stat *st, int flags));
REAL(int, unlinkat, (int dir, const char *path, int flags));
REAL(int, mkdirat, (int dir, const char *path, mode_t mode));
#define CALL(name) (__real_##name ? __real_##name : name)

enum power_kind { POWER_BYTES, POWER_SIZE, POWER_MADE, POWER_RENAMED, POWER_GONE, POWER_FOLDER_GONE };

static struct change {
	enum power_kind kind;
	dev_t dev; /* of what must be synced: the file, or the folder of the name */
	ino_t ino;
	int fd;  /* the same, ours */
	int top; /* where `path` and `kept` start, of what was removed; or -1 */
	bool lost;
	off_t at;
	size_t len;
	uint8_t *was; /* there, or of POWER_SIZE: before it */
	char name[POWER_NAME_BYTES], from[POWER_NAME_BYTES], kept[POWER_NAME_BYTES];
} changes[POWER_CHANGES_MAX];
static size_t n_changes;
static unsigned n_kept; /* ever */

/* `fd` is taken over. */
static struct change *power_add(enum power_kind kind, int fd)
{
	struct change *c = &changes[n_changes++];
	struct stat st;

	assert(n_changes < POWER_CHANGES_MAX && fd >= 0 && CALL(fstat)(fd, &st) == 0);
	*c = (struct change){.kind = kind, .fd = fd, .top = -1, .dev = st.st_dev, .ino = st.st_ino};
	return c;
}

static void power_forget(struct change *c)
{
	free(c->was);
	if (c->kept[0])
		(void)CALL(unlinkat)(c->top >= 0 ? c->top : c->fd, c->kept, 0);
	(void)close(c->fd);
	if (c->top >= 0)
		(void)close(c->top);
	c->fd = c->top = -1;
}

/* The folder that a path's last part lies in. */
static int power_folder(int dir, const char *path, char name[POWER_NAME_BYTES])
{
	char folder[256] = ".";
	const char *slash = strrchr(path, '/');

	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	(void)snprintf(name, POWER_NAME_BYTES, "%s", slash ? slash + 1 : path);
	return CALL(openat)(dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static off_t power_size(int fd)
{
	struct stat st;

	assert(CALL(fstat)(fd, &st) == 0);
	return st.st_size;
}

/* What lies there; zeros where there is nothing. The file may have been opened for writing only. */
static void power_look(struct change *c, int fd, off_t at, size_t len)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	assert(again >= 0);
	c->was = calloc(1, len ? len : 1);
	c->len = len;
	ssize_t n = pread(again, c->was, len, at);
	assert(n >= 0);
	(void)close(again);
}

void power_resize(int fd, off_t to)
{
	struct change *c = power_add(POWER_SIZE, fcntl(fd, F_DUPFD_CLOEXEC, 100));

	c->at = power_size(fd);
	if (to >= c->at)
		return;
	power_look(c, fd, to, (size_t)(c->at - to));
	for (size_t i = 0; i < n_changes; i++) { /* what is cut off is not missed */
		struct change *l = &changes[i];
		if (l->lost && l->dev == c->dev && l->ino == c->ino && l->at + (off_t)l->len > to)
			l->len = l->at < to ? (size_t)(to - l->at) : 0;
	}
}

void power_write(int fd, off_t at, size_t len)
{
	if (at + (off_t)len > power_size(fd))
		power_resize(fd, at + (off_t)len);
	struct change *c = power_add(POWER_BYTES, fcntl(fd, F_DUPFD_CLOEXEC, 100));
	c->at = at;
	power_look(c, fd, at, len);
}

void power_create(int dir, const char *path, bool truncate)
{
	char name[POWER_NAME_BYTES];
	int folder = power_folder(dir, path, name);

	if (folder < 0)
		return; /* then it will not be made */
	int there = CALL(openat)(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
	if (there >= 0) {
		if (truncate)
			power_resize(there, 0);
		(void)close(there);
	}
	if (there >= 0 || errno != ENOENT)
		(void)close(folder);
	else
		memcpy(power_add(POWER_MADE, folder)->name, name, sizeof(name));
}

void power_rename(int dir, const char *from, const char *to)
{
	char name[POWER_NAME_BYTES], from_name[POWER_NAME_BYTES];
	struct change *c = power_add(POWER_RENAMED, power_folder(dir, to, name));
	int folder = power_folder(dir, from, from_name);
	struct stat st;

	assert(CALL(fstat)(folder, &st) == 0);
	(void)close(folder);
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	/* From another folder: as if it had been made here, and its old name lost at once. */
	if (st.st_ino != c->ino)
		c->kind = POWER_MADE;
	(void)snprintf(c->from, sizeof(c->from), "%s", from_name);
	(void)snprintf(c->kept, sizeof(c->kept), ".power-%d-%u", getpid(), n_kept++);
	if (linkat(c->fd, name, c->fd, c->kept, 0) != 0)
		c->kept[0] = 0;
}

void power_remove(int dir, const char *path, int flags)
{
	char name[POWER_NAME_BYTES];
	int folder = power_folder(dir, path, name);
	struct stat st;

	if (folder < 0)
		return;
	if (CALL(fstatat)(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || (flags & AT_REMOVEDIR && st.st_nlink > 2)) {
		(void)close(folder); /* it will not be removed */
		return;
	}
	struct change *c = power_add(flags & AT_REMOVEDIR ? POWER_FOLDER_GONE : POWER_GONE, folder);
	c->top = fcntl(dir, F_DUPFD_CLOEXEC, 100);
	(void)snprintf(c->name, sizeof(c->name), "%s", path);
	if (c->kind == POWER_FOLDER_GONE)
		return;
	/* Not in its own folder, which could not be removed then. */
	(void)snprintf(c->kept, sizeof(c->kept), ".power-%d-%u", getpid(), n_kept++);
	assert(linkat(dir, path, dir, c->kept, 0) == 0);
}

static bool power_is_of(const struct change *c, const struct stat *st)
{
	return c->dev == st->st_dev && c->ino == st->st_ino;
}

/* What was lost and has been written again since, all of it, is not lost any more. */
static void power_find(const struct stat *st)
{
	for (size_t i = 0; i < n_changes; i++) {
		const struct change *c = &changes[i];
		if (c->kind != POWER_BYTES || c->lost || !power_is_of(c, st))
			continue;
		for (size_t k = 0; k < i; k++) {
			struct change *l = &changes[k];
			if (l->lost && power_is_of(l, st) && l->at >= c->at &&
			    l->at + (off_t)l->len <= c->at + (off_t)c->len)
				l->lost = false;
		}
	}
}

void power_synced(int fd)
{
	struct stat st;
	size_t n = 0;

	assert(CALL(fstat)(fd, &st) == 0);
	power_find(&st);
	for (size_t i = 0; i < n_changes; i++) {
		if (power_is_of(&changes[i], &st) && !changes[i].lost)
			power_forget(&changes[i]);
		else
			changes[n++] = changes[i];
	}
	n_changes = n;
}

void power_synced_all(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_changes; i++) {
		struct stat st = {.st_dev = changes[i].dev, .st_ino = changes[i].ino};
		power_find(&st);
	}
	for (size_t i = 0; i < n_changes; i++) {
		if (changes[i].lost)
			changes[n++] = changes[i];
		else
			power_forget(&changes[i]);
	}
	n_changes = n;
}

void power_unsynced(int fd)
{
	struct stat st;

	assert(CALL(fstat)(fd, &st) == 0);
	for (size_t i = 0; i < n_changes; i++)
		changes[i].lost |= changes[i].kind == POWER_BYTES && power_is_of(&changes[i], &st);
}

void power_unsynced_all(void)
{
	for (size_t i = 0; i < n_changes; i++)
		changes[i].lost |= changes[i].kind == POWER_BYTES;
}

/* ---- the failure ---- */

static int power_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* A name that never reached the disk, with all that lies below it. */
static void power_unmake(const struct change *c)
{
	char path[64 + POWER_NAME_BYTES];

	if (CALL(unlinkat)(c->fd, c->name, 0) == 0 || errno == ENOENT)
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", c->fd, c->name);
	(void)nftw(path, power_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void power_put(int fd, const uint8_t *bytes, size_t len, off_t at)
{
	assert(CALL(pwrite)(fd, bytes, len, at) == (ssize_t)len);
}

/* What had grown is short again; what had been cut has its end back. */
static void power_undo_size(const struct change *c)
{
	if (c->len > 0 || power_size(c->fd) > c->at)
		assert(CALL(ftruncate)(c->fd, c->at) == 0);
	if (c->len > 0)
		power_put(c->fd, c->was, c->len, c->at - (off_t)c->len);
}

static void power_undo_kind(const struct change *c)
{
	switch (c->kind) {
	case POWER_BYTES:
		power_put(c->fd, c->was, c->len, c->at);
		break;
	case POWER_SIZE:
		power_undo_size(c);
		break;
	case POWER_MADE:
		power_unmake(c);
		break;
	case POWER_RENAMED:
		(void)CALL(renameat)(c->fd, c->name, c->fd, c->from);
		break;
	case POWER_FOLDER_GONE:
		(void)CALL(mkdirat)(c->top, c->name, 0755);
		break;
	case POWER_GONE: /* not where the folder is gone too */
		assert(linkat(c->top, c->kept, c->top, c->name, 0) == 0 || errno == ENOENT);
		break;
	}
}

static void power_undo(struct change *c)
{
	power_undo_kind(c);
	if (c->kind == POWER_RENAMED && c->kept[0] && CALL(renameat)(c->fd, c->kept, c->fd, c->name) == 0)
		c->kept[0] = 0;
}

size_t power_unsaved(void)
{
	return n_changes;
}

void power_fail(void)
{
	while (n_changes > 0) {
		struct change *c = &changes[--n_changes];
		power_undo(c);
		power_forget(c);
	}
}

/* SplitMix64: the same seed, the same failure. */
static uint64_t power_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* By the sector, and none beyond the end that the file has by now. */
static void power_undo_sectors(const struct change *c, unsigned kept_of_4, uint64_t *state)
{
	off_t size = power_size(c->fd);
	size_t there = size > c->at ? (size_t)(size - c->at) : 0, len = there < c->len ? there : c->len;

	for (size_t from = 0, to; from < len; from = to) {
		to = from + POWER_SECTOR_BYTES - (size_t)(c->at + (off_t)from) % POWER_SECTOR_BYTES;
		to = to < len ? to : len;
		if (power_random(state) % 4 >= kept_of_4)
			power_put(c->fd, c->was + from, to - from, c->at + (off_t)from);
	}
}

/* The newest first, so that what an older one brings back is what was there before it. */
void power_fail_some(uint64_t seed)
{
	uint64_t state = seed;
	unsigned kept_of_4 = 1 + (unsigned)(power_random(&state) % 3);

	while (n_changes > 0) {
		struct change *c = &changes[--n_changes];
		if (c->kind == POWER_BYTES)
			power_undo_sectors(c, kept_of_4, &state);
		else if (power_random(&state) % 4 >= kept_of_4)
			power_undo(c);
		power_forget(c);
	}
}
