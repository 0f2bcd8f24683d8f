/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "router/body.h"

static void fill(struct body *b, size_t bytes, size_t step)
{
	uint8_t *piece = malloc(step);

	assert_non_null(piece);
	for (size_t at = 0; at < bytes; at += step) {
		size_t n = MIN(step, bytes - at);
		for (size_t i = 0; i < n; i++)
			piece[i] = (uint8_t)((at + i) % 251);
		assert_int_equal(body_append(b, span_of(piece, n)), 0);
	}
	free(piece);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = {
		0, 1, 1000, BODY_SMALL_BYTES_MAX, BODY_SMALL_BYTES_MAX + 1, 300000, BODY_BYTES_MAX};
	struct body b;

	(void)state;
	body_init(&b, NULL);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		for (unsigned expected = 0; expected < 2; expected++) {
			if (expected)
				assert_int_equal(body_expect(&b, sizes[i]), 0);
			fill(&b, sizes[i], 4093);
			assert_int_equal(body_finish(&b), 0);
			struct span all = body_span(&b);
			assert_int_equal(all.len, sizes[i]);
			for (size_t k = 0; k < all.len; k++)
				if (all.p[k] != k % 251)
					fail();
			int fd;
			assert_int_equal(body_share(&b, &fd), 0);
			assert_int_equal(fd >= 0, sizes[i] > BODY_SMALL_BYTES_MAX);
			if (fd >= 0) {
				int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
				assert_int_equal(fcntl(fd, F_GET_SEALS) & seals, seals);
				assert_int_equal(write(fd, "x", 1), -1);
				assert_int_equal(close(fd), 0);
			}
			body_reset(&b);
		}
	body_deinit(&b);
}

static void test_too_large(void **state)
{
	struct body b;
	uint8_t *to;
	size_t n;

	(void)state;
	body_init(&b, NULL);
	fill(&b, BODY_BYTES_MAX, 65536);
	assert_int_equal(body_append(&b, SPAN_LIT("x")), BODY_E_TOO_LARGE);
	assert_int_equal(body_space(&b, 1, &to, &n), BODY_E_TOO_LARGE);
	body_deinit(&b);
}

/* Of all that are large at a time; what replaces one counts instead of it. */
static void test_so_much_together(void **state)
{
	struct bodies all = {.bytes_max = 200000};
	struct body a, b, c;

	(void)state;
	body_init(&a, &all);
	body_init(&b, &all);
	body_init(&c, NULL);
	fill(&a, BODY_SMALL_BYTES_MAX, 4096);
	assert_int_equal(all.bytes, 0);
	fill(&b, 150000, 1000);
	assert_int_equal(all.bytes, 150000);
	assert_int_equal(body_append(&a, SPAN_LIT("x")), BODY_E_CROWDED);
	body_reset(&a);
	assert_int_equal(body_expect(&a, 70000), BODY_E_CROWDED);
	assert_int_equal(all.bytes, 150000);
	fill(&c, 180000, 1000);
	body_replace(&b, &c);
	assert_int_equal(all.bytes, 180000);
	assert_int_equal(body_span(&b).len, 180000);
	assert_int_equal(body_span(&c).len, 0);
	body_deinit(&a);
	body_deinit(&b);
	body_deinit(&c);
	assert_int_equal(all.bytes, 0);
}

/* A head whose body comes later is looked at twice. */
static void test_expected_again(void **state)
{
	struct body b;

	(void)state;
	body_init(&b, NULL);
	assert_int_equal(body_expect(&b, BODY_BYTES_MAX), 0);
	int fd = b.fd;
	assert_int_equal(body_expect(&b, BODY_BYTES_MAX), 0);
	assert_int_equal(b.fd, fd);
	body_deinit(&b);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_so_much_together),
		cmocka_unit_test(test_expected_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
