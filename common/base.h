/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary that every file shares: borrowed bytes, attributes, and a few macros that C lacks.
 *
 * A `struct span` is a view of bytes that somebody else owns. Whoever hands one out says in its header until when
 * the bytes live; nobody frees through a span. It may hold NUL bytes and is never NUL-terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/param.h> /* MIN, MAX */

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define CLEANUP(fn)       __attribute__((cleanup(fn)))
/* Of failure and refusal: what leads here is unlikely, and is laid apart from what runs for each request. */
#define COLD __attribute__((cold))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)       (UINT64_C(1) << (n))

/* The structure that holds `member` at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Moves ownership: yields the value and leaves NULL behind. */
#define TAKE(p)                            \
	({                                 \
		__typeof__(p) take_ = (p); \
		(p) = NULL;                \
		take_;                     \
	})

struct span {
	const uint8_t *p;
	size_t len;
};

#define SPAN_NULL   ((struct span){NULL, 0})
#define SPAN_LIT(s) ((struct span){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct span span_of(const void *p, size_t len)
{
	return (struct span){p, len};
}

static inline struct span span_str(const char *s)
{
	return (struct span){(const uint8_t *)s, strlen(s)};
}

/* Not for secrets: the comparison stops at the first difference. */
static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool span_eq_str(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

/* ASCII alone, from `from`, a space or what comes after it, to what is printed last: fit for a head and a log. */
static inline bool span_is_printable(struct span s, uint8_t from)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < from || s.p[i] > 0x7e)
			return false;
	return true;
}

/* A call of memcpy(3), for copies whose length varies: where gcc can tell that one is short it makes it a loop of its
 * own, which takes longer than the call. */
static inline void span_copy(void *to, struct span s)
{
	__asm__("" : "+r"(s.len));
	if (s.len > 0)
		memcpy(to, s.p, s.len);
}

/* For "%.*s": `printf("%.*s", SPAN_ARG(s))`. */
#define SPAN_ARG(s) (int)(s).len, (const char *)(s).p
