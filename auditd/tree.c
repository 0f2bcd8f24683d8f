/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/tree.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

/* There is one writer, so one name will do; a leftover is overwritten. */
#define TREE_TMP "tmp"

static int tree_write_tile(int dir, const char *path, struct span bytes);
static int tree_find(int dir, const char *path, struct span bytes);

int tree_init(struct tree *t, int dir)
{
	*t = (struct tree){.dir = dir, .emit = tree_write_tile};
	t->bundle = malloc(TREE_BUNDLE_BYTES);
	return t->bundle ? 0 : -ENOMEM;
}

static int tree_ignore(int dir, const char *path, struct span bytes)
{
	(void)dir;
	(void)path;
	(void)bytes;
	return 0;
}

void tree_set(struct tree *t, enum tree_mode mode)
{
	t->recovering = mode == TREE_RECOVERS || mode == TREE_FINDS;
	t->emit = mode == TREE_LOOKS ? tree_ignore : mode == TREE_FINDS ? tree_find : tree_write_tile;
}

void tree_deinit(struct tree *t)
{
	for (size_t i = 0; i < t->n_kept; i++)
		free(t->kept[i].bytes);
	free(t->kept);
	free(t->bundle);
	*t = (struct tree){.dir = -1};
}

/* ---- files ---- */

static void tree_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static int tree_make_parents(int dir, const char *path)
{
	char prefix[TILE_PATH_MAX];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);
		assert(len < sizeof prefix);
		memcpy(prefix, path, len);
		prefix[len] = 0;
		if (mkdirat(dir, prefix, 0755) < 0 && errno != EEXIST)
			return err_origin(-errno);
	}
	return 0;
}

static int tree_fill(int fd, struct span bytes)
{
	for (size_t done = 0; done < bytes.len;) {
		ssize_t n = pwrite(fd, bytes.p + done, bytes.len - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_origin(n < 0 ? -errno : -EIO);
		done += (size_t)n;
	}
	return 0;
}

static int tree_create_tile(int dir, const char *path)
{
	return openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
}

/*
 * Under its own name at once: nobody asks for it before a checkpoint covers it, and recovery looks at what it finds.
 *
 * And never emptied first. The upper tiles' partial ones are written again, with the same bytes, at checkpoints that
 * come soon after one another, while readers and the next recovery rely on the earlier one: at no moment, whoever dies
 * and whatever fails, may they be less than they were. Nor may recovery leave out what reads as it should: if a sync
 * failed in the life before this one, the kernel may show what it has not written and will never write by itself.
 */
static int tree_write_tile(int dir, const char *path, struct span bytes)
{
	CLEANUP(tree_close) int fd = tree_create_tile(dir, path);
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		int r = tree_make_parents(dir, path);
		if (r)
			return r;
		fd = tree_create_tile(dir, path);
	}
	if (fd < 0)
		return err_origin(-errno);
	int r = tree_fill(fd, bytes);
	/* Longer: what a crash left of entries that were lost with it. */
	if (!r && (fstat(fd, &st) < 0 || (st.st_size > (off_t)bytes.len && ftruncate(fd, (off_t)bytes.len) < 0)))
		r = err_origin(-errno);
	return r;
}

/* 0 when it is there, as it should be; -EROFS when it would have to be written. */
static int tree_find(int dir, const char *path, struct span bytes)
{
	uint8_t *found = NULL;
	size_t len = 0;

	int r = tile_slurp(dir, path, bytes.len, &found, &len);
	bool same = r == 0 && span_eq(bytes, span_of(found, len));
	free(found);
	return r < 0 ? r : same ? 0 : -EROFS;
}

int tree_write_durable_by(int dir, const char *tmp, const char *name, struct span bytes)
{
	CLEANUP(tree_close) int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return err_origin(-errno);
	int r = tree_fill(fd, bytes);
	if (!r && (fsync(fd) < 0 || renameat(dir, tmp, dir, name) < 0 || fsync(dir) < 0))
		r = err_origin(-errno);
	return r;
}

int tree_write_durable(int dir, const char *name, struct span bytes)
{
	return tree_write_durable_by(dir, TREE_TMP, name, bytes);
}

/* A full bundle that is not on the disk, for readers. 0 or -ENOMEM. */
static int tree_keep(struct tree *t, uint64_t n)
{
	struct tree_bundle *grown = realloc(t->kept, (t->n_kept + 1) * sizeof *grown);

	if (!grown)
		return -ENOMEM;
	t->kept = grown;
	grown[t->n_kept] = (struct tree_bundle){.n = n, .bytes = malloc(t->bundle_len), .len = t->bundle_len};
	if (!grown[t->n_kept].bytes)
		return -ENOMEM;
	memcpy(grown[t->n_kept++].bytes, t->bundle, t->bundle_len);
	return 0;
}

static int tree_emit(struct tree *t, int level, uint64_t n, unsigned width)
{
	char path[TILE_PATH_MAX];
	struct span bytes = level == TILE_ENTRIES ? span_of(t->bundle, t->bundle_len)
						  : span_of(t->right[level].hashes, width * sizeof(struct merkle_hash));

	tile_path(path, level, n, width);
	int r = t->emit(t->dir, path, bytes);
	if (r >= 0 || !t->recovering)
		return r;
	t->unwritten = r; /* the tree itself is none the worse for it, and may be read */
	t->emit = tree_find;
	return level == TILE_ENTRIES && width == TILE_WIDTH ? tree_keep(t, n) : 0;
}

/* ---- growing ---- */

int tree_append_hash(struct tree *t, const struct merkle_hash *hash)
{
	uint64_t index = t->merkle.size;
	int r = 0;

	merkle_tree_append(&t->merkle, hash);
	t->last_leaf = *hash;
	/* A tile that becomes full is written and gives one hash to the tile above it. */
	for (unsigned level = 0; level < TILE_LEVELS && !r; level++) {
		struct tile *tile = &t->right[level];
		tile->hashes[tile->n++] = level == 0 ? *hash : t->merkle.peaks[level * TILE_HEIGHT];
		index /= TILE_WIDTH;
		if (tile->n < TILE_WIDTH)
			break;
		r = tree_emit(t, (int)level, index, TILE_WIDTH);
		if (!r && level == 0 && t->bundle_len > 0) {
			r = tree_emit(t, TILE_ENTRIES, index, TILE_WIDTH);
			t->bundle_len = 0;
		}
		tile->n = 0;
	}
	return r;
}

int tree_append(struct tree *t, struct span leaf)
{
	struct merkle_hash hash;

	assert(leaf.len > 0 && leaf.len <= LEAF_BYTES_MAX);
	merkle_hash_leaf(leaf, &hash);
	t->bundle[t->bundle_len++] = (uint8_t)(leaf.len >> 8);
	t->bundle[t->bundle_len++] = (uint8_t)leaf.len;
	memcpy(t->bundle + t->bundle_len, leaf.p, leaf.len);
	t->bundle_len += leaf.len;
	return tree_append_hash(t, &hash);
}

int tree_flush(struct tree *t)
{
	int r = 0;

	for (unsigned level = 0; level < TILE_LEVELS && !r; level++) {
		uint64_t nodes = t->merkle.size >> level * TILE_HEIGHT;
		if (t->right[level].n > 0)
			r = tree_emit(t, (int)level, nodes / TILE_WIDTH, t->right[level].n);
	}
	if (!r && t->right[0].n > 0)
		r = tree_emit(t, TILE_ENTRIES, t->merkle.size / TILE_WIDTH, t->right[0].n);
	return r;
}

int tree_sync(const struct tree *t)
{
	return syncfs(t->dir) < 0 ? err_origin(-errno) : 0;
}

/* ---- coming back ---- */

/* 0, TREE_E_DAMAGED or negative. */
static int tree_tile_answer(int r)
{
	return r > 0 ? TREE_E_DAMAGED : r;
}

static int tree_load_bundle(struct tree *t, uint64_t size)
{
	unsigned width = (unsigned)(size % TILE_WIDTH);
	uint8_t *bytes;
	size_t len;
	struct span rest, leaf;
	struct merkle_hash hash;
	int r = 0;

	if (width == 0)
		return 0;
	r = tree_tile_answer(tile_read_bundle(t->dir, size / TILE_WIDTH, width, &bytes, &len));
	if (r)
		return r;
	rest = span_of(bytes, len);
	for (unsigned i = 0; i < width && !r; i++) {
		if (!tile_bundle_next(&rest, &leaf) || leaf.len == 0 || leaf.len > LEAF_BYTES_MAX) {
			r = TREE_E_DAMAGED;
			break;
		}
		merkle_hash_leaf(leaf, &hash);
		if (!merkle_hash_eq(&hash, &t->right[0].hashes[i]))
			r = TREE_E_DAMAGED;
	}
	if (!r) {
		t->bundle_len = len - rest.len;
		memcpy(t->bundle, bytes, t->bundle_len);
	}
	free(bytes);
	return r;
}

void tree_clear(struct tree *t)
{
	t->merkle = MERKLE_TREE_NULL;
	t->bundle_len = 0;
	for (unsigned level = 0; level < TILE_LEVELS; level++)
		t->right[level].n = 0;
}

int tree_load(struct tree *t, uint64_t size, const struct merkle_hash *root)
{
	struct merkle_hash computed;
	struct tile_source *disk = malloc(sizeof *disk);
	int r = disk ? 0 : -ENOMEM;

	if (r)
		return r;
	tile_source_init(disk, t->dir, size);
	tree_clear(t);
	for (unsigned level = 0; level < MERKLE_LEVELS && !r; level++)
		if (size & BIT(level))
			r = tile_source_node(disk, level, (size >> level) - 1, &t->merkle.peaks[level]);
	free(disk);
	t->merkle.size = size;
	for (unsigned level = 0; level < TILE_LEVELS && !r; level++) {
		uint64_t nodes = size >> level * TILE_HEIGHT;
		struct tile *tile = &t->right[level];
		unsigned width = (unsigned)(nodes % TILE_WIDTH);
		if (width > 0)
			r = tile_read(t->dir, level, nodes / TILE_WIDTH, width, tile);
		tile->n = width;
	}
	if (r)
		return tree_tile_answer(r);
	merkle_tree_root(&t->merkle, &computed);
	if (!merkle_hash_eq(&computed, root))
		return TREE_E_DAMAGED;
	if (size % TILE_WIDTH > 0)
		t->last_leaf = t->right[0].hashes[size % TILE_WIDTH - 1];
	return tree_load_bundle(t, size);
}

/* ---- reading ---- */

int tree_node(void *ctx, unsigned level, uint64_t index, struct merkle_hash *ret)
{
	struct tree *t = ctx;
	unsigned row = level / TILE_HEIGHT, height = level % TILE_HEIGHT;
	uint64_t first = index << height, n = first / TILE_WIDTH, nodes = t->merkle.size >> row * TILE_HEIGHT;
	const struct tile *tile = &t->right[row];
	struct tile read;

	if (nodes / TILE_WIDTH != n) {
		int r = tile_read(t->dir, row, n, TILE_WIDTH, &read);
		if (r)
			return r;
		tile = &read;
	}
	if (first % TILE_WIDTH + (1U << height) > tile->n)
		return TILE_E_DAMAGED;
	tile_node(tile, (unsigned)(first % TILE_WIDTH), height, ret);
	return 0;
}

static const struct tree_bundle *tree_kept(const struct tree *t, uint64_t n)
{
	for (size_t i = 0; i < t->n_kept; i++)
		if (t->kept[i].n == n)
			return &t->kept[i];
	return NULL;
}

int tree_leaves(struct tree *t, uint64_t index, struct span *ret_bundle, uint8_t **ret_owned)
{
	struct span bundle = span_of(t->bundle, t->bundle_len), leaf;
	uint8_t *owned = NULL;
	size_t len;

	assert(index < t->merkle.size);
	const struct tree_bundle *kept = tree_kept(t, index / TILE_WIDTH);
	if (kept) {
		bundle = span_of(kept->bytes, kept->len);
	} else if (index / TILE_WIDTH != t->merkle.size / TILE_WIDTH) {
		int r = tile_read_bundle(t->dir, index / TILE_WIDTH, TILE_WIDTH, &owned, &len);
		if (r)
			return r;
		bundle = span_of(owned, len);
	}
	for (uint64_t skip = index % TILE_WIDTH; skip > 0; skip--) {
		if (!tile_bundle_next(&bundle, &leaf)) {
			free(owned);
			return TILE_E_DAMAGED;
		}
	}
	*ret_bundle = bundle;
	*ret_owned = owned;
	return 0;
}
