/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fernet against the specification's vectors (VECTORS_DIR/fernet) and, through tokens with a right HMAC, against
 * Wycheproof's AES-CBC-PKCS5; then what they leave out: every bit, every length, every other spelling, the edges of
 * time, several keys, an arena without room.
 */
#include "keyvault/fernet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>
#include <jansson.h>
#include <nettle/aes.h>
#include <sodium.h>
#include <cmocka.h>

#define KEY_A "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define KEY_B "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
/* As KEY_B but for its second half, so with B's HMAC and another cipher key. */
#define KEY_B2       "AAECAwQFBgcICQoLDA0OD4CBgoOEhYaHiImKi4yNjo8="
#define HELLO        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
#define HELLO_TIME_S 499162800

static const uint8_t iv_0[FERNET_IV_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t iv_1[FERNET_IV_BYTES] = {200, 9, 31, 87, 4, 99, 6, 181, 8, 17, 10, 250, 12, 13, 77, 15};

/* KEY_B */
static const uint8_t key_b[FERNET_KEY_BYTES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
						16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

struct fixture {
	struct secret_arena *arena;
	struct fernet_keys keys;
	struct secret plain;
	struct fernet_origin origin;
	char stored[FERNET_STORED_CHARS_MAX + 1];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
	fernet_keys_init(&f->keys, f->arena);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	secret_free(f->arena, &f->plain);
	fernet_keys_deinit(&f->keys);
	assert_int_equal(secret_arena_used(f->arena), 0); /* every path frees what it took */
	f->arena = secret_arena_free(f->arena);
	free(f);
	return 0;
}

static void use_keys(struct fixture *f, const char *first, const char *second)
{
	fernet_keys_deinit(&f->keys);
	fernet_keys_init(&f->keys, f->arena);
	assert_int_equal(fernet_keys_add(&f->keys, span_str(first)), 0);
	if (second)
		assert_int_equal(fernet_keys_add(&f->keys, span_str(second)), 0);
}

static int decrypt(struct fixture *f, struct span token, uint64_t now_s, uint64_t ttl_s)
{
	secret_free(f->arena, &f->plain);
	return fernet_decrypt(&f->keys, token, (struct fernet_limit){now_s, ttl_s}, &f->plain, &f->origin);
}

static int open_any_age(struct fixture *f, const char *token)
{
	return decrypt(f, span_str(token), 0, 0);
}

static void assert_plain(struct fixture *f, struct span want)
{
	assert_int_equal(f->plain.len, want.len);
	secret_open(f->arena);
	if (want.len)
		assert_memory_equal(f->plain.p, want.p, want.len);
	secret_close(f->arena);
}

/* What follows the mark. */
static const char *token_of(const struct fixture *f)
{
	assert_int_equal(strncmp(f->stored, FERNET_MARK, 3), 0);
	return f->stored + 3;
}

/* ---- the specification's vectors ---- */

static json_t *load(const char *name)
{
	const char *dir = getenv("VECTORS_DIR");
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "../shared/vectors", name);
	json_t *all = json_load_file(path, 0, NULL);
	if (!all) {
		print_message("SKIPPED: no %s\n", path);
		skip();
	}
	assert_true(json_array_size(all) > 0 || json_object_size(all) > 0);
	return all;
}

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
	json_t *all = load("fernet/generate.json"), *vector;
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
	json_t *all = load("fernet/verify.json"), *vector;
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
	json_t *all = load("fernet/invalid.json"), *vector;
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

/* A token of these parts: of any box at all, which fernet_encrypt() would not make. */
static struct span make_token_of(uint8_t version, const uint8_t key[FERNET_KEY_BYTES],
				 const uint8_t iv[FERNET_IV_BYTES], struct span box, char *to, size_t cap)
{
	crypto_auth_hmacsha256_state mac;
	uint8_t raw[8192] = {version};

	memcpy(raw + 9, iv, FERNET_IV_BYTES);
	memcpy(raw + 25, box.p, box.len);
	(void)crypto_auth_hmacsha256_init(&mac, key, 16);
	(void)crypto_auth_hmacsha256_update(&mac, raw, 25 + box.len);
	(void)crypto_auth_hmacsha256_final(&mac, raw + 25 + box.len);
	(void)sodium_bin2base64(to, cap, raw, 25 + box.len + 32, sodium_base64_VARIANT_URLSAFE);
	return span_str(to);
}

static struct span make_token(const uint8_t key[FERNET_KEY_BYTES], const uint8_t iv[FERNET_IV_BYTES], struct span box,
			      char *to, size_t cap)
{
	return make_token_of(0x80, key, iv, box, to, cap);
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
	json_t *all = load("wycheproof/aes_cbc_pkcs5_test.json"), *group, *test;
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

/* ---- form ---- */

static void every_flipped_bit_is_refused(void **state)
{
	struct fixture *f = *state;
	char token[] = HELLO;

	use_keys(f, KEY_A, KEY_B);
	assert_int_equal(open_any_age(f, token), 0);
	for (size_t bit = 0; bit < 8 * (sizeof(token) - 1); bit++) {
		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
		assert_true(decrypt(f, span_of(token, sizeof(token) - 1), 0, 0) > 0);
		assert_null(f->plain.p);
		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(token) - 1; len++)
		assert_true(decrypt(f, span_of(token, len), 0, 0) > 0);
}

/* Another version, and ciphertext that is not whole blocks, as whoever has the key could make them. */
static void a_right_hmac_is_not_enough(void **state)
{
	struct fixture *f = *state;
	uint8_t box[64];
	char token[256];
	size_t len;

	use_keys(f, KEY_B, NULL);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("plain"), 0, iv_1, f->stored), 0);
	uint8_t raw[128];
	assert_int_equal(sodium_base642bin(raw, sizeof(raw), token_of(f), strlen(token_of(f)), NULL, &len, NULL,
					   sodium_base64_VARIANT_URLSAFE),
			 0);
	memcpy(box, raw + 25, 16);
	memset(box + 16, 16, sizeof(box) - 16);
	for (unsigned version = 0; version < 256; version++)
		assert_int_equal(
			decrypt(f, make_token_of((uint8_t)version, key_b, iv_1, span_of(box, 16), token, sizeof(token)),
				0, 0),
			version == 0x80 ? 0 : FERNET_E_FORM);
	for (len = 0; len < 48; len++)
		if (len % 16 || len == 0)
			assert_int_equal(
				decrypt(f, make_token(key_b, iv_1, span_of(box, len), token, sizeof(token)), 0, 0),
				FERNET_E_FORM);
}

/* Python's decoder, for one, takes most of these for the same token. */
static void a_token_has_one_spelling(void **state)
{
	static const char *const others[] = {
		HELLO "=",
		HELLO "\n",
		" " HELLO,
		"v1:v1:" HELLO,
		"V1:" HELLO,
		"v1: " HELLO,
		"v1:",
		"",
		"====",
		/* without padding, and with half of it */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA",
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=",
		/* a stray bit in the last character */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDB==",
		/* plain base64 */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ/eEwCGM4BLLF/5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
		/* a line break inside */
		"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0O\nDy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA="
		"=",
	};
	struct fixture *f = *state;

	use_keys(f, KEY_A, NULL);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(open_any_age(f, FERNET_MARK HELLO), 0);
	assert_plain(f, SPAN_LIT("hello"));
	assert_int_equal(f->origin.time_s, HELLO_TIME_S);
	assert_memory_equal(f->origin.iv, iv_0, sizeof(iv_0));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(open_any_age(f, others[i]), FERNET_E_FORM);
}

static void a_key_has_one_spelling(void **state)
{
	static const char *const others[] = {
		"",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e5=",
		"cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4Q==",
		"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n",
		/* the top bit set, which libsodium does not see */
		"cw\3370x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
		"730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(fernet_keys_add(&f->keys, span_str(others[i])), FERNET_E_FORM);
	assert_int_equal(f->keys.n, 0);
}

static void every_length_comes_back_and_a_longer_one_is_refused(void **state)
{
	static char token[8192];
	static uint8_t plain[FERNET_PLAIN_BYTES_MAX + 32];
	struct fixture *f = *state;

	use_keys(f, KEY_B, NULL);
	memset(plain, 'x', sizeof(plain));
	for (size_t len = 0; len <= FERNET_PLAIN_BYTES_MAX; len += len < 65 ? 1 : 31) {
		assert_int_equal(fernet_encrypt(&f->keys, span_of(plain, len), len, iv_1, f->stored), 0);
		assert_int_equal(open_any_age(f, f->stored), 0);
		assert_int_equal(f->origin.time_s, len);
		assert_plain(f, span_of(plain, len));
	}
	assert_int_equal(fernet_encrypt(&f->keys, span_of(plain, FERNET_PLAIN_BYTES_MAX), 0, iv_1, f->stored), 0);
	assert_int_equal(strlen(f->stored), FERNET_STORED_CHARS_MAX);
	assert_int_equal(open_any_age(f, f->stored), 0);
	/* One block more: the box may be anything, its length alone is too much. */
	struct span longer = make_token(key_b, iv_1, span_of(plain, FERNET_PLAIN_BYTES_MAX + 32), token, sizeof(token));
	assert_int_equal(decrypt(f, longer, 0, 0), FERNET_E_FORM);
}

/* ---- time ---- */

static void the_edges_of_time(void **state)
{
	static const struct {
		uint64_t now_s, ttl_s;
		int want;
	} rows[] = {
		{HELLO_TIME_S, 1, 0},
		{HELLO_TIME_S + 60, 60, 0},
		{HELLO_TIME_S + 61, 60, FERNET_E_AGE},
		{HELLO_TIME_S - 60, 60, 0},
		{HELLO_TIME_S - 61, 60, FERNET_E_AGE},
		{HELLO_TIME_S - 61, UINT64_MAX, FERNET_E_AGE},
		{UINT64_MAX, UINT64_MAX, 0},
		{UINT64_MAX, UINT64_MAX - HELLO_TIME_S, 0},
		{UINT64_MAX, UINT64_MAX - HELLO_TIME_S - 1, FERNET_E_AGE},
		{0, 1, FERNET_E_AGE},
		{0, 0, 0}, /* any age */
	};
	struct fixture *f = *state;

	use_keys(f, KEY_A, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(decrypt(f, SPAN_LIT(HELLO), rows[i].now_s, rows[i].ttl_s), rows[i].want);
		assert_int_equal(f->plain.p != NULL, rows[i].want == 0);
	}
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_NULL, UINT64_MAX, iv_1, f->stored), 0);
	assert_int_equal(decrypt(f, span_str(f->stored), UINT64_MAX - 61, 60), FERNET_E_AGE);
	assert_int_equal(decrypt(f, span_str(f->stored), UINT64_MAX - 60, 60), 0);
	/* Of a token that is not authentic nobody learns whether it would be in time. */
	use_keys(f, KEY_B, NULL);
	assert_int_equal(decrypt(f, SPAN_LIT(HELLO), HELLO_TIME_S + 61, 60), FERNET_E_KEY);
}

/* ---- several keys ---- */

static void each_key_is_tried_and_the_first_encrypts(void **state)
{
	struct fixture *f = *state;

	use_keys(f, KEY_B, KEY_A);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(f->origin.key, 1);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("new"), 7, iv_1, f->stored), 0);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_int_equal(f->origin.key, 0);
	use_keys(f, KEY_A, NULL);
	assert_int_equal(open_any_age(f, f->stored), FERNET_E_KEY);
	/* A right HMAC with the wrong cipher key is not the end of the search. */
	use_keys(f, KEY_B2, KEY_B);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_int_equal(f->origin.key, 1);
	assert_plain(f, SPAN_LIT("new"));
	use_keys(f, KEY_B2, NULL);
	assert_int_equal(open_any_age(f, f->stored), FERNET_E_KEY);
}

static void eight_keys_and_the_last_one_opens(void **state)
{
	char key[FERNET_KEY_CHARS + 1] = KEY_B;
	struct fixture *f = *state;

	for (unsigned i = 1; i < FERNET_KEYS_MAX; i++) {
		key[10] = (char)('a' + i);
		assert_int_equal(fernet_keys_add(&f->keys, span_str(key)), 0);
	}
	assert_int_equal(open_any_age(f, HELLO), FERNET_E_KEY);
	assert_int_equal(fernet_keys_add(&f->keys, SPAN_LIT(KEY_A)), 0);
	assert_int_equal(open_any_age(f, HELLO), 0);
	assert_int_equal(f->origin.key, FERNET_KEYS_MAX - 1);
}

static void rotation_keeps_the_time_and_changes_all_else(void **state)
{
	struct fixture *f = *state;

	use_keys(f, KEY_B, KEY_A);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_1, f->stored), 0);
	use_keys(f, KEY_B, NULL);
	assert_int_equal(open_any_age(f, f->stored), 0);
	assert_plain(f, SPAN_LIT("hello"));
	assert_int_equal(f->origin.time_s, HELLO_TIME_S);
	assert_memory_equal(f->origin.iv, iv_1, sizeof(iv_1));
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_1, f->stored), FERNET_E_KEY);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT("no token"), iv_1, f->stored), FERNET_E_FORM);
}

/* ---- what stays behind on the stack ---- */

#define STACK_BYTES 262144

/* cmocka and makecontext give a callback no context. */
static struct {
	ucontext_t here, there;
	struct fixture *f;
	struct span token;
	int r;
} own_stack;

static void add_keys_on_own_stack(void)
{
	struct fernet_keys *k = &own_stack.f->keys;

	own_stack.r = fernet_keys_add(k, SPAN_LIT(KEY_B)) || fernet_keys_add(k, SPAN_LIT(KEY_A));
}

static void decrypt_on_own_stack(void)
{
	struct fixture *f = own_stack.f;

	own_stack.r = fernet_decrypt(&f->keys, own_stack.token, (struct fernet_limit){0}, &f->plain, &f->origin);
}

static void encrypt_on_own_stack(void)
{
	struct fixture *f = own_stack.f;

	secret_open(f->arena);
	own_stack.r = fernet_encrypt(&f->keys, span_of(f->plain.p, f->plain.len), 1, iv_1, f->stored);
	secret_close(f->arena);
}

static void rotate_on_own_stack(void)
{
	own_stack.r = fernet_rotate(&own_stack.f->keys, own_stack.token, iv_1, own_stack.f->stored);
}

static void run_on_own_stack(uint8_t *stack, void (*work)(void))
{
	memset(stack, 0xa5, STACK_BYTES);
	assert_int_equal(getcontext(&own_stack.there), 0);
	own_stack.there.uc_stack.ss_sp = stack;
	own_stack.there.uc_stack.ss_size = STACK_BYTES;
	own_stack.there.uc_link = &own_stack.here;
	makecontext(&own_stack.there, work, 0);
	assert_int_equal(swapcontext(&own_stack.here, &own_stack.there), 0);
	assert_int_equal(own_stack.r, 0);
	size_t untouched = 0;
	while (untouched < STACK_BYTES && stack[untouched] == 0xa5)
		untouched++;
	assert_in_range(untouched, 1024, STACK_BYTES - 64); /* it was used, and did not run over */
}

static void assert_absent(const uint8_t *stack, const void *needle, size_t len, const char *what)
{
	if (memmem(stack, STACK_BYTES, needle, len))
		fail_msg("%s is left on the stack", what);
}

/* Of a key: its halves, the padded blocks that an HMAC begins with, the first, second and last round keys both ways. */
static void assert_key_absent(const uint8_t *stack, const char *text)
{
	uint8_t key[FERNET_KEY_BYTES], pad[16];
	struct aes128_ctx aes;
	size_t len;

	assert_int_equal(sodium_base642bin(key, sizeof(key), text, FERNET_KEY_CHARS, NULL, &len, NULL,
					   sodium_base64_VARIANT_URLSAFE),
			 0);
	for (size_t at = 0; at < sizeof(key); at += 8)
		assert_absent(stack, key + at, 8, "a piece of a key");
	for (unsigned with = 0x36; with <= 0x5c; with += 0x5c - 0x36) {
		for (size_t i = 0; i < sizeof(pad); i++)
			pad[i] = (uint8_t)(key[i] ^ with);
		assert_absent(stack, pad, 8, "a padded HMAC key");
	}
	for (int decrypting = 0; decrypting < 2; decrypting++) {
		if (decrypting)
			aes128_set_decrypt_key(&aes, key + 16);
		else
			aes128_set_encrypt_key(&aes, key + 16);
		for (size_t i = 0; i + 2 <= ARRAY_LEN(aes.keys); i += 2)
			assert_absent(stack, &aes.keys[i], 8, "a round key");
	}
}

/* Each by itself, since the next one would cover its traces. */
static void nothing_stays_on_the_stack(void **state)
{
	static void (*const works[])(void) = {add_keys_on_own_stack, decrypt_on_own_stack, encrypt_on_own_stack,
					      rotate_on_own_stack};
	static const char secret[] = "sk-a-plaintext-of-some-length-0123456789-0123456789";
	struct fixture *f = *state;
	char token[FERNET_STORED_CHARS_MAX + 1];
#ifdef BULKHEAD_INSTRUMENTED /* the sanitizers keep copies, and a stack of their own */
	skip();
#endif
	uint8_t *stack = malloc(STACK_BYTES);

	use_keys(f, KEY_A, NULL);
	assert_int_equal(fernet_encrypt(&f->keys, span_str(secret), 1, iv_1, token), 0);
	fernet_keys_deinit(&f->keys);
	fernet_keys_init(&f->keys, f->arena);
	own_stack.f = f;
	own_stack.token = span_str(token);
	for (size_t w = 0; w < ARRAY_LEN(works); w++) {
		run_on_own_stack(stack, works[w]);
		for (size_t i = 0; i + 8 < sizeof(secret); i++)
			assert_absent(stack, secret + i, 8, "plaintext");
		assert_key_absent(stack, KEY_A);
		assert_key_absent(stack, KEY_B);
		assert_absent(stack, KEY_A, 8, "the text of a key");
	}
	free(stack);
}

static void a_full_arena_refuses(void **state)
{
	struct fixture *f = *state;
	struct secret rest = SECRET_NULL;
	size_t len = 65536;

	use_keys(f, KEY_A, NULL);
	while (secret_alloc(f->arena, len, &rest))
		len -= 16;
	struct fernet_keys more;
	fernet_keys_init(&more, f->arena);
	assert_int_equal(fernet_keys_add(&more, SPAN_LIT(KEY_A)), FERNET_E_FULL);
	assert_int_equal(open_any_age(f, HELLO), FERNET_E_FULL);
	assert_int_equal(fernet_encrypt(&f->keys, SPAN_LIT("hello"), 0, iv_0, f->stored), FERNET_E_FULL);
	assert_int_equal(fernet_rotate(&f->keys, SPAN_LIT(HELLO), iv_0, f->stored), FERNET_E_FULL);
	secret_free(f->arena, &rest);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(spec_generate),
		TEST(spec_verify),
		TEST(spec_invalid),
		TEST(wycheproof_aes_cbc),
		TEST(every_flipped_bit_is_refused),
		TEST(a_right_hmac_is_not_enough),
		TEST(a_token_has_one_spelling),
		TEST(a_key_has_one_spelling),
		TEST(every_length_comes_back_and_a_longer_one_is_refused),
		TEST(the_edges_of_time),
		TEST(each_key_is_tried_and_the_first_encrypts),
		TEST(eight_keys_and_the_last_one_opens),
		TEST(rotation_keeps_the_time_and_changes_all_else),
		TEST(a_full_arena_refuses),
		TEST(nothing_stays_on_the_stack),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("fernet", tests, NULL, NULL);
}
