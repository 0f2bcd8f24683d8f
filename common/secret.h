/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret arena: the only memory that may hold key material in plaintext.
 *
 * One mapping, made at start, of fixed size: memfd_secret where the kernel has it (else anonymous, mlock,
 * MADV_DONTDUMP), a guard page at each end, MADV_DONTFORK, descriptor closed after mmap, sealed with mseal where there
 * is one. It is closed (no access) except between secret_open() and secret_close(): by protection key where the CPU has
 * them, else by mprotect. Opens nest. Allocations carry a canary before and after and are wiped on free. Sizes come
 * from our own code, never from a peer's message.
 */
#pragma once

#include "common/base.h"

struct secret_arena;

#define SECRET_ARENA_BYTES_MAX ((size_t)1 << 30)

enum {
	SECRET_WITHOUT_MEMFD = 1,
	SECRET_WITHOUT_PKEY = 2,
	SECRET_WITHOUT_MSEAL = 4,
};

/* A piece of the arena. `p` may be touched only while the arena is open. Never copied into a span that outlives the
 * close. */
struct secret {
	uint8_t *p;
	size_t len;
};

#define SECRET_NULL ((struct secret){NULL, 0})

/* Makes the arena; `bytes` is rounded up to pages. 0 or negative (-ENOMEM, -EPERM: over RLIMIT_MEMLOCK). */
MUST_USE int secret_arena_new(size_t bytes, struct secret_arena **ret_arena);
/* The same without some of the protections, as on a kernel or CPU that lacks them. For tests and for measuring. */
MUST_USE int secret_arena_new_without(size_t bytes, unsigned without, struct secret_arena **ret_arena);
/* After -EPERM, for the operator: how much was to be locked, how much this process may lock, and what to set. */
void secret_arena_explain(size_t bytes, char *to, size_t cap);
/* Wipes and unmaps. NULL is fine. Returns NULL. */
struct secret_arena *secret_arena_free(struct secret_arena *a);
/* "memfd_secret+pkey+mseal", "mlock+mprotect" and so on. */
const char *secret_arena_protection(const struct secret_arena *a);
size_t secret_arena_used(const struct secret_arena *a);
size_t secret_arena_size(const struct secret_arena *a);

enum secret_err {
	SECRET_E_FULL = 1, /* the arena has no room: refuse the operation */
};

/* Zeroed, aligned to 16. `len` > 0. 0 or SECRET_E_FULL. The arena may be open or closed. */
MUST_USE int secret_alloc(struct secret_arena *a, size_t len, struct secret *ret_secret);
/* Checks place, length and canaries (abort on damage), wipes, sets *s to SECRET_NULL. Idempotent. */
void secret_free(struct secret_arena *a, struct secret *s);

void secret_open(struct secret_arena *a);
/* The outermost close also clears the vector registers: copies leave what they moved there. */
void secret_close(struct secret_arena *a);
/* Around work on many pieces in a row: where a close costs a system call, it waits for the release. Nests. NULL
 * is fine. */
void secret_hold(struct secret_arena *a);
void secret_release(struct secret_arena *a);
/* Wipes ordinary memory in a way that the compiler keeps. */
void secret_wipe(void *p, size_t len);
/* Constant time. */
bool secret_eq(const void *a, const void *b, size_t len);
