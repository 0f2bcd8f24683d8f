/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256, HMAC-SHA-256 and RS256, by OpenSSL. What OpenSSL keeps of a key on the way lies in memory that tls_setup()
 * makes it wipe, and is gone when these functions return.
 */
#pragma once

#include "common/base.h"

#define DIGEST_BYTES               32
#define DIGEST_RSA_BITS_MIN        2048
#define DIGEST_RSA_BITS_MAX        8192
#define DIGEST_SIGNATURE_BYTES_MAX (DIGEST_RSA_BITS_MAX / 8)

enum digest_err {
	DIGEST_E_KEY = 1, /* not an RSA private key of a size that is used */
};

/* 0 or -ENOMEM. */
MUST_USE int digest_sha256(struct span message, uint8_t ret[DIGEST_BYTES]);
MUST_USE int digest_hmac(struct span key, struct span message, uint8_t ret[DIGEST_BYTES]);
/* RFC 7518 3.3 (RSASSA-PKCS1-v1_5 with SHA-256). `key`: DER of PKCS #8 or PKCS #1. 0, DIGEST_E_KEY or -ENOMEM. */
MUST_USE int digest_rs256(struct span key, struct span message, uint8_t ret[DIGEST_SIGNATURE_BYTES_MAX],
			  size_t *ret_len);
