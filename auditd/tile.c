/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/tile.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

void tile_path(char to[TILE_PATH_MAX], int level, uint64_t n, unsigned width)
{
	char number[32] = "", groups[48], suffix[8] = "";

	for (bool last = true; last || n > 0; last = false, n /= 1000) {
		(void)snprintf(groups, sizeof groups, last ? "%03u%s" : "x%03u/%s", (unsigned)(n % 1000), number);
		(void)snprintf(number, sizeof number, "%.31s", groups);
	}
	if (width > 0 && width < TILE_WIDTH)
		(void)snprintf(suffix, sizeof suffix, ".p/%u", width % TILE_WIDTH);
	if (level == TILE_ENTRIES)
		(void)snprintf(to, TILE_PATH_MAX, "tile/entries/%s%s", number, suffix);
	else
		(void)snprintf(to, TILE_PATH_MAX, "tile/%d/%s%s", level, number, suffix);
}

unsigned tile_width(int level, uint64_t n, uint64_t size)
{
	unsigned shift = level == TILE_ENTRIES ? 0 : (unsigned)level * TILE_HEIGHT;
	uint64_t nodes = size >> shift;

	if (nodes / TILE_WIDTH > n)
		return TILE_WIDTH;
	return nodes / TILE_WIDTH == n ? (unsigned)(nodes % TILE_WIDTH) : 0;
}

/* ---- files ---- */

static void tile_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

int tile_slurp(int dir, const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_len)
{
	CLEANUP(tile_close) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? TILE_E_MISSING : err_origin(-errno);
	if (fstat(fd, &st) < 0)
		return err_origin(-errno);
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size > max)
		return TILE_E_DAMAGED;
	size_t len = (size_t)st.st_size;
	uint8_t *bytes = malloc(len + 1);
	if (!bytes)
		return -ENOMEM;
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, bytes + done, len - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int r = n < 0 ? err_origin(-errno) : TILE_E_DAMAGED;
			free(bytes);
			return r;
		}
		done += (size_t)n;
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* The partial file of exactly this width, else the full one. */
static int tile_slurp_either(int dir, int level, uint64_t n, unsigned width, size_t max, uint8_t **ret_bytes,
			     size_t *ret_len)
{
	char path[TILE_PATH_MAX];

	tile_path(path, level, n, width);
	int r = tile_slurp(dir, path, max, ret_bytes, ret_len);
	if (r != TILE_E_MISSING || width == TILE_WIDTH)
		return r;
	tile_path(path, level, n, TILE_WIDTH);
	return tile_slurp(dir, path, max, ret_bytes, ret_len);
}

int tile_read(int dir, unsigned level, uint64_t n, unsigned width, struct tile *ret)
{
	uint8_t *bytes;
	size_t len;

	assert(level < TILE_LEVELS && width > 0 && width <= TILE_WIDTH);
	int r = tile_slurp_either(dir, (int)level, n, width, sizeof ret->hashes, &bytes, &len);
	if (r)
		return r;
	if (len % MERKLE_HASH_BYTES != 0 || len / MERKLE_HASH_BYTES < width) {
		free(bytes);
		return TILE_E_DAMAGED;
	}
	ret->n = (unsigned)(len / MERKLE_HASH_BYTES);
	memcpy(ret->hashes, bytes, len);
	free(bytes);
	return 0;
}

void tile_node(const struct tile *tile, unsigned first, unsigned height, struct merkle_hash *ret)
{
	struct merkle_hash level[TILE_WIDTH];
	unsigned n = 1U << height;

	assert(height <= TILE_HEIGHT && first + n <= tile->n);
	memcpy(level, &tile->hashes[first], n * sizeof level[0]);
	for (; n > 1; n /= 2)
		for (unsigned i = 0; i < n / 2; i++)
			merkle_hash_node(&level[2 * i], &level[2 * i + 1], &level[i]);
	*ret = level[0];
}

int tile_expect(int dir, const char *path, struct span bytes)
{
	uint8_t *found = NULL;
	size_t len = 0;

	int r = tile_slurp(dir, path, BUNDLE_BYTES_MAX, &found, &len);
	if (r == 0 && !span_eq(bytes, span_of(found, len)))
		r = TILE_E_DAMAGED;
	free(found);
	return r;
}

int tile_expect_begun(int dir, const char *path, struct span bytes)
{
	uint8_t *found = NULL;
	size_t len = 0;

	int r = tile_slurp(dir, path, BUNDLE_BYTES_MAX, &found, &len);
	if (r == TILE_E_MISSING)
		return 0;
	if (r == 0 && !span_eq(span_of(bytes.p, MIN(len, bytes.len)), span_of(found, len)))
		r = TILE_E_DAMAGED;
	free(found);
	return r;
}

bool tile_folder_is_missing(int dir)
{
	return faccessat(dir, "tile", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

int tile_read_bundle(int dir, uint64_t n, unsigned width, uint8_t **ret_bytes, size_t *ret_len)
{
	return tile_slurp_either(dir, TILE_ENTRIES, n, width, BUNDLE_BYTES_MAX, ret_bytes, ret_len);
}

bool tile_bundle_next(struct span *bundle, struct span *ret_leaf)
{
	if (bundle->len < 2)
		return false;
	size_t len = (size_t)bundle->p[0] << 8 | bundle->p[1];
	if (bundle->len - 2 < len)
		return false;
	*ret_leaf = span_of(bundle->p + 2, len);
	*bundle = span_of(bundle->p + 2 + len, bundle->len - 2 - len);
	return true;
}

/* ---- a folder as a source of nodes ---- */

void tile_source_init(struct tile_source *s, int dir, uint64_t size)
{
	*s = (struct tile_source){.dir = dir, .size = size};
}

int tile_source_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	struct tile_source *s = ctx;
	unsigned row = level / TILE_HEIGHT, height = level % TILE_HEIGHT;
	uint64_t first = index << height, n = first / TILE_WIDTH;

	assert(row < TILE_LEVELS);
	if (!s->cache[row].valid || s->cache[row].n != n) {
		unsigned width = tile_width((int)row, n, s->size);
		s->cache[row].valid = false;
		if (width == 0)
			return TILE_E_MISSING;
		int r = tile_read(s->dir, row, n, width, &s->cache[row].tile);
		if (r)
			return r;
		s->cache[row].n = n;
		s->cache[row].valid = true;
	}
	if (first % TILE_WIDTH + (1U << height) > s->cache[row].tile.n)
		return TILE_E_DAMAGED;
	tile_node(&s->cache[row].tile, (unsigned)(first % TILE_WIDTH), height, ret);
	return 0;
}
