/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet against the specification's vectors (VECTORS_DIR/fernet) and, through tokens with a right HMAC, against
 * Wycheproof's AES-CBC-PKCS5 (VECTORS_DIR/wycheproof).
 */
#include "tests/support/fernet_fixture.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/vectors.h"

/* ---- the specification's vectors ---- */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static uint64_t time_of(const json_t *vector)
{
	struct tm tm = {0};

	assert_non_null(strptime(text_of(vector, "now"), "%Y-%m-%dT%H:%M:%S%z", &tm));
	long offset_s = tm.tm_gmtoff;
	return (uint64_t)(timegm(&tm) - offset_s);
}

static void spec_generate(void **state)
{
	struct fixture *f = *state;
	json_t *all = vectors_load("fernet/generate.json"), *vector;
	uint8_t iv[FERNET_IV_BYTES];
	size_t i, k;

	json_array_foreach(all, i, vector)
	{
		use_keys(f, text_of(vector, "secret"), NULL);
		assert_int_equal(json_array_size(json_object_get(vector, "iv")), sizeof(iv));
		for (k = 0; k < sizeof(iv); k++)
			iv[k] = (uint8_t)json_integer_value(json_array_get(json_object_get(vector, "iv"), k));
		struct span plain = span_str(text_of(vector, "src"));
		assert_int_equal(fernet_encrypt(&f->keys, plain, time_of(vector), iv, f->stored), 0);
		assert_string_equal(token_of(f), text_of(vector, "token"));
	}
	json_decref(all);
}

static void spec_verify(void **state)
{
	struct fixture *f = *state;
	json_t *all = vectors_load("fernet/verify.json"), *vector;
	size_t i;

	json_array_foreach(all, i, vector)
	{
		use_keys(f, text_of(vector, "secret"), NULL);
		assert_int_equal(decrypt(f, span_str(text_of(vector, "token")), time_of(vector),
					 (uint64_t)json_integer_value(json_object_get(vector, "ttl_sec"))),
				 0);
		assert_plain(f, span_str(text_of(vector, "src")));
	}
	json_decref(all);
}

/* Each is refused, and for its own reason: the two of time are good tokens but for that. */
static void spec_invalid(void **state)
{
	struct fixture *f = *state;
	json_t *all = vectors_load("fernet/invalid.json"), *vector;
	unsigned of_time = 0, of_key = 0;
	size_t i;

	json_array_foreach(all, i, vector)
	{
		const char *desc = text_of(vector, "desc");
		bool time = strstr(desc, "TTL") || strstr(desc, "future");
		bool key = strstr(desc, "mac") || strstr(desc, "padding error");
		use_keys(f, text_of(vector, "secret"), NULL);
		print_message("%s\n", desc);
		assert_int_equal(decrypt(f, span_str(text_of(vector, "token")), time_of(vector),
					 (uint64_t)json_integer_value(json_object_get(vector, "ttl_sec"))),
				 time  ? FERNET_E_AGE
				 : key ? FERNET_E_KEY
				       : FERNET_E_FORM);
		assert_null(f->plain.p);
		if (time)
			assert_int_equal(open_any_age(f, text_of(vector, "token")), 0);
		of_time += time;
		of_key += key;
	}
	assert_int_equal(of_time, 2);
	assert_int_equal(of_key, 3);
	json_decref(all);
}

/* ---- Wycheproof's AES-CBC-PKCS5, inside tokens with a right HMAC ---- */

static struct span hex(const json_t *test, const char *name, uint8_t *to, size_t cap)
{
	const char *text = text_of(test, name);
	size_t len;

	assert_int_equal(sodium_hex2bin(to, cap, text, strlen(text), NULL, &len, NULL), 0);
	return span_of(to, len);
}

static void check_cbc(struct fixture *f, const json_t *test)
{
	uint8_t key[FERNET_KEY_BYTES] = "the key of HMACs", iv[FERNET_IV_BYTES], msg[512], box[512];
	char key_text[FERNET_KEY_CHARS + 1], token[1024];
	bool valid = strcmp(text_of(test, "result"), "valid") == 0;

	assert_int_equal(hex(test, "key", key + 16, 16).len, 16);
	assert_int_equal(hex(test, "iv", iv, sizeof(iv)).len, sizeof(iv));
	struct span m = hex(test, "msg", msg, sizeof(msg)), c = hex(test, "ct", box, sizeof(box));
	(void)sodium_bin2base64(key_text, sizeof(key_text), key, sizeof(key), sodium_base64_VARIANT_URLSAFE);
	use_keys(f, key_text, NULL);
	struct span made = make_token(key, iv, c, token, sizeof(token));
	int r = decrypt(f, made, 0, 0);
	if (!valid) {
		/* Bad padding answers as a wrong HMAC does; only what is not whole blocks is refused before. */
		assert_int_equal(r, c.len == 0 || c.len % 16 ? FERNET_E_FORM : FERNET_E_KEY);
		return;
	}
	assert_int_equal(r, 0);
	assert_plain(f, m);
	assert_int_equal(fernet_encrypt(&f->keys, m, 0, iv, f->stored), 0);
	assert_true(span_eq_str(made, token_of(f)));
}

static void wycheproof_aes_cbc(void **state)
{
	struct fixture *f = *state;
	json_t *all = vectors_load("wycheproof/aes_cbc_pkcs5_test.json"), *group, *test;
	size_t i, k, n = 0;

	json_array_foreach(json_object_get(all, "testGroups"), i, group)
	{
		if (json_integer_value(json_object_get(group, "keySize")) != 128)
			continue; /* Fernet has no other */
		json_array_foreach(json_object_get(group, "tests"), k, test)
		{
			check_cbc(f, test);
			n++;
		}
	}
	assert_true(n >= 72);
	json_decref(all);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fernet_setup, fernet_teardown)
	const struct CMUnitTest tests[] = {
		TEST(spec_generate),
		TEST(spec_verify),
		TEST(spec_invalid),
		TEST(wycheproof_aes_cbc),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("fernet_vectors", tests, NULL, NULL);
}
