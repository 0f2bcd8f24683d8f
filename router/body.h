/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body: one contiguous run of bytes, in ordinary memory up to 64 KiB, above that in a memfd that is sealed
 * when it is complete, so that classifier and egress can read it where it lies and nobody can change it under them. The
 * large ones of a worker are counted together, since ten thousand clients may each send one.
 */
#pragma once

#include "common/buf.h"

#define BODY_BYTES_MAX       10485760
#define BODY_SMALL_BYTES_MAX 65536 /* what OPEN and SCAN carry in a frame */

/* What the large bodies of a worker hold together. */
struct bodies {
	size_t bytes, bytes_max;
};

struct body {
	struct bodies *all; /* NULL: not counted */
	struct buf small;
	uint8_t *map; /* all of BODY_BYTES_MAX while it is written, `len` bytes read-only when sealed */
	size_t map_bytes;
	int fd; /* -1: small */
	size_t len;
};

enum body_err {
	BODY_E_TOO_LARGE = 1, /* over BODY_BYTES_MAX */
	BODY_E_CROWDED,       /* over bodies.bytes_max, at the moment */
};

/* `all` must outlive it; NULL: it is not counted. */
void body_init(struct body *b, struct bodies *all);
void body_deinit(struct body *b);
/* Empties it for the next one; memory above a small keep goes back. */
void body_reset(struct body *b);

/* `bytes` in all are expected; decides early where they go. May be said again until the first is there. 0,
 * BODY_E_CROWDED or negative. */
MUST_USE int body_expect(struct body *b, size_t bytes);
MUST_USE int body_append(struct body *b, struct span bytes); /* 0, BODY_E_* or negative */
/* Where the next bytes go, to read into directly, at least 1; then body_commit(). 0, BODY_E_* or negative. */
MUST_USE int body_space(struct body *b, size_t want, uint8_t **ret_to, size_t *ret_bytes);
void body_commit(struct body *b, size_t bytes);
/* No more will come. 0 or negative. */
MUST_USE int body_finish(struct body *b);

/* Puts another, finished one into its place; `with` is empty then. It counts as the old one did. */
void body_replace(struct body *b, struct body *with);

/* Valid until the next change. */
struct span body_span(const struct body *b);
/* A new descriptor of a sealed body, to give away; -1 for a small one. 0 or negative. */
MUST_USE int body_share(const struct body *b, int *ret_fd);
