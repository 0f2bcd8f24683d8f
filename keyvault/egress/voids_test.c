/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/voids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define LIFE_MS 60000

static struct voids v;

static int set_up(void **state)
{
	(void)state;
	voids_reset(&v);
	return 0;
}

static void withdraw(enum voids_what what, const char *name, uint64_t below, uint64_t now_ms)
{
	voids_add(&v, &(struct proto_grants_void){.below = below, .what = what, .name = span_str(name)}, now_ms);
}

/* A grant of acme's key_1 for openai. */
static bool is_void(uint64_t series, uint64_t now_ms)
{
	const struct proto_grant g = {.series = series, .tenant = SPAN_LIT("acme"), .principal = SPAN_LIT("key_1")};
	const struct proto_grant_route route = {.credential = SPAN_LIT("openai")};

	return voids_match(&v, &g, &route, now_ms);
}

static void older_series_only(void **state)
{
	(void)state;
	assert_false(is_void(1, 0));
	withdraw(VOIDS_TENANT, "acme", 5, 0);
	assert_true(is_void(1, 0));
	assert_true(is_void(4, 0));
	assert_false(is_void(5, 0));
	assert_false(is_void(6, 0));
}

static void of_the_one_that_is_named(void **state)
{
	static const struct {
		enum voids_what what;
		const char *name;
		bool meant;
	} rows[] = {
		{VOIDS_TENANT, "acme", true},       {VOIDS_TENANT, "acm", false},      {VOIDS_TENANT, "acme2", false},
		{VOIDS_TENANT, "key_1", false},     {VOIDS_PRINCIPAL, "key_1", true},  {VOIDS_PRINCIPAL, "acme", false},
		{VOIDS_CREDENTIAL, "openai", true}, {VOIDS_CREDENTIAL, "acme", false}, {VOIDS_ALL, "", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		voids_reset(&v);
		withdraw(rows[i].what, rows[i].name, 5, 0);
		assert_int_equal(is_void(4, 0), rows[i].meant);
	}
}

/* As long as any grant lives that was meant, and each row for itself. */
static void for_as_long_as_grants_live(void **state)
{
	(void)state;
	withdraw(VOIDS_TENANT, "acme", 5, 1000);
	withdraw(VOIDS_TENANT, "other", 6, 2000);
	assert_true(is_void(4, 1000 + LIFE_MS));
	assert_true(is_void(4, 2000 + LIFE_MS)); /* longer than needed */
	assert_false(is_void(4, 2001 + LIFE_MS));
	assert_int_equal(v.n, 0);
	withdraw(VOIDS_ALL, "", 7, 3000);
	assert_true(is_void(6, 3000 + 100 * LIFE_MS)); /* costs nothing to remember */
	assert_false(is_void(7, 3000));
}

static void too_many_become_wider(void **state)
{
	char name[16];

	(void)state;
	withdraw(VOIDS_TENANT, "acme", 5, 0);
	for (unsigned i = 1; i < VOIDS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "tenant-%u", i);
		withdraw(VOIDS_TENANT, name, 5 + i, 0);
	}
	assert_int_equal(v.n, VOIDS_MAX);
	assert_true(is_void(4, 0));
	assert_int_equal(v.all_below, 0);
	withdraw(VOIDS_PRINCIPAL, "key_9", 40, 0);
	assert_int_equal(v.n, VOIDS_MAX);
	assert_true(is_void(4, 0));  /* by the widened row */
	assert_false(is_void(5, 0)); /* a tenant that nobody named since */
	withdraw(VOIDS_PRINCIPAL, "key_1", 41, 0);
	assert_true(is_void(40, 0));
	assert_false(is_void(41, 0));
	assert_int_equal(v.all_below, 6);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, set_up)
	const struct CMUnitTest tests[] = {
		T(older_series_only),
		T(of_the_one_that_is_named),
		T(for_as_long_as_grants_live),
		T(too_many_become_wider),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
