/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's files, torn by a crash or changed by another hand: what is whole still counts, and nothing else. */
#include "tests/support/vault_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sodium.h>
#include <unistd.h>
#include <cmocka.h>

#define PLACE 512 /* of a mark: two slots */

static bool starved;

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	return starved ? NULL : __real_realloc(p, size);
}

static int setup(void **state)
{
	struct vault_fixture *f = calloc(1, sizeof(*f));

	vault_fixture_init(f);
	assert_int_equal(vault_start(&f->vault, &f->config, f->arena, -1), 0);
	assert_int_equal(vault_init(&f->vault, SPAN_NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	vault_fixture_deinit(*state);
	free(*state);
	return 0;
}

static int reopen(struct vault_fixture *f)
{
	vault_seal(&f->vault);
	return vault_unseal(&f->vault, SPAN_NULL, vault_fixture_key(f), 0);
}

static void flip(int fd, off_t at)
{
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* A torn write, and a half that another hand has changed: the other half counts. */
static void half_a_table_is_enough(void **state)
{
	struct vault_fixture *f = *state;
	const struct keys_tenant *key;

	assert_int_equal(keys_ensure(&f->vault.keys, SPAN_LIT("acme"), &key), 0);
	flip(f->vault.files.keys_fd, 300);
	assert_int_equal(reopen(f), 0);
	flip(f->vault.files.keys_fd, 300);
	flip(f->vault.files.keys_fd, KEYS_HALF_EVERY + 300);
	assert_int_equal(reopen(f), 0);
	flip(f->vault.files.keys_fd, 300);
	assert_int_equal(reopen(f), VAULT_E_ROOT);
}

/* Each mark by itself: a flipped bit, another place. */
static void marks_are_believed_only_whole(void **state)
{
	struct vault_fixture *f = *state;
	const struct span id = SPAN_LIT("another");
	uint8_t slot[256], other[256];

	assert_int_equal(marks_raise(&f->vault.marks, SPAN_LIT("one"), 5), 0);
	assert_int_equal(marks_raise(&f->vault.marks, id, 5), 0);
	assert_int_equal(marks_raise(&f->vault.marks, id, 3), 0);
	assert_int_equal(marks_raise(&f->vault.marks, id, 6), 0);
	assert_int_equal(marks_raise(&f->vault.marks, SPAN_LIT("third"), 5), 0);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(marks_get(&f->vault.marks, id), 6);
	int fd = f->vault.files.marks_fd;
	/* The newer slot is torn: the older one says less, but says it. */
	flip(fd, PLACE + 14);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(marks_get(&f->vault.marks, id), 5);
	/* Two genuine slots, each in the other one's place. */
	assert_int_equal(pread(fd, slot, sizeof(slot), 256), sizeof(slot));
	assert_int_equal(pread(fd, other, sizeof(other), PLACE + 256), sizeof(other));
	assert_int_equal(pwrite(fd, slot, sizeof(slot), PLACE + 256), sizeof(slot));
	assert_int_equal(pwrite(fd, other, sizeof(other), 256), sizeof(other));
	assert_int_equal(reopen(f), VAULT_E_MARKS);
}

/* What could not be kept in memory is not on the disk either, where a second try would put it a second time. */
static void a_mark_has_one_place(void **state)
{
	struct vault_fixture *f = *state;

	starved = true;
	assert_int_not_equal(marks_raise(&f->vault.marks, SPAN_LIT("one"), 5), 0);
	starved = false;
	assert_int_equal(marks_raise(&f->vault.marks, SPAN_LIT("one"), 5), 0);
	assert_int_equal(reopen(f), 0);
	assert_int_equal(marks_get(&f->vault.marks, SPAN_LIT("one")), 5);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(half_a_table_is_enough),
		TEST(marks_are_believed_only_whole),
		TEST(a_mark_has_one_place),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
