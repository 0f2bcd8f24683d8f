/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void test_addresses(void **state)
{
	static const char *const right[] = {"127.0.0.1:8080", "0.0.0.0:0", "[::]:8080", "[::1]:65535"};
	static const char *const wrong[] = {
		"",      ":8080",          "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:80",
		"[::1]", "[127.0.0.1]:80", "[]:80",     "[::1:80",    "localhost:80",    "127.1:80"};
	struct listen_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(right); i++)
		if (listen_parse(right[i], &a))
			fail_msg("refused: %s", right[i]);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (!listen_parse(wrong[i], &a))
			fail_msg("accepted: %s", wrong[i]);
}

static void test_opens(void **state)
{
	struct listen_address a;
	char text[80], again[80];
	int fd, other;

	(void)state;
	assert_int_equal(listen_parse("127.0.0.1:0", &a), 0);
	assert_int_equal(listen_open(&a, &fd, text, sizeof(text)), 0);
	assert_memory_equal(text, "127.0.0.1:", 10);
	assert_true(atoi(text + 10) > 0);
	assert_int_equal(listen_parse(text, &a), 0);
	assert_int_equal(listen_open(&a, &other, again, sizeof(again)), -EADDRINUSE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_opens)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
