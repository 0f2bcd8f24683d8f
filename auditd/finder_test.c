/* SPDX-License-Identifier: Apache-2.0 */
/* Requests found in a log of several blocks: with the index, without it, with a bad one, and in what was pruned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>

#include "auditd/finder.h"
#include "tests/support/test_log.h"

#define UNSIGNED 300 /* records behind the last checkpoint */

struct used {
	uint64_t index;
	const char *id, *tenant, *actor;
	enum role role;
};

/* In a log of two blocks and a bit. */
static const struct used used[] = {
	{0, "first", "acme", "key_1", ROLE_EGRESS},
	{255, "bundle-end", "acme", "key_1", ROLE_EGRESS},
	{256, "twice", "acme", "key_1", ROLE_EGRESS},
	{300, "twice", "acme", "key_2", ROLE_EGRESS},
	{301, "by-router", "acme", "key_1", ROLE_ROUTER},
	{65535, "block-end", "acme", "key_1", ROLE_EGRESS},
	{65536, "block-begin", "acme", "key_1", ROLE_EGRESS},
	{70000, "twice", "acme", "key_1", ROLE_EGRESS},
	{131071, "block-end-2", "acme", "key_1", ROLE_EGRESS},
	{131072, "newest-begin", "other", "key_1", ROLE_EGRESS},
	{131400, "by-router", "acme", "key_1", ROLE_ROUTER},
	{131500, "last", "acme", "key_1", ROLE_EGRESS},
	{131600, "unsigned", "acme", "key_1", ROLE_EGRESS},
};

#define SIGNED_SIZE ((uint64_t)131501)

static void add_used(struct fixture *f, const struct used *u)
{
	static const uint8_t boot[16] = {9};

	f->seq++;
	const struct proto_leaf leaf = {
		.version = LEAF_VERSION,
		.role = u->role,
		.boot = span_of(boot, sizeof(boot)),
		.last_seq = u->index + 1,
		.seq = u->index + 1,
		.code = EVENT_EGRESS_USE,
		.tenant = span_str(u->tenant),
		.actor = span_str(u->actor),
		.request_id = span_str(u->id),
	};
	assert_int_equal(ledger_batch_add(&f->batch, &leaf), 0);
}

static void fill(struct fixture *f, uint64_t size)
{
	size_t next = 0;

	for (uint64_t at = ledger_size(f->l); next < ARRAY_LEN(used) && used[next].index < at;)
		next++;
	while (ledger_size(f->l) < size) {
		uint64_t first = ledger_size(f->l), n = MIN(size - first, (uint64_t)1000);
		ledger_batch_clear(&f->batch);
		for (uint64_t i = first; i < first + n; i++)
			if (next < ARRAY_LEN(used) && used[next].index == i)
				add_used(f, &used[next++]);
			else
				add(f);
		assert_int_equal(ledger_append(f->l, &f->batch), 0);
	}
}

static int big_log(void **state)
{
	if (setup(state))
		return -1;
	struct fixture *f = *state;
	f->l = ledger_close(f->l);
	if (ledger_open(f->dir, 16U << 20, 0, &f->l))
		return -1;
	fill(f, SIGNED_SIZE);
	sign(f);
	fill(f, SIGNED_SIZE + UNSIGNED);
	return 0;
}

static int find(struct finder *fi, const char *id, const char *tenant, const char *actor, uint64_t *index)
{
	const struct finder_wanted wanted = {span_str(id), span_str(tenant), span_str(actor)};

	*index = UINT64_MAX;
	return finder_find(fi, SIGNED_SIZE, &wanted, index);
}

static void expect(struct finder *fi, const char *id, const char *tenant, const char *actor, uint64_t wanted)
{
	uint64_t index;
	int r = find(fi, id, tenant, actor, &index);

	assert_int_equal(r, wanted == UINT64_MAX ? FINDER_E_NONE : 0);
	assert_int_equal(index, wanted);
}

static void expect_all(struct finder *fi)
{
	expect(fi, "last", "acme", "key_1", 131500);
	expect(fi, "newest-begin", "other", "key_1", 131072);
	expect(fi, "block-end-2", "acme", "key_1", 131071);
	expect(fi, "block-begin", "acme", "key_1", 65536);
	expect(fi, "block-end", "acme", "key_1", 65535);
	expect(fi, "bundle-end", "acme", "key_1", 255);
	expect(fi, "first", "acme", "key_1", 0);
	/* the newest of an id, and of its owner */
	expect(fi, "twice", "acme", "key_1", 70000);
	expect(fi, "twice", "acme", "key_2", 300);
	expect(fi, "twice", "", "", 70000);
	/* nobody's but the owner's */
	expect(fi, "newest-begin", "acme", "key_1", UINT64_MAX);
	expect(fi, "last", "acme", "key_2", UINT64_MAX);
	expect(fi, "by-router", "acme", "key_1", UINT64_MAX);
	expect(fi, "unsigned", "acme", "key_1", UINT64_MAX);
	expect(fi, "request-5", "acme", "key_1", UINT64_MAX);
	expect(fi, "", "", "", UINT64_MAX);
}

static int file_of(const struct fixture *f, uint64_t block, int flags)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/receipts/%010" PRIu64, f->dir, block);
	return open(path, flags);
}

static void test_finds(void **state)
{
	struct fixture *f = *state;
	struct finder fi;

	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	expect_all(&fi);
	int fd = file_of(f, 0, O_RDWR);
	assert_true(fd >= 0);
	finder_deinit(&fi);
	/* the files as they lie there, one that points at another's record, and one in disorder: it hides, it does not
	 * lie */
	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	expect_all(&fi);
	uint64_t rows[5];
	assert_int_equal(pread(fd, rows, sizeof(rows), 0), sizeof(rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t row = le64toh(rows[i]), other = htole64(row | 255);
		if (row % FINDER_BLOCK != 0)
			continue;
		assert_int_equal(pwrite(fd, &other, sizeof(other), (off_t)(i * sizeof(other))), sizeof(other));
		expect(&fi, "first", "acme", "key_1", UINT64_MAX);
		expect(&fi, "bundle-end", "acme", "key_1", 255);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] ^= 1;
	assert_int_equal(pwrite(fd, rows, sizeof(rows), 0), sizeof(rows));
	expect(&fi, "first", "acme", "key_1", UINT64_MAX);
	expect(&fi, "last", "acme", "key_1", 131500);
	assert_int_equal(ftruncate(fd, 3), 0);
	expect(&fi, "first", "acme", "key_1", UINT64_MAX);
	(void)close(fd);
	finder_deinit(&fi);
}

/* What was published since the last question. */
static void test_grows(void **state)
{
	const struct finder_wanted wanted = {SPAN_LIT("unsigned"), SPAN_LIT("acme"), SPAN_LIT("key_1")};
	const struct finder_wanted twice = {SPAN_LIT("twice"), SPAN_LIT("acme"), SPAN_LIT("key_1")};
	struct fixture *f = *state;
	struct finder fi;
	uint64_t index;

	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	assert_int_equal(finder_find(&fi, 70001, &twice, &index), 0); /* while the newest block was another one */
	assert_int_equal(index, 70000);
	expect(&fi, "last", "acme", "key_1", 131500);
	size_t before = fi.n;
	sign(f);
	assert_int_equal(finder_find(&fi, ledger_size(f->l), &wanted, &index), 0);
	assert_int_equal(index, 131600);
	assert_int_equal(fi.n, before + 1);
	expect(&fi, "last", "acme", "key_1", 131500);
	finder_deinit(&fi);
}

/* No place for it. */
static void test_without_index(void **state)
{
	struct fixture *f = *state;
	struct finder fi;

	int fd = openat(f->l->dir, FINDER_FOLDER, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	assert_int_equal(fi.files, -1);
	expect_all(&fi);
	finder_deinit(&fi);
}

/* More blocks than are made for one question: where nothing is kept of them, the next one goes on all the same. */
static void test_without_index_of_a_long_log(void **state)
{
	const uint64_t size = (FINDER_BUILDS_MAX + 2) * FINDER_BLOCK;
	const struct finder_wanted first = {SPAN_LIT("first"), SPAN_LIT("acme"), SPAN_LIT("key_1")};
	const struct finder_wanted twice = {SPAN_LIT("twice"), SPAN_LIT("acme"), SPAN_LIT("key_1")};
	struct fixture *f = *state;
	uint64_t index;
	struct finder fi;

	fill(f, size);
	sign(f);
	int fd = openat(f->l->dir, FINDER_FOLDER, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	assert_int_equal(finder_find(&fi, size, &first, &index), FINDER_E_LATER);
	assert_int_equal(finder_find(&fi, size, &first, &index), 0);
	assert_int_equal(index, 0);
	/* nobody goes on where another stopped, nor where more came meanwhile */
	assert_int_equal(finder_find(&fi, size, &twice, &index), FINDER_E_LATER);
	assert_int_equal(finder_find(&fi, size, &first, &index), FINDER_E_LATER);
	assert_int_equal(finder_find(&fi, size - 1, &first, &index), FINDER_E_LATER);
	assert_int_equal(finder_find(&fi, size - 1, &first, &index), 0);
	assert_int_equal(finder_find(&fi, size - 1, &twice, &index), 0);
	assert_int_equal(index, 70000);
	finder_deinit(&fi);
}

static void remove_bundles(const struct fixture *f, uint64_t from, uint64_t to)
{
	char path[TILE_PATH_MAX];

	for (uint64_t n = from; n < to; n++) {
		tile_path(path, TILE_ENTRIES, n, TILE_WIDTH);
		(void)unlinkat(f->l->dir, path, 0);
	}
}

static void test_pruned(void **state)
{
	struct fixture *f = *state;
	struct finder fi;

	remove_bundles(f, 0, 256); /* the first block */
	remove_bundles(f, 256, 270);
	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	expect(&fi, "twice", "acme", "key_1", 70000);
	expect(&fi, "first", "acme", "key_1", UINT64_MAX);
	expect(&fi, "block-begin", "acme", "key_1", UINT64_MAX);
	assert_int_equal(file_of(f, 0, O_RDONLY), -1);
	remove_bundles(f, 270, 513); /* after it was indexed, and into the newest block */
	expect(&fi, "twice", "acme", "key_1", UINT64_MAX);
	finder_deinit(&fi);
	assert_int_equal(finder_init(&fi, f->l->dir), 0);
	expect(&fi, "last", "acme", "key_1", 131500);
	expect(&fi, "newest-begin", "other", "key_1", UINT64_MAX);
	finder_deinit(&fi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finds, big_log, teardown),
		cmocka_unit_test_setup_teardown(test_grows, big_log, teardown),
		cmocka_unit_test_setup_teardown(test_without_index, big_log, teardown),
		cmocka_unit_test_setup_teardown(test_without_index_of_a_long_log, big_log, teardown),
		cmocka_unit_test_setup_teardown(test_pruned, big_log, teardown),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
