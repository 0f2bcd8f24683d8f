/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/finder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auditd/tile.h"
#include "auditd/tree.h"
#include "common/bytes.h"
#include "common/err.h"
#include "common/sha256.h"

#define FINDER_NAME_BYTES 24
#define FINDER_PLACES     (FINDER_BLOCK - 1)

enum { FINDER_E_GONE = 64 }; /* within this file: all of the block's bundles were pruned */

int finder_init(struct finder *f, int dir)
{
	*f = FINDER_NULL;
	f->dir = dir;
	f->rows = malloc(FINDER_BLOCK * sizeof(*f->rows));
	if (!f->rows)
		return err_origin(-ENOMEM);
	if (mkdirat(dir, FINDER_FOLDER, 0700) == 0 || errno == EEXIST)
		f->files = openat(dir, FINDER_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

void finder_deinit(struct finder *f)
{
	if (f->files >= 0)
		(void)close(f->files);
	free(f->rows);
	*f = FINDER_NULL;
}

/* ---- rows ---- */

/* The row of this request in place 0. */
static uint64_t finder_row(struct span request_id)
{
	uint8_t digest[SHA256_BYTES];

	sha256(&request_id, 1, digest);
	return get_be64(digest) & ~FINDER_PLACES;
}

/* The records of a bundle from `first` on, while they are below `end`: *n grows. 0, TILE_E_* or negative. */
static int finder_add_bundle(const struct finder *f, uint64_t first, uint64_t end, uint64_t *rows, size_t *n)
{
	uint64_t number = first / TILE_WIDTH, index = number * TILE_WIDTH;
	struct proto_leaf leaf;
	struct span rest, bytes;
	uint8_t *owned;
	size_t len;

	int r = tile_read_bundle(f->dir, number, (unsigned)(end - index), &owned, &len);
	if (r)
		return r;
	for (rest = span_of(owned, len); index < end && tile_bundle_next(&rest, &bytes); index++)
		if (index >= first && leaf_unpack(bytes, &leaf) == 0 && leaf.code == EVENT_EGRESS_USE &&
		    leaf.role == ROLE_EGRESS)
			rows[(*n)++] = finder_row(leaf.request_id) | (index & FINDER_PLACES);
	free(owned);
	return index == end ? 0 : TILE_E_DAMAGED;
}

/* [first, end) of one block, but for bundles that cannot be read: most likely they were pruned. *ret_any: some can. 0
 * or negative. */
static int finder_add(const struct finder *f, uint64_t first, uint64_t end, uint64_t *rows, size_t *n, bool *ret_any)
{
	int r = 0;

	*ret_any = false;
	while (first < end && r >= 0) {
		uint64_t to = MIN(end, (first / TILE_WIDTH + 1) * TILE_WIDTH);
		r = finder_add_bundle(f, first, to, rows, n);
		*ret_any |= r == 0;
		first = to;
	}
	return MIN(r, 0);
}

/* ---- one question ---- */

struct finder_question {
	const struct finder_wanted *wanted;
	uint64_t row, size;
	unsigned builds, looks; /* that are left */
	uint64_t index;
};

/* Is it this record? 0, FINDER_E_NONE or negative. */
static int finder_look(const struct finder *f, struct finder_question *q)
{
	const struct finder_wanted *wanted = q->wanted;
	uint64_t number = q->index / TILE_WIDTH;
	struct proto_leaf leaf;
	struct span rest, bytes = SPAN_NULL;
	uint8_t *owned;
	size_t len;

	if (q->looks == 0)
		return FINDER_E_NONE;
	q->looks--;
	int r = tile_read_bundle(f->dir, number, tile_width(TILE_ENTRIES, number, q->size), &owned, &len);
	if (r)
		return r < 0 ? r : FINDER_E_NONE;
	rest = span_of(owned, len);
	for (uint64_t at = number * TILE_WIDTH; at <= q->index && tile_bundle_next(&rest, &bytes); at++)
		;
	r = leaf_unpack(bytes, &leaf) == 0 && leaf.code == EVENT_EGRESS_USE && leaf.role == ROLE_EGRESS &&
			    span_eq(leaf.request_id, wanted->request_id) &&
			    (wanted->actor.len == 0 ||
			     (span_eq(leaf.tenant, wanted->tenant) && span_eq(leaf.actor, wanted->actor)))
		    ? 0
		    : FINDER_E_NONE;
	free(owned);
	return r;
}

/* ---- the newest block ---- */

static int finder_catch_up(struct finder *f, uint64_t size)
{
	uint64_t begin = size & ~FINDER_PLACES;

	if (f->next < begin || f->next > size) {
		f->next = begin;
		f->n = 0;
	}
	assert(f->next >= begin); /* there is room for one block */
	size_t n = f->n;
	bool any;
	int r = finder_add(f, f->next, size, f->rows, &n, &any);
	if (r)
		return r;
	f->n = n;
	f->next = size;
	return 0;
}

static int finder_in_newest(struct finder *f, struct finder_question *q)
{
	int r = finder_catch_up(f, q->size);

	if (r)
		return r;
	r = FINDER_E_NONE;
	for (size_t i = f->n; i > 0 && r == FINDER_E_NONE; i--) {
		if ((f->rows[i - 1] & ~FINDER_PLACES) != q->row)
			continue;
		q->index = (q->size & ~FINDER_PLACES) | (f->rows[i - 1] & FINDER_PLACES);
		r = finder_look(f, q);
	}
	return r;
}

/* ---- older blocks ---- */

static void finder_name(char to[FINDER_NAME_BYTES], uint64_t block)
{
	(void)snprintf(to, FINDER_NAME_BYTES, "%010" PRIu64, block);
}

static int finder_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* All rows of a block, in order; the caller frees. 0, FINDER_E_GONE or negative. */
static int finder_build(const struct finder *f, uint64_t block, uint64_t **ret_rows, size_t *ret_n)
{
	uint64_t *rows = malloc(FINDER_BLOCK * sizeof(*rows));
	size_t n = 0;
	bool any;

	if (!rows)
		return -ENOMEM;
	int r = finder_add(f, block * FINDER_BLOCK, (block + 1) * FINDER_BLOCK, rows, &n, &any);
	if (!r && !any)
		r = FINDER_E_GONE;
	if (r) {
		free(rows);
		return r;
	}
	qsort(rows, n, sizeof(*rows), finder_order);
	*ret_rows = rows;
	*ret_n = n;
	return 0;
}

/* Where nothing can be written, the next question costs as much as this one; who asks the same again goes on. */
static void finder_keep(const struct finder *f, uint64_t block, uint64_t *rows, size_t n)
{
	char name[FINDER_NAME_BYTES];

	finder_name(name, block);
	for (size_t i = 0; i < n; i++)
		rows[i] = htole64(rows[i]);
	int r = f->files < 0 ? -EROFS : tree_write_durable(f->files, name, span_of(rows, n * sizeof(*rows)));
	(void)r;
}

/* A block that has no file yet. */
static int finder_in_new_block(const struct finder *f, struct finder_question *q, uint64_t block)
{
	uint64_t *rows;
	size_t n, i;

	if (q->builds == 0)
		return FINDER_E_LATER;
	q->builds--;
	int r = finder_build(f, block, &rows, &n);
	if (r)
		return r;
	r = FINDER_E_NONE;
	for (i = n; i > 0 && r == FINDER_E_NONE; i--) {
		if ((rows[i - 1] & ~FINDER_PLACES) != q->row)
			continue;
		q->index = block * FINDER_BLOCK + (rows[i - 1] & FINDER_PLACES);
		r = finder_look(f, q);
	}
	finder_keep(f, block, rows, n);
	free(rows);
	return r;
}

static int finder_read_row(int fd, uint64_t i, uint64_t *ret)
{
	uint64_t row;
	ssize_t n;

	do
		n = pread(fd, &row, sizeof(row), (off_t)(i * sizeof(row)));
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(row))
		return n < 0 ? err_origin(-errno) : FINDER_E_NONE;
	*ret = le64toh(row);
	return 0;
}

/* How many of the file's n rows are not above `row`. 0, FINDER_E_NONE or negative. */
static int finder_count(int fd, uint64_t n, uint64_t row, uint64_t *ret)
{
	uint64_t low = 0, high = n, value;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		int r = finder_read_row(fd, middle, &value);
		if (r)
			return r;
		if (value <= row)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = low;
	return 0;
}

static int finder_in_file(const struct finder *f, struct finder_question *q, uint64_t block, int fd)
{
	uint64_t n, row;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_origin(-errno);
	int r = finder_count(fd, (uint64_t)st.st_size / sizeof(row), q->row | FINDER_PLACES, &n);
	if (r)
		return r;
	for (r = FINDER_E_NONE; n > 0 && r == FINDER_E_NONE; n--) {
		int e = finder_read_row(fd, n - 1, &row);
		if (e || (row & ~FINDER_PLACES) != q->row)
			return e ? e : FINDER_E_NONE;
		q->index = block * FINDER_BLOCK + (row & FINDER_PLACES);
		r = finder_look(f, q);
	}
	return r;
}

static int finder_in_block(const struct finder *f, struct finder_question *q, uint64_t block)
{
	char name[FINDER_NAME_BYTES];

	finder_name(name, block);
	int fd = f->files < 0 ? -1 : openat(f->files, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return finder_in_new_block(f, q, block);
	int r = finder_in_file(f, q, block, fd);
	(void)close(fd);
	return r;
}

/* What is wanted, all of it, in a few bytes. */
static void finder_digest(const struct finder_wanted *wanted, uint8_t to[SHA256_BYTES])
{
	const uint8_t lengths[2] = {(uint8_t)wanted->request_id.len, (uint8_t)wanted->tenant.len};
	const struct span all[] = {span_of(lengths, sizeof(lengths)), wanted->request_id, wanted->tenant,
				   wanted->actor};

	sha256(all, ARRAY_LEN(all), to);
}

/* Where the older blocks begin that this question was not answered from yet. */
static uint64_t finder_begin(const struct finder *f, const uint8_t question[SHA256_BYTES], uint64_t newest)
{
	bool again = f->left.newest == newest &&
		     span_eq(span_of(f->left.question, SHA256_BYTES), span_of(question, SHA256_BYTES));

	return again ? f->left.block : newest;
}

int finder_find(struct finder *f, uint64_t size, const struct finder_wanted *wanted, uint64_t *ret_index)
{
	struct finder_question q = {
		.wanted = wanted,
		.row = finder_row(wanted->request_id),
		.size = size,
		.builds = FINDER_BUILDS_MAX,
		.looks = FINDER_LOOKS_MAX,
	};
	uint8_t question[SHA256_BYTES];
	int r = finder_in_newest(f, &q);

	finder_digest(wanted, question);
	uint64_t block = finder_begin(f, question, size / FINDER_BLOCK);
	while (block > 0 && r == FINDER_E_NONE) {
		r = finder_in_block(f, &q, block - 1);
		block -= r != FINDER_E_LATER;
	}
	f->left.newest = r == FINDER_E_LATER ? size / FINDER_BLOCK : 0;
	f->left.block = block;
	memcpy(f->left.question, question, sizeof(question));
	if (r)
		return r == FINDER_E_GONE ? FINDER_E_NONE : r; /* what was pruned, and so was all before it */
	*ret_index = q.index;
	return 0;
}
