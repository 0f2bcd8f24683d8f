/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bindings that fit together, and each of their fields made wrong, once. Every byte is tried where a text is checked,
 * for what is missed there breaks out of a header, a form or a claim.
 */
#include "common/binding_auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct proto_binding plain = {.auth = PROTO_AUTH_HEADER};
static const struct proto_binding basic = {.auth = PROTO_AUTH_BASIC};
static const struct proto_binding sigv4 = {.auth = PROTO_AUTH_SIGV4, .auth_scope = SPAN_LIT("us-east-1/bedrock")};

static struct proto_binding token(uint64_t auth)
{
	return (struct proto_binding){.auth = auth,
				      .auth_scope = SPAN_LIT("one two"),
				      .client_id = SPAN_LIT("me"),
				      .token_host = SPAN_LIT("token.test"),
				      .token_port = 443,
				      .token_path = SPAN_LIT("/token")};
}

static void what_fits_together_is_accepted(void **state)
{
	uint8_t pins[3 * BINDING_PIN_BYTES] = {0};
	struct proto_binding b = plain;

	(void)state;
	assert_true(binding_auth_ok(&plain));
	assert_true(binding_auth_ok(&basic));
	assert_true(binding_auth_ok(&sigv4));
	b.pins = span_of(pins, sizeof(pins));
	assert_true(binding_auth_ok(&b));
	for (uint64_t auth = PROTO_AUTH_GOOGLE; auth <= PROTO_AUTH_OAUTH_CLIENT; auth++) {
		b = token(auth);
		assert_true(binding_auth_ok(&b));
		b.auth_scope = SPAN_NULL;
		b.token_pins = span_of(pins, BINDING_PIN_BYTES);
		b.token_port = 1;
		b.token_path = SPAN_LIT("/");
		b.client_id = SPAN_LIT("i");
		b.client_auth = 1;
		assert_true(binding_auth_ok(&b));
	}
}

static void which_secrets_are_exchanged_is_a_table(void **state)
{
	static const bool exchanged[] = {
		[PROTO_AUTH_HEADER] = false, [PROTO_AUTH_BASIC] = false,        [PROTO_AUTH_SIGV4] = false,
		[PROTO_AUTH_GOOGLE] = true,  [PROTO_AUTH_OAUTH_REFRESH] = true, [PROTO_AUTH_OAUTH_CLIENT] = true,
	};
	struct proto_binding b = token(0);

	(void)state;
	for (b.auth = 0; b.auth < ARRAY_LEN(exchanged); b.auth++)
		assert_int_equal(binding_takes_token(&b), exchanged[b.auth]);
	assert_false(binding_takes_token(&b)); /* one beyond */
	assert_false(binding_auth_ok(&b));
	b.auth = UINT64_MAX;
	assert_false(binding_takes_token(&b));
	assert_false(binding_auth_ok(&b));
}

static void who_asks_nobody_names_nobody(void **state)
{
	static const struct proto_binding *const bases[] = {&plain, &basic, &sigv4};
	uint8_t pin[BINDING_PIN_BYTES] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
		struct proto_binding b[6];
		for (size_t k = 0; k < ARRAY_LEN(b); k++)
			b[k] = *bases[i];
		b[0].token_host = SPAN_LIT("token.test");
		b[1].token_port = 443;
		b[2].token_path = SPAN_LIT("/token");
		b[3].token_pins = span_of(pin, sizeof(pin));
		b[4].client_id = SPAN_LIT("me");
		b[5].client_auth = 1;
		for (size_t k = 0; k < ARRAY_LEN(b); k++)
			if (binding_auth_ok(&b[k]))
				fail_msg("base %zu, field %zu", i, k);
	}
	struct proto_binding scope = plain;
	scope.auth_scope = SPAN_LIT("us-east-1/bedrock");
	assert_false(binding_auth_ok(&scope));
	scope.auth = PROTO_AUTH_BASIC;
	assert_false(binding_auth_ok(&scope));
}

static void who_asks_somebody_says_whom(void **state)
{
	struct proto_binding b[6];

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(b); k++)
		b[k] = token(PROTO_AUTH_OAUTH_CLIENT);
	b[0].token_host = SPAN_NULL;
	b[1].token_port = 0;
	b[2].token_path = SPAN_NULL;
	b[3].token_path = SPAN_LIT("token");
	b[4].client_id = SPAN_NULL;
	b[5].token_path = SPAN_LIT("/a b");
	for (size_t k = 0; k < ARRAY_LEN(b); k++)
		if (binding_auth_ok(&b[k]))
			fail_msg("field %zu", k);
}

static void pins_are_whole_digests(void **state)
{
	uint8_t pins[2 * BINDING_PIN_BYTES] = {0};

	(void)state;
	for (size_t len = 0; len <= sizeof(pins); len++) {
		struct proto_binding b = token(PROTO_AUTH_GOOGLE);
		b.pins = span_of(pins, len);
		assert_int_equal(binding_auth_ok(&b), len % BINDING_PIN_BYTES == 0);
		b.pins = SPAN_NULL;
		b.token_pins = span_of(pins, len);
		assert_int_equal(binding_auth_ok(&b), len % BINDING_PIN_BYTES == 0);
	}
}

/* Each byte in the middle of a field: as the rule of that field says. */
static void each_byte_of_each_text(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		uint8_t text[] = {'a', (uint8_t)c, 'z'}, path[] = {'/', (uint8_t)c, 'z'};
		bool printed = c >= 0x21 && c <= 0x7e && c != '"' && c != '\\';
		bool name = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':' ||
			    c == '_';
		struct proto_binding b[4];
		bool want[] = {printed || c == ' ', printed, name, printed};

		for (size_t k = 0; k < ARRAY_LEN(b); k++)
			b[k] = token(PROTO_AUTH_OAUTH_CLIENT);
		b[0].auth_scope = span_of(text, 3);
		b[1].client_id = span_of(text, 3);
		b[2].token_host = span_of(text, 3);
		b[3].token_path = span_of(path, 3);
		for (size_t k = 0; k < ARRAY_LEN(b); k++)
			if (binding_auth_ok(&b[k]) != want[k])
				fail_msg("byte %02x in field %zu", c, k);
	}
}

static void a_scope_of_a_signature_has_two_parts(void **state)
{
	static const char *const wrong[] = {
		"",
		"/",
		"us-east-1",
		"us-east-1/",
		"/bedrock",
		"us/bed/rock",
		"us-east-1/bed rock",
		"US/bedrock",
		"us_east/bedrock",
		"us.east/bedrock",
		"us-east-1/Bedrock",
		"us-east-1/bedrock\n",
		"us-east-1//bedrock",
	};
	struct proto_binding b = sigv4;
	struct span region, service;

	(void)state;
	assert_true(binding_sign_scope(&b, &region, &service));
	assert_true(span_eq_str(region, "us-east-1"));
	assert_true(span_eq_str(service, "bedrock"));
	b.auth_scope = SPAN_LIT("a/b");
	assert_true(binding_auth_ok(&b));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		b.auth_scope = span_str(wrong[i]);
		if (binding_sign_scope(&b, &region, &service) || binding_auth_ok(&b))
			fail_msg("'%s'", wrong[i]);
	}
	b.auth_scope = SPAN_LIT("us-east-1/b\0k"); /* a NUL is in no list of characters */
	assert_false(binding_sign_scope(&b, &region, &service));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_together_is_accepted),
		cmocka_unit_test(which_secrets_are_exchanged_is_a_table),
		cmocka_unit_test(who_asks_nobody_names_nobody),
		cmocka_unit_test(who_asks_somebody_says_whom),
		cmocka_unit_test(pins_are_whole_digests),
		cmocka_unit_test(each_byte_of_each_text),
		cmocka_unit_test(a_scope_of_a_signature_has_two_parts),
	};

	return cmocka_run_group_tests_name("binding_auth", tests, NULL, NULL);
}
