/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How requests are authenticated: one row a scheme of proto/auth.def, each in a file of its own. Sans I/O; the arena is
 * open in all of it.
 *
 * A plain scheme writes what it makes of the secret into each request. A token scheme writes the request for a token
 * instead, and `write` gets the token in place of the secret.
 */
#pragma once

#include "keyvault/egress/head.h"
#include "keyvault/egress/text.h"

/* What a scheme may use to write. */
struct auth_use {
	const struct proto_binding *binding;
	struct span secret; /* or token */
	struct span body;   /* of the request, whole */
	uint64_t unix_s;
	uint8_t *work; /* AUTH_WORK_BYTES of the arena; `write` leaves it wiped, `ask` does not */
};

#define AUTH_WORK_BYTES 16384
#define AUTH_PARTS_MAX  2

enum auth_err {
	AUTH_E_SECRET = 1, /* the secret is not of the form that the scheme needs */
	AUTH_E_SIZE,       /* does not fit */
};

struct auth_scheme {
	/* A secret of this form can be used. */
	bool (*sane)(struct span secret);
	/* The parts of it that a provider could echo: what is searched for in answers. How many. */
	size_t (*live)(struct span secret, struct span ret_parts[AUTH_PARTS_MAX]);
	/* Appends the lines that authenticate. 0, HEAD_E_* or negative. */
	int (*write)(const struct auth_use *use, const struct head *h, struct text *to);
	/* Token schemes: appends lines of the head and the form that ask for a token. 0, AUTH_E_* or negative. */
	int (*ask)(const struct auth_use *use, struct text *lines, struct text *form);
	/* The secret after its service gave a new refresh token. Appends to `to`. False: this scheme has none. */
	bool (*renew)(struct span secret, struct span refresh, struct text *to);
};

/* `auth` of a binding that permit_binding_sane() accepted. */
const struct auth_scheme *auth_scheme_of(uint64_t auth);

extern const struct auth_scheme auth_header, auth_basic, auth_sigv4, auth_google, auth_oauth_refresh, auth_oauth_client;

/* auth_header.c, for the schemes that send what they are given: */
int auth_header_write(const struct auth_use *use, const struct head *h, struct text *to);
size_t auth_whole(struct span secret, struct span ret_parts[AUTH_PARTS_MAX]);
