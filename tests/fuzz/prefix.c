/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary files as what retention left of the entries that it removed: two tiles of hashes and two bundles. First two
 * bytes: the size of the tree that shall come of them; one: which files are there; then each file's length in 64 bytes,
 * one byte each; the files' bytes, from the front again when there are no more.
 *
 * Nothing may crash. A tree that is accepted has the size that was asked for, the hashes of the tiles, and below the
 * last whole one the leaves of a bundle; a bundle that is there besides has the leaves of its tile. All of that is
 * counted here once more.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/prefix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_FILES 4
#define FUZZ_BYTES 16384

static void must(bool held)
{
	if (!held)
		abort();
}

struct fuzz_file {
	const char *path;
	bool there;
	size_t len;
	uint8_t bytes[FUZZ_BYTES];
};

/* Made once and used again. */
static char folder[] = "/dev/shm/fuzz-prefix-XXXXXX";

static int fuzz_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void fuzz_remove(void)
{
	(void)nftw(folder, fuzz_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int fuzz_folder(void)
{
	static int dir = -1;

	if (dir >= 0)
		return dir;
	must(mkdtemp(folder) != NULL && atexit(fuzz_remove) == 0);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir >= 0 && mkdirat(dir, "tile", 0700) == 0 && mkdirat(dir, "tile/0", 0700) == 0 &&
	     mkdirat(dir, "tile/entries", 0700) == 0);
	return dir;
}

static void fuzz_store(int dir, const struct fuzz_file *file)
{
	(void)unlinkat(dir, file->path, 0);
	if (!file->there)
		return;
	int fd = openat(dir, file->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, file->bytes, file->len) == (ssize_t)file->len);
	(void)close(fd);
}

/* The hashes of a bundle's first n leaves; false when it has not so many. *ret_all: and not a byte more. */
static bool fuzz_leaves(const struct fuzz_file *file, size_t n, struct merkle_hash *ret, bool *ret_all)
{
	struct span rest = span_of(file->bytes, file->len), leaf;

	for (size_t i = 0; i < n; i++) {
		if (!tile_bundle_next(&rest, &leaf))
			return false;
		merkle_hash_leaf(leaf, &ret[i]);
	}
	*ret_all = rest.len == 0;
	return true;
}

/* What was accepted as a tree of `size`. */
static void fuzz_check(const struct fuzz_file files[FUZZ_FILES], const struct tree *t, uint64_t size)
{
	static struct merkle_hash hashes[3 * TILE_WIDTH];
	struct merkle_tree again = MERKLE_TREE_NULL;
	struct merkle_hash root, expected;
	uint64_t full = size / TILE_WIDTH, rest = size % TILE_WIDTH;
	bool all;

	must(t->merkle.size == size && full <= 2);
	for (uint64_t n = 0; n < full; n++) {
		const struct fuzz_file *bundle = &files[2 + n];
		must(files[n].there && files[n].len == TILE_WIDTH * sizeof(hashes[0]));
		memcpy(&hashes[n * TILE_WIDTH], files[n].bytes, files[n].len);
		if (!bundle->there)
			continue;
		must(fuzz_leaves(bundle, TILE_WIDTH, &hashes[2 * TILE_WIDTH], &all) && all);
		must(memcmp(&hashes[2 * TILE_WIDTH], files[n].bytes, files[n].len) == 0);
	}
	if (rest > 0)
		must(full < 2 && files[2 + full].there &&
		     fuzz_leaves(&files[2 + full], rest, &hashes[full * TILE_WIDTH], &all));
	for (uint64_t i = 0; i < size; i++)
		merkle_tree_append(&again, &hashes[i]);
	merkle_tree_root(&again, &expected);
	merkle_tree_root(&t->merkle, &root);
	must(merkle_hash_eq(&root, &expected));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file files[FUZZ_FILES] = {{.path = "tile/0/000"},
						     {.path = "tile/0/001"},
						     {.path = "tile/entries/000"},
						     {.path = "tile/entries/001"}};
	const size_t head = 3 + FUZZ_FILES;
	struct tree t;

	if (size <= head)
		return 0;
	int dir = fuzz_folder();
	uint64_t leaves = (uint64_t)(data[0] << 8 | data[1]) % (3 * TILE_WIDTH);
	for (size_t i = 0, at = 0; i < FUZZ_FILES; i++) {
		files[i].there = data[2] >> i & 1;
		files[i].len = (size_t)data[3 + i] * 64;
		for (size_t j = 0; j < files[i].len; j++, at++)
			files[i].bytes[j] = data[head + at % (size - head)];
		fuzz_store(dir, &files[i]);
	}
	must(tree_init(&t, dir) == 0);
	tree_set(&t, TREE_LOOKS);
	if (prefix_grow(&t, leaves) == 0)
		fuzz_check(files, &t, leaves);
	tree_deinit(&t);
	return 0;
}
