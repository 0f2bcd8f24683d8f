/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/head_digest.h"

#define FIELD(n, v)                      \
	{                                \
		SPAN_LIT(n), SPAN_LIT(v) \
	}

static void expect(unsigned status, const struct proto_header *fields, size_t n, struct span text)
{
	uint8_t got[SHA256_BYTES], wanted[SHA256_BYTES];

	sha256(&text, 1, wanted);
	head_digest(status, fields, n, got);
	assert_memory_equal(got, wanted, sizeof(got));
}

static void test_text(void **state)
{
	const struct proto_header fields[] = {
		FIELD("x-upstream-request-id", "b"),
		FIELD("content-type", "application/json"),
		FIELD("x-upstream-request-id", "a"),
		FIELD("content-typ", ""),
	};

	(void)state;
	expect(204, NULL, 0, SPAN_LIT("204\n"));
	expect(429, fields, 1, SPAN_LIT("429\nx-upstream-request-id: b\n"));
	expect(200, fields, ARRAY_LEN(fields),
	       SPAN_LIT("200\ncontent-typ: \ncontent-type: application/json\nx-upstream-request-id: "
			"b\nx-upstream-request-id: a\n"));
}

/* Around the size of what is gathered, and as many fields as there may be. */
static void test_long(void **state)
{
	static uint8_t value[8192], text[HEAD_DIGEST_FIELDS_MAX * (sizeof(value) + 8)];
	struct proto_header fields[HEAD_DIGEST_FIELDS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)('a' + i % 26);
	for (size_t len = 900; len < sizeof(value); len += len < 1100 ? 1 : 1009) {
		size_t n = len % HEAD_DIGEST_FIELDS_MAX + 1, at = 0;
		memcpy(text, "200\n", 4);
		at = 4;
		for (size_t i = 0; i < n; i++) {
			fields[i] = (struct proto_header){SPAN_LIT("n"), span_of(value, len - i)};
			memcpy(text + at, "n: ", 3);
			memcpy(text + at + 3, value, len - i);
			text[at + 3 + len - i] = '\n';
			at += len - i + 4;
		}
		expect(200, fields, n, span_of(text, at));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
