/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes secrets from a stream: a provider that echoes the key, in an error text or a header, must not hand it to the
 * client.
 *
 * Sans I/O. A scrub holds every form in which its secrets are likely to come back (scrub_forms.h); they live in the
 * arena, which must be open during every call. A scrub_pass is one stream's state and holds no byte of a secret.
 * Occurrences are replaced by a mark of the same length, so lengths stay right; everything else passes unchanged, and
 * how the stream is cut into pieces makes no difference to the output. Nothing is allocated for a stream.
 *
 * What it does not see: a secret that the provider has taken apart, with other bytes between its pieces. Each event of
 * a stream that carries a few of its characters is such a case. It is one text of bytes to the scrubber, not a
 * language.
 */
#pragma once

#include "common/secret.h"
#include "keyvault/egress/scrub_forms.h"

#define SCRUB_SECRETS_MAX      4
#define SCRUB_PATTERNS_MAX     (SCRUB_FORMS * SCRUB_SECRETS_MAX)
#define SCRUB_SECRET_BYTES_MAX 4096
/* A shorter "secret" is searched for in raw form only: its encodings would hit ordinary text. */
#define SCRUB_ENCODED_BYTES_MIN 8

struct scrub {
	struct secret_arena *arena;
	struct secret mem; /* the tables, then the patterns end to end */
	uint32_t offset[SCRUB_PATTERNS_MAX], len[SCRUB_PATTERNS_MAX];
	size_t n, len_min, len_max;
	uint8_t mark; /* occurs in no pattern */
};

struct scrub_pass {
	const struct scrub *scrub;
	uint32_t pattern, held; /* the stream's last `held` bytes are the first of this pattern, and not yet let out */
	uint32_t found;
};

enum scrub_err {
	SCRUB_E_FULL = 1, /* the arena has no room */
};

#define SCRUB_NULL ((struct scrub){0})

/* 1 to SCRUB_SECRETS_MAX `secrets` of 1 to SCRUB_SECRET_BYTES_MAX bytes: all that must not come back. Where a scheme
 * sends more than one (user and password, a signing key and its session token) or a part is secret by itself, each is
 * one. 0 or SCRUB_E_FULL. */
MUST_USE int scrub_init(struct scrub *s, struct secret_arena *arena, const struct span *secrets, size_t n_secrets);
void scrub_deinit(struct scrub *s);

void scrub_begin(struct scrub_pass *pass, const struct scrub *s);
/* Passes `in` on to `out`, which has room for pass->held + in.len bytes; the two do not overlap. The number of bytes
 * written. Bytes of `out` behind that are wiped. */
size_t scrub_feed(struct scrub_pass *pass, struct span in, uint8_t *out);
/* The stream is over: lets out what was held, at most pass->held bytes. */
size_t scrub_end(struct scrub_pass *pass, uint8_t *out);
