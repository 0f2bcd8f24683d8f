/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of versions: for each credential the lowest version that may still be used. It only grows, and it is on
 * disk before it counts, so an old row that is put back into authd's store is refused after a restart of the core too.
 *
 * The file has one place a credential, of two slots that are written in turn, each with a count and a MAC: a write that
 * was torn destroys the older slot only. The MAC's key is a purpose key, so the file can be read while the vault is
 * open only; that is also the only time when it is needed.
 */
#pragma once

#include "keyvault/keyring.h"

#define MARKS_MAX          8192
#define MARKS_ID_BYTES_MAX 129

struct mark {
	char id[MARKS_ID_BYTES_MAX + 1];
	uint64_t count; /* of writes of this place */
	uint32_t version_min;
	size_t place; /* in the file */
};

struct marks {
	struct secret_arena *arena;
	const struct keyring *keyring;
	int fd;
	struct mark *marks; /* by id */
	size_t n, cap;
	size_t places; /* taken in the file */
};

enum marks_err {
	MARKS_E_DAMAGED = 1, /* a place holds something, and neither slot is right */
	MARKS_E_STORAGE,     /* not durable: do not act on it */
	MARKS_E_FULL,
};

/* `fd` stays the caller's. */
void marks_init(struct marks *m, struct secret_arena *arena, const struct keyring *keyring, int fd);
/* The keyring is open. Reads the file. 0, MARKS_E_DAMAGED or negative. */
MUST_USE int marks_open(struct marks *m);
void marks_close(struct marks *m);

/* 0 when nothing is known. */
uint32_t marks_get(const struct marks *m, struct span id);
/* Durable when it returns 0; a smaller version changes nothing. 0, MARKS_E_STORAGE or MARKS_E_FULL. */
MUST_USE int marks_raise(struct marks *m, struct span id, uint32_t version_min);
/* Could it be raised? It is written as it is, and so has its place from now on. As above. */
MUST_USE int marks_try(struct marks *m, struct span id);
