/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define CHECK(put, want)                                                    \
	do {                                                                \
		uint8_t mem[256];                                           \
		struct text t = TEXT_OF(mem, sizeof(mem));                  \
		put;                                                        \
		assert_false(t.full);                                       \
		assert_true(span_eq_str(text_span(&t), want));              \
		/* in memory one byte too small, nothing is half written */ \
		t = TEXT_OF(mem, sizeof(want) - 2);                         \
		put;                                                        \
		assert_true(t.full);                                        \
		assert_true(t.len <= t.cap);                                \
	} while (0)

static void pieces(void **state)
{
	(void)state;
	CHECK(text_put_u64(&t, UINT64_MAX), "18446744073709551615");
	CHECK(text_put_u64(&t, 0), "0");
	CHECK(text_put_hex(&t, SPAN_LIT("\x00\xff\x1a")), "00ff1a");
	CHECK(text_put_escaped(&t, SPAN_LIT("a b/c~\xe1"), 0), "a%20b%2Fc~%E1");
	CHECK(text_put_escaped(&t, SPAN_LIT("a b/c"), '/'), "a%20b/c");
	CHECK(text_put_json(&t, SPAN_LIT("a\"b\\c")), "a\\\"b\\\\c");
}

/* RFC 4648 10 */
static void base64(void **state)
{
	(void)state;
	CHECK(text_put_base64(&t, SPAN_LIT("f")), "Zg==");
	CHECK(text_put_base64(&t, SPAN_LIT("fo")), "Zm8=");
	CHECK(text_put_base64(&t, SPAN_LIT("foobar")), "Zm9vYmFy");
	CHECK(text_put_base64(&t, SPAN_LIT("\xff\xfe\xff\xbf")), "//7/vw==");
	CHECK(text_put_base64url(&t, SPAN_LIT("\xff\xfe\xff\xbf")), "__7_vw");
	CHECK(text_put_base64url(&t, SPAN_LIT("foob")), "Zm9vYg");
}

static void base64_read(void **state)
{
	static const char *const bad[] = {"Zg",   "Zg=",  "Zh==",   "Zm9=", "Zg==Zg==", "=",
					  "====", "Z g=", "Zm9v\n", "Zm9_", "Z==="};
	uint8_t bytes[64], again[64];
	size_t len;

	(void)state;
	for (size_t n = 0; n < 40; n++) {
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)(i * 37 + n);
		struct text t = TEXT_OF(again, sizeof(again));
		uint8_t back[64];
		text_put_base64(&t, span_of(bytes, n));
		assert_true(text_get_base64(text_span(&t), back, &len));
		assert_true(span_eq(span_of(back, len), span_of(bytes, n)));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(text_get_base64(span_str(bad[i]), bytes, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(base64),
		cmocka_unit_test(base64_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
