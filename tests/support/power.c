/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/power.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POWER_CHANGES_MAX 65536
#define POWER_NAME_BYTES  64

/* What the wrappers stand before; a program that wraps less still links. */
#define REAL(ret, name, params) ret __real_##name params __attribute__((weak))
REAL(ssize_t, pwrite, (int fd, const void *p, size_t len, off_t at));
REAL(int, ftruncate, (int fd, off_t len));
REAL(int, renameat, (int d1, const char *from, int d2, const char *to));
REAL(int, fstat, (int fd, struct stat *st));
REAL(int, openat, (int dir, const char *path, int flags, ...));
#define CALL(name) (__real_##name ? __real_##name : name)

enum power_kind { POWER_BYTES, POWER_SIZE, POWER_MADE, POWER_RENAMED };

static struct change {
	enum power_kind kind;
	dev_t dev; /* of what must be synced: the file, or the folder of the name */
	ino_t ino;
	int fd; /* the same, ours */
	bool lost;
	off_t at;
	size_t len;
	void *was;
	char name[POWER_NAME_BYTES], from[POWER_NAME_BYTES], kept[POWER_NAME_BYTES];
} changes[POWER_CHANGES_MAX];
static size_t n_changes;

/* `fd` is taken over. */
static struct change *power_add(enum power_kind kind, int fd)
{
	struct change *c = &changes[n_changes++];
	struct stat st;

	assert(n_changes < POWER_CHANGES_MAX && fd >= 0 && CALL(fstat)(fd, &st) == 0);
	*c = (struct change){.kind = kind, .fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	return c;
}

static void power_forget(struct change *c)
{
	free(c->was);
	if (c->kept[0])
		(void)unlinkat(c->fd, c->kept, 0);
	(void)close(c->fd);
	c->fd = -1;
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

void power_resize(int fd)
{
	struct change *c = power_add(POWER_SIZE, fcntl(fd, F_DUPFD_CLOEXEC, 100));
	struct stat st;

	assert(CALL(fstat)(fd, &st) == 0);
	c->at = st.st_size;
}

void power_write(int fd, off_t at, size_t len)
{
	power_resize(fd);
	struct change *c = power_add(POWER_BYTES, fcntl(fd, F_DUPFD_CLOEXEC, 100));
	char path[64];

	/* It may have been opened for writing only. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	assert(again >= 0);
	c->at = at;
	c->was = calloc(1, len ? len : 1); /* zeros where there was nothing */
	c->len = len;
	ssize_t n = pread(again, c->was, len, at);
	assert(n >= 0);
	(void)close(again);
}

void power_create(int dir, const char *path, bool truncate)
{
	char name[POWER_NAME_BYTES];
	int folder = power_folder(dir, path, name);

	if (folder < 0)
		return; /* then it will not be made */
	int there = CALL(openat)(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
	struct stat st;
	if (there >= 0) {
		if (truncate && CALL(fstat)(there, &st) == 0)
			power_write(there, 0, (size_t)st.st_size);
		(void)close(there);
	}
	if (there >= 0 || errno != ENOENT)
		(void)close(folder);
	else
		memcpy(power_add(POWER_MADE, folder)->name, name, sizeof(name));
}

void power_rename(int dir, const char *from, const char *to)
{
	static unsigned count;
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
	(void)snprintf(c->kept, sizeof(c->kept), ".power-%d-%u", getpid(), count++);
	if (linkat(c->fd, name, c->fd, c->kept, 0) != 0)
		c->kept[0] = 0;
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

static void power_undo_kind(const struct change *c)
{
	switch (c->kind) {
	case POWER_BYTES:
		assert(CALL(pwrite)(c->fd, c->was, c->len, c->at) == (ssize_t)c->len);
		break;
	case POWER_SIZE:
		assert(CALL(ftruncate)(c->fd, c->at) == 0);
		break;
	case POWER_MADE:
		if (unlinkat(c->fd, c->name, 0) != 0)
			(void)unlinkat(c->fd, c->name, AT_REMOVEDIR);
		break;
	case POWER_RENAMED:
		(void)CALL(renameat)(c->fd, c->name, c->fd, c->from);
		break;
	}
}

static void power_undo(struct change *c)
{
	power_undo_kind(c);
	if (c->kept[0] && CALL(renameat)(c->fd, c->kept, c->fd, c->name) == 0)
		c->kept[0] = 0;
	power_forget(c);
}

size_t power_unsaved(void)
{
	return n_changes;
}

void power_fail(void)
{
	while (n_changes > 0)
		power_undo(&changes[--n_changes]);
}
