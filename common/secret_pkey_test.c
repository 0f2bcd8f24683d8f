/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel may know protection keys of a processor that libc does not know yet (arm64's POE before glibc 2.41): then
 * pkey_alloc(), which is a system call, succeeds, and pkey_set() does not.
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

static unsigned keys;

static int kernels_alloc(void)
{
	keys++;
	return 1;
}

static int kernels_free(void)
{
	keys--;
	return 0;
}

static int libcs_set(void)
{
	errno = ENOSYS;
	return -1;
}

#define pkey_alloc(flags, rights) kernels_alloc()
#define pkey_free(key)            kernels_free()
#define pkey_set(key, rights)     libcs_set()
#include "common/secret.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void keys_that_cannot_be_set_are_none(void **state)
{
	struct secret_arena *a;
	struct secret s;

	(void)state;
	assert_int_equal(secret_arena_new(4096, &a), 0);
	assert_int_equal(keys, 0);
	assert_non_null(strstr(secret_arena_protection(a), "+mprotect"));
	assert_int_equal(secret_alloc(a, 16, &s), 0);
	secret_free(a, &s);
	secret_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keys_that_cannot_be_set_are_none)};

	return cmocka_run_group_tests_name("secret_pkey", tests, NULL, NULL);
}
