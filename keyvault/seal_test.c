/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed credentials: what comes back, and that nothing else does: every bit flipped, every part moved, every length.
 */
#include "keyvault/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>
#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "keyvault/keys_wrap.h"
#include "keyvault/root.h"
#include "tests/support/vectors.h"

struct fixture {
	struct secret_arena *arena;
	struct keyring keyring;
	struct keys keys;
	int fd; /* of the key table */
	struct proto_binding binding;
	uint8_t packed[SEAL_BINDING_BYTES_MAX];
	size_t packed_len;
	uint8_t blob[SEAL_BYTES_MAX];
	size_t blob_len;
};

static const char key_text[] = "sk-provider-0123456789";

static void open_keyring(struct fixture *f)
{
	struct secret root = SECRET_NULL;

	assert_int_equal(root_generate(f->arena, &root), 0);
	f->fd = memfd_create("keys", MFD_CLOEXEC);
	keys_init(&f->keys, f->arena, &f->keyring, f->fd);
	assert_int_equal(keys_create(&f->keys, &root), 0);
	secret_free(f->arena, &root);
	const struct keys_tenant *key;
	assert_int_equal(keys_ensure(&f->keys, SPAN_LIT("acme"), &key), 0);
	assert_int_equal(keys_ensure(&f->keys, SPAN_LIT("evil"), &key), 0);
}

static void pack(struct fixture *f)
{
	assert_int_equal(
		proto_pack_record(&proto_binding_desc, &f->binding, f->packed, sizeof(f->packed), &f->packed_len), 0);
}

static int seal(struct fixture *f, struct span secret)
{
	pack(f);
	return seal_credential(&f->keys, span_of(f->packed, f->packed_len), secret, f->blob, &f->blob_len);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(secret_arena_new(65536, &f->arena), 0);
	keyring_init(&f->keyring, f->arena);
	open_keyring(f);
	f->binding = (struct proto_binding){.tenant = SPAN_LIT("acme"),
					    .credential = SPAN_LIT("openai"),
					    .version = 3,
					    .since = 3,
					    .provider = SPAN_LIT("openai"),
					    .scheme = SPAN_LIT("https"),
					    .host = SPAN_LIT("api.openai.com"),
					    .port = 443,
					    .path_prefix = SPAN_LIT("/v1/"),
					    .methods = 3,
					    .header = SPAN_LIT("authorization"),
					    .prefix = SPAN_LIT("Bearer ")};
	assert_int_equal(seal(f, span_str(key_text)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	keys_deinit(&f->keys);
	(void)close(f->fd);
	assert_int_equal(secret_arena_used(f->arena), 0); /* every path frees what it took */
	f->arena = secret_arena_free(f->arena);
	free(f);
	return 0;
}

/* Parses and opens; frees what comes out. */
static int unseal(struct fixture *f, struct span blob)
{
	struct seal_view view;
	struct secret plain = SECRET_NULL;

	int r = seal_parse(blob, &view);
	if (!r)
		r = seal_open(&f->keys, &view, &plain);
	secret_free(f->arena, &plain);
	return r;
}

static void what_is_sealed_comes_back(void **state)
{
	struct fixture *f = *state;
	struct seal_view view;
	struct secret plain;

	assert_int_equal(seal_parse(span_of(f->blob, f->blob_len), &view), 0);
	assert_true(span_eq_str(view.binding.host, "api.openai.com"));
	assert_int_equal(seal_open(&f->keys, &view, &plain), 0);
	secret_open(f->arena);
	assert_int_equal(plain.len, strlen(key_text));
	assert_memory_equal(plain.p, key_text, plain.len);
	secret_close(f->arena);
	secret_free(f->arena, &plain);
	assert_null(memmem(f->blob, f->blob_len, key_text, 8));
}

static void every_flipped_bit_is_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t bit = 0; bit < f->blob_len * 8; bit++) {
		f->blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(unseal(f, span_of(f->blob, f->blob_len)), 0);
		f->blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), 0);
}

static void every_other_length_is_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t len = 0; len < SEAL_BYTES_MAX; len++) {
		uint8_t *exact = malloc(len ? len : 1); /* so that a sanitizer sees any read beyond it */
		memcpy(exact, f->blob, len);
		assert_int_equal(unseal(f, span_of(exact, len)) == 0, len == f->blob_len);
		free(exact);
	}
}

/* What a database writer would try: another binding before the same ciphertext. */
static void a_blob_cannot_be_moved(void **state)
{
	struct fixture *f = *state;
	const struct proto_binding original = f->binding;
	uint8_t moved[SEAL_BYTES_MAX];

	for (int i = 0; i < 12; i++) {
		f->binding = original;
		struct proto_binding *b = &f->binding;
		switch (i) {
		case 0:
			b->tenant = SPAN_LIT("evil");
			break;
		case 1:
			b->credential = SPAN_LIT("openaj");
			break;
		case 2:
			b->version = 4;
			break;
		case 3:
			b->provider = SPAN_LIT("openaj");
			break;
		case 4:
			b->host = SPAN_LIT("api.openaj.com");
			break;
		case 5:
			b->port = 444;
			break;
		case 6:
			b->path_prefix = SPAN_LIT("/v2/");
			break;
		case 7:
			b->methods = 1;
			break;
		case 8:
			b->header = SPAN_LIT("authorizatiom");
			break;
		case 9:
			b->prefix = SPAN_LIT("bearer ");
			break;
		case 10:
			b->since = 2;
			break;
		default:
			b->not_before = 1;
			break;
		}
		pack(f);
		memcpy(moved, f->blob, f->blob_len);
		assert_true(f->packed_len == ((size_t)f->blob[4] << 8 | f->blob[5]));
		memcpy(moved + 6, f->packed, f->packed_len);
		int r = unseal(f, span_of(moved, f->blob_len));
		assert_true(r == SEAL_E_KEY || r == SEAL_E_TAG);
	}
}

static void another_vault_is_told_from_damage(void **state)
{
	struct fixture *f = *state;

	keys_close(&f->keys);
	(void)close(f->fd);
	open_keyring(f);
	assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), SEAL_E_KEY);
}

static void bad_destinations_are_refused(void **state)
{
	struct fixture *f = *state;
	const struct proto_binding original = f->binding;

	for (int i = 0; i < 10; i++) {
		f->binding = original;
		struct proto_binding *b = &f->binding;
		switch (i) {
		case 0:
			b->scheme = SPAN_LIT("http");
			break;
		case 1:
			b->host = SPAN_LIT("API.openai.com");
			break;
		case 2:
			b->host = SPAN_LIT("a@b");
			break;
		case 3:
			b->header = SPAN_LIT("x: y");
			break;
		case 4:
			b->header = SPAN_LIT("X-Key");
			break;
		case 5:
			b->prefix = SPAN_LIT("Bearer\r\nX: ");
			break;
		case 6:
			b->path_prefix = SPAN_LIT("v1/");
			break;
		case 7:
			b->path_prefix = SPAN_LIT("/v1 HTTP/1.1");
			break;
		case 8:
			b->since = 4; /* after its own version */
			break;
		default:
			b->not_before = 10;
			b->not_after = 10;
			break;
		}
		assert_int_equal(seal(f, span_str(key_text)), SEAL_E_BINDING);
	}
}

static void bad_secrets_are_refused(void **state)
{
	static const char *const bad[] = {"", "sk-1\n", "sk-1\r\nHost: evil", "sk 1", "sk-\xc3\xa4", "\x7f"};
	struct fixture *f = *state;
	char longest[SEAL_SECRET_BYTES_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(seal(f, span_str(bad[i])), SEAL_E_SECRET);
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(seal(f, span_of(longest, sizeof(longest))), SEAL_E_SECRET);
	assert_int_equal(seal(f, span_of(longest, sizeof(longest) - 1)), 0);
	assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), 0);
}

static void a_full_arena_refuses(void **state)
{
	struct fixture *f = *state;
	struct secret taken[1024];
	size_t n = 0;

	while (secret_alloc(f->arena, 32, &taken[n]) == 0)
		n++;
	/* One more piece each time: every allocation on the way fails once. */
	for (int pieces = 0; unseal(f, span_of(f->blob, f->blob_len)); pieces++) {
		assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), SEAL_E_FULL);
		assert_true(pieces < 8);
		secret_free(f->arena, &taken[--n]);
	}
	while (n < ARRAY_LEN(taken) && secret_alloc(f->arena, 32, &taken[n]) == 0)
		n++;
	for (int pieces = 0; seal(f, span_str(key_text)); pieces++) {
		assert_int_equal(seal(f, span_str(key_text)), SEAL_E_FULL);
		assert_true(pieces < 8);
		secret_free(f->arena, &taken[--n]);
	}
	while (n > 0)
		secret_free(f->arena, &taken[--n]);
}

/* ---- rotation ---- */

/* A blob that was sealed before the tenant's key was replaced. */
static void rotate_tenant(struct fixture *f)
{
	assert_int_equal(keys_add(&f->keys, SPAN_LIT("acme"), KEYS_PENDING), 0);
	for (size_t i = 0; i < f->keys.n_tenants; i++)
		if (strcmp(f->keys.tenants[i].tenant, "acme") == 0)
			f->keys.tenants[i].state++; /* ACTIVE is RETIRING, PENDING is ACTIVE */
}

static void a_rewrapped_blob_is_the_same_secret_under_another_key(void **state)
{
	struct fixture *f = *state;
	uint8_t old[SEAL_BYTES_MAX], made[SEAL_BYTES_MAX];
	struct seal_view was, is;
	size_t len;

	memcpy(old, f->blob, f->blob_len);
	rotate_tenant(f);
	assert_int_equal(unseal(f, span_of(old, f->blob_len)), 0); /* both open while the rotation is on */
	assert_int_equal(seal_parse(span_of(old, f->blob_len), &was), 0);
	assert_int_equal(seal_rewrap(&f->keys, &was, made, &len), 0);
	assert_int_equal(len, f->blob_len);
	assert_int_equal(unseal(f, span_of(made, len)), 0);
	assert_int_equal(seal_parse(span_of(made, len), &is), 0);
	assert_true(span_eq(was.head, is.head) && span_eq(was.box, is.box));
	assert_false(span_eq(was.key_id, is.key_id) || span_eq(was.wrapped, is.wrapped));
	assert_int_equal(keys_remove(&f->keys, KEYS_RETIRING), 1);
	assert_int_equal(unseal(f, span_of(old, f->blob_len)), SEAL_E_KEY);
	assert_int_equal(unseal(f, span_of(made, len)), 0);
	/* The middle of one before the rest of the other. */
	memcpy(old + was.head.len, is.key_id.p, is.key_id.len);
	assert_int_equal(unseal(f, span_of(old, f->blob_len)), SEAL_E_TAG);
}

static void a_fresh_credential_key_leaves_nothing_of_the_old_blob(void **state)
{
	struct fixture *f = *state;
	uint8_t made[SEAL_BYTES_MAX], mixed[SEAL_BYTES_MAX];
	struct seal_view was, is;
	size_t len;

	f->keys.generation = 2;
	assert_int_equal(seal_parse(span_of(f->blob, f->blob_len), &was), 0);
	assert_int_equal(seal_again(&f->keys, &was, made, &len), 0);
	assert_int_equal(seal_parse(span_of(made, len), &is), 0);
	assert_true(len == f->blob_len && is.generation == 2 && span_eq(was.binding_packed, is.binding_packed));
	assert_false(span_eq(was.commitment, is.commitment) || span_eq(was.box, is.box));
	assert_int_equal(unseal(f, span_of(made, len)), 0);
	/* One blob's key before another's secret. */
	memcpy(mixed, made, len);
	memcpy(mixed + is.head.len, was.key_id.p, was.key_id.len + was.wrapped.len);
	assert_int_equal(unseal(f, span_of(mixed, len)), SEAL_E_TAG);
	f->keys.tenants[0].generation_min = 2;
	assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), SEAL_E_OLD);
	assert_int_equal(unseal(f, span_of(made, len)), 0);
}

/* By somebody who has every key: both boxes open, but the head commits to another key. */
static void the_commitment_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct secret tenant = SECRET_NULL, key = SECRET_NULL;
	uint8_t context[SEAL_BYTES_MAX], enc[KEYRING_KEY_BYTES];
	struct seal_view v;

	assert_int_equal(seal_parse(span_of(f->blob, f->blob_len), &v), 0);
	uint8_t *commitment = f->blob + (v.commitment.p - f->blob), *wrapped = f->blob + (v.wrapped.p - f->blob);
	const struct keys_tenant *t = keys_find(&f->keys, v.binding.tenant, v.key_id);
	assert_int_equal(keys_unwrap(&f->keys, t, &tenant), 0);
	for (int wrong = 0; wrong < 2; wrong++) {
		memcpy(context, v.head.p, v.head.len);
		memcpy(context + v.head.len, v.key_id.p, v.key_id.len);
		struct span where = span_of(context, v.head.len + v.key_id.len);
		if (wrong == 0)
			assert_int_equal(keys_unwrap_with(f->arena, &tenant, where, wrapped, &key), 0);
		commitment[0] ^= (uint8_t)wrong;
		memcpy(context, v.head.p, v.head.len);
		keys_wrap(f->arena, &tenant, where, &key, wrapped);
		secret_open(f->arena);
		(void)crypto_kdf_derive_from_key(enc, sizeof(enc), 1, "bh-seal1", key.p);
		secret_close(f->arena);
		(void)crypto_aead_xchacha20poly1305_ietf_encrypt(f->blob + (v.box.p - f->blob), NULL,
								 (const uint8_t *)key_text, strlen(key_text), v.head.p,
								 v.head.len, NULL, v.nonce.p, enc);
		assert_int_equal(unseal(f, span_of(f->blob, f->blob_len)), wrong ? SEAL_E_TAG : 0);
	}
	secret_free(f->arena, &tenant);
	secret_free(f->arena, &key);
}

/* ---- the cipher itself, by the public vectors ---- */

static void check_vector(const json_t *test)
{
	uint8_t key[64], nonce[64], aad[1024], msg[1024], box[1024], plain[1024], made[1024];
	bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;

	struct span k = vectors_hex(test, "key", key, sizeof(key)), n = vectors_hex(test, "iv", nonce, sizeof(nonce));
	struct span a = vectors_hex(test, "aad", aad, sizeof(aad)), m = vectors_hex(test, "msg", msg, sizeof(msg));
	struct span c = vectors_hex(test, "ct", box, sizeof(box) - 16), t = vectors_hex(test, "tag", box + c.len, 16);
	bool opens = k.len == 32 && n.len == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES && t.len == 16 &&
		     crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, box, c.len + 16, a.p, a.len, n.p,
								k.p) == 0;
	assert_int_equal(opens, valid);
	if (!valid)
		return;
	assert_true(span_eq(span_of(plain, c.len), m));
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(made, NULL, m.p, m.len, a.p, a.len, NULL, n.p, k.p);
	assert_memory_equal(made, box, c.len + 16);
}

/* Through our own functions where they leave key, nonce, additional data and length to the caller: those that wrap one
 * key under another. What seals a credential makes its own nonce and its additional data, and has no such seam. */
static bool check_wrapped(struct fixture *f, const json_t *test)
{
	uint8_t key[64], nonce[64], aad[1024], msg[1024], wrapped[1024];
	bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
	struct secret by = SECRET_NULL, got = SECRET_NULL;

	struct span k = vectors_hex(test, "key", key, sizeof(key)), n = vectors_hex(test, "iv", nonce, sizeof(nonce));
	struct span a = vectors_hex(test, "aad", aad, sizeof(aad)), m = vectors_hex(test, "msg", msg, sizeof(msg));
	if (k.len != KEYRING_KEY_BYTES || n.len != 24 || m.len != KEYRING_KEY_BYTES)
		return false;
	memcpy(wrapped, n.p, 24);
	assert_int_equal(vectors_hex(test, "ct", wrapped + 24, 32).len, 32);
	assert_int_equal(vectors_hex(test, "tag", wrapped + 56, 16).len, 16);
	assert_int_equal(secret_alloc(f->arena, k.len, &by), 0);
	secret_open(f->arena);
	memcpy(by.p, k.p, k.len);
	secret_close(f->arena);
	for (unsigned bit = 0; bit <= 8 * KEYS_WRAPPED_BYTES; bit++) { /* the last round is the vector itself */
		bool whole = bit == 8 * KEYS_WRAPPED_BYTES;
		wrapped[bit / 8 % KEYS_WRAPPED_BYTES] ^= (uint8_t)(!whole << bit % 8);
		assert_int_equal(keys_unwrap_with(f->arena, &by, a, wrapped, &got), whole && valid ? 0 : KEYS_E_ROOT);
		wrapped[bit / 8 % KEYS_WRAPPED_BYTES] ^= (uint8_t)(!whole << bit % 8);
	}
	secret_open(f->arena);
	assert_true(!valid || span_eq(span_of(got.p, got.len), m));
	secret_close(f->arena);
	secret_free(f->arena, &got);
	secret_free(f->arena, &by);
	return true;
}

static void wycheproof(void **state)
{
	json_t *all = vectors_load("wycheproof/xchacha20_poly1305_test.json"), *group, *test;
	size_t i, k, n = 0, wrapped = 0;

	json_array_foreach(json_object_get(all, "testGroups"), i, group)
		json_array_foreach(json_object_get(group, "tests"), k, test)
	{
		check_vector(test);
		wrapped += check_wrapped(*state, test);
		n++;
	}
	assert_int_equal(n, json_integer_value(json_object_get(all, "numberOfTests")));
	assert_true(wrapped >= 10);
	json_decref(all);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_sealed_comes_back),
		TEST(every_flipped_bit_is_refused),
		TEST(every_other_length_is_refused),
		TEST(a_blob_cannot_be_moved),
		TEST(another_vault_is_told_from_damage),
		TEST(bad_destinations_are_refused),
		TEST(bad_secrets_are_refused),
		TEST(a_full_arena_refuses),
		TEST(the_commitment_is_looked_at),
		TEST(a_rewrapped_blob_is_the_same_secret_under_another_key),
		TEST(a_fresh_credential_key_leaves_nothing_of_the_old_blob),
		TEST(wycheproof),
	};
	/* clang-format on */
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
