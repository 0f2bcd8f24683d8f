/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/strays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512

struct strays {
	int dir;
	uint64_t size;
	char path[TILE_PATH_MAX]; /* that is being looked at */
};

struct stray {
	int level;
	uint64_t n;
	unsigned width;
};

/* The number in "x001/x234/067"; *p is left behind it. */
static uint64_t strays_number(const char **p)
{
	uint64_t n = 0;
	bool more = true;

	while (more) {
		more = **p == 'x';
		*p += more;
		for (int i = 0; i < 3 && **p >= '0' && **p <= '9'; i++)
			n = n * 10 + (uint64_t)(*(*p)++ - '0');
		more = more && **p == '/' && n < UINT64_MAX / 10000;
		*p += more;
	}
	return n;
}

/* There is one way to write a tile's path. */
static bool strays_parse(const char *path, struct stray *ret)
{
	static const char root[] = "tile/", entries[] = "entries/";
	char again[TILE_PATH_MAX];
	const char *p = path + sizeof(root) - 1;

	ret->level = TILE_ENTRIES;
	if (strncmp(p, entries, sizeof(entries) - 1) == 0) {
		p += sizeof(entries) - 1;
	} else {
		ret->level = *p - '0';
		if (ret->level < 0 || ret->level >= TILE_LEVELS || p[1] != '/')
			return false;
		p += 2;
	}
	ret->n = strays_number(&p);
	ret->width = strncmp(p, ".p/", 3) == 0 ? (unsigned)strtoul(p + 3, NULL, 10) : TILE_WIDTH;
	if (ret->width == 0 || ret->width > TILE_WIDTH)
		return false;
	tile_path(again, ret->level, ret->n, ret->width);
	return strcmp(again, path) == 0;
}

/* How long the first `width` of a full one are; 0 when it has not so many. */
static size_t strays_prefix(const struct stray *s, struct span full)
{
	struct span rest = full, leaf;

	if (s->level != TILE_ENTRIES)
		return MERKLE_HASH_BYTES * (size_t)s->width;
	for (unsigned i = 0; i < s->width; i++)
		if (!tile_bundle_next(&rest, &leaf))
			return 0;
	return full.len - rest.len;
}

/* The beginning of `good`, but for sectors that never reached the disk before the power failed. */
static bool strays_begins(struct span good, struct span found)
{
	static const uint8_t zeros[SECTOR_BYTES];

	for (size_t at = 0; at < found.len; at += SECTOR_BYTES) {
		size_t len = MIN(found.len - at, SECTOR_BYTES);
		struct span sector = span_of(found.p + at, len);

		if (!span_eq(sector, span_of(good.p + at, len)) && !span_eq(sector, span_of(zeros, len)))
			return false;
	}
	return true;
}

/* Against the full tile, or the one of the signed size; both have been found good. */
static int strays_compare(const struct strays *v, const struct stray *s, unsigned width)
{
	char path[TILE_PATH_MAX];
	uint8_t *good = NULL, *found = NULL;
	size_t good_len = 0, found_len = 0;

	tile_path(path, s->level, s->n, width);
	int r = tile_slurp(v->dir, path, BUNDLE_BYTES_MAX, &good, &good_len);
	if (r)
		return r < 0 ? r : 0;
	r = tile_slurp(v->dir, v->path, BUNDLE_BYTES_MAX, &found, &found_len);
	if (r == TILE_E_MISSING) { /* retention, just now */
		free(good);
		return 0;
	}
	size_t len = strays_prefix(s, span_of(good, good_len));
	if (r == 0 && (len == 0 || found_len > MIN(len, good_len) ||
		       !strays_begins(span_of(good, good_len), span_of(found, found_len))))
		r = STRAYS_E_FOUND;
	free(good);
	free(found);
	return r > 0 ? STRAYS_E_FOUND : r;
}

static int strays_file(const struct strays *v)
{
	struct stray s;

	if (!strays_parse(v->path, &s))
		return STRAYS_E_FOUND;
	uint64_t nodes = s.level == TILE_ENTRIES ? v->size : v->size >> s.level * TILE_HEIGHT;
	unsigned width = tile_width(s.level, s.n, v->size);
	if (s.width == width || s.n > nodes / TILE_WIDTH || s.n * TILE_WIDTH + s.width > nodes)
		return 0; /* verified, or not signed */
	return strays_compare(v, &s, width);
}

static int strays_folder(struct strays *v);

/* What lies in the folder v->path, whose own path is `len` long. */
static int strays_entry(struct strays *v, size_t len, const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if ((size_t)snprintf(v->path + len, sizeof(v->path) - len, "/%s", name) >= sizeof(v->path) - len)
		return STRAYS_E_FOUND;
	if (fstatat(v->dir, v->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : STRAYS_E_FOUND; /* retention removed it just now */
	return S_ISDIR(st.st_mode) ? strays_folder(v) : strays_file(v);
}

static int strays_folder(struct strays *v)
{
	size_t len = strlen(v->path);
	int fd = openat(v->dir, v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!folder) {
		r = errno == ENOENT ? 0 : -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	do {
		errno = 0;
		e = readdir(folder);
		r = e ? strays_entry(v, len, e->d_name) : -errno; /* a list that breaks off is none */
		if (!r)
			v->path[len] = '\0';
	} while (e && !r);
	(void)closedir(folder);
	return r;
}

int strays_check(int dir, uint64_t size, char ret_path[TILE_PATH_MAX])
{
	struct strays v = {.dir = dir, .size = size, .path = "tile"};
	int r = strays_folder(&v);

	memcpy(ret_path, v.path, sizeof(v.path));
	return r;
}
