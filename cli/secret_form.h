/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator has, made into the one line of visible ASCII that the vault seals (proto/auth.def), or refused with
 * what is wrong about it. Sans I/O; nothing of the secret is written anywhere but to `to`.
 *
 *   bearer, header    the key itself
 *   basic             USER:PASSWORD
 *   sigv4             aws_access_key_id = ..., aws_secret_access_key = ..., aws_session_token = ... (may be absent): a
 *                     profile of AWS's credentials file
 *   google            the JSON file of a service account's key
 *   oauth_refresh     refresh_token = ..., client_secret = ... (absent for a public client)
 *   oauth_client      client_secret = ...
 */
#pragma once

#include "common/base.h"

#define SECRET_FORM_ID_BYTES  256
#define SECRET_FORM_WHY_BYTES 200

struct secret_form {
	unsigned auth;         /* CONFIG_AUTH_* */
	const char *token_url; /* google: what the file must say too */
};

struct secret_form_result {
	size_t len;
	char client_id[SECRET_FORM_ID_BYTES + 1]; /* google: the account */
	char why[SECRET_FORM_WHY_BYTES];
};

enum secret_form_err {
	SECRET_FORM_E_INVALID = 1, /* `why` says what to do */
};

/* `to` has room for `cap` bytes, at least text.len. 0 or SECRET_FORM_E_INVALID. */
MUST_USE int secret_form_read(const struct secret_form *form, struct span text, uint8_t *to, size_t cap,
			      struct secret_form_result *ret);
/* Is it read as lines? The others are one, and may be typed. */
bool secret_form_has_lines(unsigned auth);
