/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link-time optimisation puts the arena's functions into their callers. Where that happens a caller has values in
 * vector registers, of which the compiler knows only what it is told: secret_close() clears them all.
 */
#include "common/secret.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* As in a build for the processor at hand. */
#ifdef __x86_64__
#define INTO_CALLER      __attribute__((noinline, flatten, target("avx512f,avx512vl")))
#define CALLER_MAY_RUN() __builtin_cpu_supports("avx512vl")
#else
#define INTO_CALLER      __attribute__((noinline, flatten))
#define CALLER_MAY_RUN() true
#endif

typedef uint64_t pair __attribute__((vector_size(16)));

static INTO_CALLER pair add_around_a_close(struct secret_arena *a, const volatile uint64_t *from)
{
	pair x = {from[0], from[1]}, y = {from[2], from[3]};

	x += y;
	secret_close(a);
	return x;
}

static void a_caller_keeps_what_it_has(void **state)
{
	const uint64_t from[] = {1, 2, 30, 40};
	struct secret_arena *a;

	(void)state;
	if (!CALLER_MAY_RUN())
		skip();
	assert_int_equal(secret_arena_new(4096, &a), 0);
	secret_open(a);
	pair sum = add_around_a_close(a, from);
	assert_int_equal(sum[0], 31);
	assert_int_equal(sum[1], 42);
	secret_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_caller_keeps_what_it_has)};

	return cmocka_run_group_tests_name("secret_inline", tests, NULL, NULL);
}
