/* SPDX-License-Identifier: Apache-2.0 */
/* Root keys from files and passphrases, and what is not accepted as one. */
#include "keyvault/root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sodium.h>
#include <cmocka.h>

static struct secret_arena *arena_of(void **state)
{
	return *state;
}

static int setup(void **state)
{
	struct secret_arena *a;

	assert_int_equal(secret_arena_new(65536, &a), 0);
	*state = a;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(secret_arena_used(*state), 0);
	secret_arena_free(*state);
	return 0;
}

static const uint8_t key[ROOT_KEY_BYTES] = {0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09,
					    0x98, 0xec, 0xf8, 0x42, 0x7e, 0x0a, 0x31, 0x5b, 0x77, 0x63, 0x2f,
					    0xa0, 0xc1, 0x15, 0x3e, 0x6d, 0x90, 0xbb, 0x48, 0x29, 0x56};

static int parse(void **state, struct span file)
{
	struct secret root = SECRET_NULL;
	int r = root_parse_file(arena_of(state), file, &root);

	if (!r) {
		secret_open(arena_of(state));
		assert_memory_equal(root.p, key, sizeof(key));
		secret_close(arena_of(state));
	}
	secret_free(arena_of(state), &root);
	return r;
}

static void three_forms_of_key_file(void **state)
{
	uint8_t raw[ROOT_KEY_BYTES + 1];
	char text[80];

	memcpy(raw, key, sizeof(key));
	raw[ROOT_KEY_BYTES] = '\n';
	assert_int_equal(parse(state, span_of(raw, 32)), 0);
	assert_int_equal(parse(state, span_of(raw, 33)), 0);
	(void)sodium_bin2hex(text, sizeof(text), key, sizeof(key));
	assert_int_equal(parse(state, span_str(text)), 0);
	strcat(text, "\n");
	assert_int_equal(parse(state, span_str(text)), 0);
	(void)sodium_bin2base64(text, sizeof(text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
	assert_int_equal(parse(state, span_str(text)), 0);
	strcat(text, "\n");
	assert_int_equal(parse(state, span_str(text)), 0);
}

static void weak_and_short_files_are_refused(void **state)
{
	static const struct {
		const char *file;
		int answer;
	} cases[] = {
		{"", ROOT_E_SHORT},
		{"\n", ROOT_E_SHORT},
		{"secret", ROOT_E_SHORT},
		{"0123456789abcdef0123456789abcdef", ROOT_E_SHORT}, /* 16 bytes in hex, not 32 raw ones */
		{"0123456789abcdef0123456789abcdef0123456789abcdef", ROOT_E_SHORT},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaz", ROOT_E_WEAK},
		{"correct horse battery staple, 1!", ROOT_E_WEAK},             /* 32 characters */
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ROOT_E_WEAK}, /* 0, 1, 2 ... */
		{"1B2M2Y8AsgTpgAmY7PhCftQdjNmPALIE6YAJmOz4Qn4=", ROOT_E_WEAK}, /* 16 bytes twice */
		{"0000000000000000000000000000000000000000000000000000000000000000", ROOT_E_WEAK},
		{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ROOT_E_WEAK},
		{"1B2M2Y8AsgTpgAmY7PhCfgoxW3djL6DBFT5tkLtIKQ==", ROOT_E_SHORT}, /* 31 bytes */
		{"this is not a key but a sentence that happens to be long", ROOT_E_FORM},
		{"d41d8cd98f00b204e9800998ecf8427e0a315b77632fa0c1153e6d90bb48295600", ROOT_E_FORM},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(parse(state, span_str(cases[i].file)), cases[i].answer);
}

static void a_passphrase_opens_what_it_sealed(void **state)
{
	struct secret_arena *a = arena_of(state);
	struct secret root = SECRET_NULL, back = SECRET_NULL;
	uint8_t sealed[ROOT_SEALED_BYTES];

	assert_int_equal(root_generate(a, &root), 0);
	assert_int_equal(root_seal(a, &root, span_str("short"), sealed), ROOT_E_SHORT);
	assert_int_equal(root_seal(a, &root, span_str("correct horse"), sealed), 0);
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), 0);
	assert_int_equal(root_unseal(a, span_of(sealed, sizeof(sealed)), span_str("correct horsf"), &back),
			 ROOT_E_PASSPHRASE);
	assert_null(back.p);
	assert_int_equal(root_unseal(a, span_of(sealed, sizeof(sealed)), span_str("correct horse"), &back), 0);
	secret_open(a);
	assert_memory_equal(root.p, back.p, ROOT_KEY_BYTES);
	assert_null(memmem(sealed, sizeof(sealed), root.p, 8));
	secret_close(a);
	secret_free(a, &root);
	secret_free(a, &back);
}

/* One byte of each part: refused, and told apart where it can be. */
static void damage_is_refused(void **state)
{
	static const struct {
		size_t at;
		int answer;
	} cases[] = {
		{0, ROOT_E_FORM},        {4, ROOT_E_FORM},        {8, ROOT_E_FORM},
		{12, ROOT_E_PASSPHRASE}, {27, ROOT_E_PASSPHRASE}, {28, ROOT_E_PASSPHRASE},
		{60, ROOT_E_DAMAGED},    {84, ROOT_E_DAMAGED},    {ROOT_SEALED_BYTES - 1, ROOT_E_DAMAGED},
	};
	struct secret_arena *a = arena_of(state);
	struct secret root = SECRET_NULL, back = SECRET_NULL;
	uint8_t sealed[ROOT_SEALED_BYTES];

	assert_int_equal(root_generate(a, &root), 0);
	assert_int_equal(root_seal(a, &root, span_str("correct horse"), sealed), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sealed[cases[i].at] ^= 0x80;
		assert_int_equal(root_unseal(a, span_of(sealed, sizeof(sealed)), span_str("correct horse"), &back),
				 cases[i].answer);
		sealed[cases[i].at] ^= 0x80;
	}
	for (size_t len = 0; len < sizeof(sealed); len++)
		assert_int_equal(root_check_sealed(span_of(sealed, len)), ROOT_E_FORM);
	secret_free(a, &root);
}

/* The cost is spent before anything can be authenticated, so an edited file must not make the core spend more. */
static void cost_is_bounded(void **state)
{
	uint8_t sealed[ROOT_SEALED_BYTES] = "BHR1";

	(void)state;
	sealed[7] = 3;
	sealed[10] = 4;
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), 0);
	sealed[7] = ROOT_PASSES_MAX + 1;
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), ROOT_E_FORM);
	sealed[7] = 0;
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), ROOT_E_FORM);
	sealed[7] = 3;
	sealed[8] = 1;
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), ROOT_E_FORM);
	sealed[8] = sealed[10] = 0;
	assert_int_equal(root_check_sealed(span_of(sealed, sizeof(sealed))), ROOT_E_FORM);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(three_forms_of_key_file),
		TEST(weak_and_short_files_are_refused),
		TEST(a_passphrase_opens_what_it_sealed),
		TEST(damage_is_refused),
		TEST(cost_is_bounded),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("root", tests, NULL, NULL);
}
