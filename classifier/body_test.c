/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "classifier/body.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int memfd(const char *text, unsigned seals)
{
	int fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int open_scan(struct span in_frame, size_t bytes, int fd, struct body *ret_body)
{
	struct proto_scan scan = {.classes = 1, .body_bytes = bytes, .body = in_frame};

	return body_open(&scan, fd, ret_body);
}

static void takes_frame_or_memfd(void **state)
{
	struct body b = BODY_NULL;

	(void)state;
	assert_int_equal(open_scan(SPAN_LIT("[1]"), 3, -1, &b), 0);
	assert_true(span_eq_str(b.json, "[1]"));
	body_close(&b);
	assert_int_equal(open_scan(SPAN_NULL, 3, memfd("[2]", SEALS), &b), 0);
	assert_true(span_eq_str(b.json, "[2]"));
	body_close(&b);
	body_close(&b);
}

static void refuses_anything_else(void **state)
{
	static const unsigned missing[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL};
	struct body b;
	int ends[2];

	(void)state;
	assert_int_equal(open_scan(SPAN_LIT("[1]"), 4, -1, &b), BODY_E_PEER);
	assert_int_equal(open_scan(SPAN_NULL, 3, -1, &b), BODY_E_PEER);
	assert_int_equal(open_scan(SPAN_LIT("[1]"), 3, memfd("[2]", SEALS), &b), BODY_E_PEER);
	assert_int_equal(open_scan(SPAN_NULL, 4, memfd("[2]", SEALS), &b), BODY_E_PEER);
	assert_int_equal(open_scan(SPAN_NULL, 2, memfd("[2]", SEALS), &b), BODY_E_PEER);
	for (size_t i = 0; i < ARRAY_LEN(missing); i++)
		assert_int_equal(open_scan(SPAN_NULL, 3, memfd("[2]", SEALS & ~missing[i]), &b), BODY_E_PEER);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(open_scan(SPAN_NULL, 3, ends[0], &b), BODY_E_PEER);
	assert_int_equal(close(ends[0]), -1); /* consumed */
	(void)close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(takes_frame_or_memfd),
					   cmocka_unit_test(refuses_anything_else)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
