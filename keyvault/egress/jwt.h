/* SPDX-License-Identifier: Apache-2.0 */
/* The assertion with which a Google service account asks for a token (RFC 7523 2.1, 3; RFC 7515). Sans I/O. */
#pragma once

#include "keyvault/egress/digest.h"
#include "keyvault/egress/text.h"

#define JWT_LIFETIME_S 3600 /* the longest that Google takes */
/* Header and claims of the longest parts, their base64, the longest signature's. */
#define JWT_BYTES_MAX 4096

struct jwt {
	struct span key_id;                  /* may be empty */
	struct span issuer, scope, audience; /* ASCII without control characters */
	uint64_t issued_s;
};

enum jwt_err {
	JWT_E_KEY = 1, /* not an RSA private key that can be used */
	JWT_E_SIZE,
};

/* Appends the compact form. `key`: DER. 0, JWT_E_KEY, JWT_E_SIZE or negative. */
MUST_USE int jwt_write(const struct jwt *j, struct span key, struct text *to);
