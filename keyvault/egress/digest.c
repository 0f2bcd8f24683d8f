/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/digest.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>

#include "common/err.h"

int digest_sha256(struct span message, uint8_t ret[DIGEST_BYTES])
{
	if (EVP_Digest(message.p, message.len, ret, NULL, EVP_sha256(), NULL) == 1)
		return 0;
	ERR_clear_error();
	return err_origin(-ENOMEM);
}

int digest_hmac(struct span key, struct span message, uint8_t ret[DIGEST_BYTES])
{
	if (HMAC(EVP_sha256(), key.p, (int)key.len, message.p, message.len, ret, NULL))
		return 0;
	ERR_clear_error();
	return err_origin(-ENOMEM);
}

static void digest_free_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void digest_free_md(EVP_MD_CTX **md)
{
	EVP_MD_CTX_free(*md);
	ERR_clear_error();
}

int digest_rs256(struct span key, struct span message, uint8_t ret[DIGEST_SIGNATURE_BYTES_MAX], size_t *ret_len)
{
	const unsigned char *at = key.p;
	CLEANUP(digest_free_md) EVP_MD_CTX *md = EVP_MD_CTX_new();
	CLEANUP(digest_free_key) EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &at, (long)key.len);
	size_t len = DIGEST_SIGNATURE_BYTES_MAX;

	if (!md)
		return err_origin(-ENOMEM);
	if (!pkey || at != key.p + key.len || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA ||
	    EVP_PKEY_get_bits(pkey) < DIGEST_RSA_BITS_MIN || EVP_PKEY_get_bits(pkey) > DIGEST_RSA_BITS_MAX)
		return DIGEST_E_KEY;
	/* PKCS #1 v1.5 is the default padding of an RSA key. */
	if (EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, pkey) != 1 ||
	    EVP_DigestSign(md, ret, &len, message.p, message.len) != 1)
		return DIGEST_E_KEY;
	*ret_len = len;
	return 0;
}
