/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions are checked by OpenSSL with the public key, and RS256 against the signature of RFC 7520 4.1. */
#include "keyvault/egress/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define DER_BYTES_MAX 8192

static EVP_PKEY *make_key(unsigned bits, uint8_t der[DER_BYTES_MAX], size_t *ret_len)
{
	EVP_PKEY *key = EVP_RSA_gen(bits);
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *at = der;
	int len = i2d_PKCS8_PRIV_KEY_INFO(p8, &at);

	PKCS8_PRIV_KEY_INFO_free(p8);
	assert_true(len > 0 && len <= DER_BYTES_MAX);
	*ret_len = (size_t)len;
	return key;
}

/* base64url without padding, by way of the reader for base64. */
static size_t decode(struct span s, uint8_t *to)
{
	uint8_t text[8192];
	size_t len, pad = (4 - s.len % 4) % 4;

	for (size_t i = 0; i < s.len; i++)
		text[i] = s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i];
	memcpy(text + s.len, "===", pad);
	assert_true(text_get_base64(span_of(text, s.len + pad), to, &len));
	return len;
}

static struct jwt sample(void)
{
	return (struct jwt){.key_id = SPAN_LIT("kid-1"),
			    .issuer = SPAN_LIT("robot@project.iam.gserviceaccount.com"),
			    .scope = SPAN_LIT("https://www.googleapis.com/auth/cloud-platform"),
			    .audience = SPAN_LIT("https://oauth2.googleapis.com/token"),
			    .issued_s = 1700000000};
}

static void assertion_verifies(void **state)
{
	uint8_t der[DER_BYTES_MAX], mem[JWT_BYTES_MAX], part[4096];
	struct text t = TEXT_OF(mem, sizeof(mem));
	struct jwt j = sample();
	size_t der_len;

	(void)state;
	EVP_PKEY *key = make_key(2048, der, &der_len);
	assert_int_equal(jwt_write(&j, span_of(der, der_len), &t), 0);
	const uint8_t *dot = memchr(mem, '.', t.len), *dot2 = memchr(dot + 1, '.', t.len - (size_t)(dot + 1 - mem));
	size_t len = decode(span_of(mem, (size_t)(dot - mem)), part);
	assert_true(span_eq_str(span_of(part, len), "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"kid-1\"}"));
	len = decode(span_of(dot + 1, (size_t)(dot2 - dot - 1)), part);
	assert_true(
		span_eq_str(span_of(part, len),
			    "{\"iss\":\"robot@project.iam.gserviceaccount.com\","
			    "\"scope\":\"https://www.googleapis.com/auth/cloud-platform\","
			    "\"aud\":\"https://oauth2.googleapis.com/token\",\"iat\":1700000000,\"exp\":1700003600}"));
	len = decode(span_of(dot2 + 1, t.len - (size_t)(dot2 + 1 - mem)), part);
	for (int flip = 0; flip < 2; flip++) {
		EVP_MD_CTX *md = EVP_MD_CTX_new();
		mem[3] ^= (uint8_t)flip;
		assert_int_equal(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key), 1);
		assert_int_equal(EVP_DigestVerify(md, part, len, mem, (size_t)(dot2 - mem)) == 1, !flip);
		EVP_MD_CTX_free(md);
	}
	EVP_PKEY_free(key);
}

static void hostile_names_stay_in_their_strings(void **state)
{
	uint8_t der[DER_BYTES_MAX], mem[JWT_BYTES_MAX], part[4096];
	struct text t = TEXT_OF(mem, sizeof(mem));
	struct jwt j = sample();
	size_t der_len;

	(void)state;
	EVP_PKEY *key = make_key(2048, der, &der_len);
	j.issuer = SPAN_LIT("a\",\"scope\":\"everything\\");
	assert_int_equal(jwt_write(&j, span_of(der, der_len), &t), 0);
	const uint8_t *dot = memchr(mem, '.', t.len), *dot2 = memchr(dot + 1, '.', t.len - (size_t)(dot + 1 - mem));
	size_t len = decode(span_of(dot + 1, (size_t)(dot2 - dot - 1)), part);
	assert_non_null(memmem(part, len, "{\"iss\":\"a\\\",\\\"scope\\\":\\\"everything\\\\\",\"scope\"", 45));
	EVP_PKEY_free(key);
}

static void keys_that_are_none(void **state)
{
	uint8_t der[DER_BYTES_MAX], mem[JWT_BYTES_MAX];
	struct jwt j = sample();
	size_t der_len;

	(void)state;
	EVP_PKEY *key = make_key(2048, der, &der_len);
	EVP_PKEY_free(key);
	for (size_t len = 0; len <= der_len + 1; len++) {
		struct text t = TEXT_OF(mem, sizeof(mem));
		der[der_len] = 0;
		if (len != der_len)
			assert_int_equal(jwt_write(&j, span_of(der, len), &t), JWT_E_KEY);
	}
	key = make_key(1024, der, &der_len);
	EVP_PKEY_free(key);
	struct text t = TEXT_OF(mem, sizeof(mem));
	assert_int_equal(jwt_write(&j, span_of(der, der_len), &t), JWT_E_KEY);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	unsigned char *at = der;
	int n = i2d_PrivateKey(key, &at);
	EVP_PKEY_free(key);
	t = TEXT_OF(mem, sizeof(mem));
	assert_int_equal(jwt_write(&j, span_of(der, (size_t)n), &t), JWT_E_KEY);
}

static void what_does_not_fit_is_refused(void **state)
{
	uint8_t der[DER_BYTES_MAX];
	struct jwt j = sample();
	size_t der_len, fits = 0;

	(void)state;
	EVP_PKEY *key = make_key(2048, der, &der_len);
	EVP_PKEY_free(key);
	for (size_t cap = 600; cap < 800 && !fits; cap++) {
		uint8_t *mem = malloc(cap);
		struct text t = TEXT_OF(mem, cap);
		int r = jwt_write(&j, span_of(der, der_len), &t);
		assert_true(r == 0 || r == JWT_E_SIZE);
		assert_true(r || t.len == cap);
		fits = r == 0 ? cap : 0;
		free(mem);
	}
	assert_true(fits > 0);
}

/* HMAC: RFC 4231 4.2, 4.3. */
static void hmac(void **state)
{
	uint8_t key[20], mac[DIGEST_BYTES], mem[2 * DIGEST_BYTES];
	struct text t = TEXT_OF(mem, sizeof(mem));

	(void)state;
	memset(key, 0x0b, sizeof(key));
	assert_int_equal(digest_hmac(span_of(key, sizeof(key)), SPAN_LIT("Hi There"), mac), 0);
	text_put_hex(&t, span_of(mac, sizeof(mac)));
	assert_true(span_eq_str(text_span(&t), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"));
	t.len = 0;
	assert_int_equal(digest_hmac(SPAN_LIT("Jefe"), SPAN_LIT("what do ya want for nothing?"), mac), 0);
	text_put_hex(&t, span_of(mac, sizeof(mac)));
	assert_true(span_eq_str(text_span(&t), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assertion_verifies),
		cmocka_unit_test(hostile_names_stay_in_their_strings),
		cmocka_unit_test(keys_that_are_none),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(hmac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
