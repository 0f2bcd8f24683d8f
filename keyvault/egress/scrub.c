/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns form a prefix-free set: of two where one begins with the other only the shorter is kept. So at any
 * position at most one pattern can match, and "the leftmost match first" has one meaning, for every cut of the stream.
 *
 * Search is Wu-Manber's: a window as long as the shortest pattern slides over the text; a table indexed by a hash of
 * the window's last three bytes says how far it may jump. An ordinary reply is looked at in one place in forty or so.
 *
 * At the end of a piece, the earliest suffix that is a proper prefix of some pattern is held back. What is held are
 * known bytes of a known pattern, so the state is two numbers, and the bytes are copied from the arena when the next
 * piece comes.
 *
 * Base64 cuts bytes into sextets. The characters at either edge that also depend on neighbouring bytes are not
 * part of the pattern: less than a byte's worth of the secret stays at each end.
 */
#include "keyvault/egress/scrub.h"

#include <assert.h>

#define SCRUB_SHIFT_BITS  12
#define SCRUB_SHIFT_SLOTS (1u << SCRUB_SHIFT_BITS)
#define SCRUB_INNER_SLOTS 256
#define SCRUB_TABLE_BYTES (SCRUB_SHIFT_SLOTS + SCRUB_INNER_SLOTS)
#define SCRUB_BLOCK       3 /* bytes hashed */
/* Of all forms, for each byte of the secret: raw 1, hex 2 * 2, base64 6 * 4/3, URL 8 * 3, JSON 6 * 6; and rounding. */
#define SCRUB_BYTES_PER_BYTE (1 + 4 + 8 + 24 + 36)
#define SCRUB_BYTES_FIXED    32

/* Which characters an encoder leaves alone besides letters and digits, and how it spells the others. */
struct scrub_url {
	const char *keep; /* NULL: not even letters and digits */
	bool upper, plus; /* hex digits; a space as + */
};

static const struct scrub_url scrub_urls[] = {
	{"-._~", true, false},      /* RFC 3986 */
	{"-._~", false, false},     /* the same in small letters */
	{"-._~!'()*", true, false}, /* encodeURIComponent */
	{"*-._", true, true},       /* application/x-www-form-urlencoded */
	{"", true, false},          /* all but letters and digits */
	{"", false, false},         /* the same in small letters */
	{NULL, true, false},        /* everything */
	{NULL, false, false},       /* the same in small letters */
};

/* Which characters an encoder writes as \uXXXX; quote and backslash get a backslash otherwise. */
struct scrub_json {
	const char *unicode; /* NULL: everything */
	bool upper, slash;   /* hex digits; / as \/ */
};

static const struct scrub_json scrub_jsons[] = {
	{"", false, false},        /* no more than must be */
	{"", false, true},         /* PHP */
	{"<>&", false, false},     /* Go */
	{"\"<>&'+`", true, false}, /* .NET */
	{NULL, false, false},      /* everything */
	{NULL, true, false},       /* the same in capitals */
};

static_assert(1 + 2 + 6 + ARRAY_LEN(scrub_urls) + ARRAY_LEN(scrub_jsons) <= SCRUB_PATTERNS_MAX, "room for every form");

static bool scrub_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool scrub_in(const char *set, uint8_t c)
{
	return c && strchr(set, c);
}

static size_t scrub_put_hex(uint8_t *to, uint8_t c, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	to[0] = (uint8_t)digits[c >> 4];
	to[1] = (uint8_t)digits[c & 15];
	return 2;
}

static size_t scrub_form_hex(uint8_t *to, struct span secret, bool upper)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++)
		n += scrub_put_hex(to + n, secret.p[i], upper);
	return n;
}

/* The characters of base64 that depend on nothing but the secret when `lead` bytes come before it in its group of
 * three. */
static size_t scrub_form_base64(uint8_t *to, struct span secret, size_t lead, bool url)
{
	const char *alphabet = url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
				   : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0, bit = lead == 0 ? 0 : (lead == 1 ? 4 : 2); /* the first whole sextet, in bits of the secret */

	for (; bit + 6 <= secret.len * 8; bit += 6) {
		unsigned two = (unsigned)secret.p[bit / 8] << 8;
		if (bit / 8 + 1 < secret.len)
			two |= secret.p[bit / 8 + 1];
		to[n++] = (uint8_t)alphabet[two >> (10 - bit % 8) & 63];
	}
	return n;
}

static size_t scrub_form_url(uint8_t *to, struct span secret, const struct scrub_url *u)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++) {
		uint8_t c = secret.p[i];
		if (u->keep && (scrub_alnum(c) || scrub_in(u->keep, c))) {
			to[n++] = c;
		} else if (c == ' ' && u->plus) {
			to[n++] = '+';
		} else {
			to[n++] = '%';
			n += scrub_put_hex(to + n, c, u->upper);
		}
	}
	return n;
}

static size_t scrub_form_json(uint8_t *to, struct span secret, const struct scrub_json *j)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++) {
		uint8_t c = secret.p[i];
		if (c < 0x20 || !j->unicode || scrub_in(j->unicode, c)) {
			memcpy(to + n, "\\u00", 4);
			n += 4;
			n += scrub_put_hex(to + n, c, j->upper);
			continue;
		}
		if (c == '"' || c == '\\' || (c == '/' && j->slash))
			to[n++] = '\\';
		to[n++] = c;
	}
	return n;
}

static uint8_t *scrub_shifts(const struct scrub *s)
{
	return s->mem.p;
}

/* Which bytes a pattern goes on after: a text that ends with another one holds nothing back. */
static uint8_t *scrub_inner(const struct scrub *s)
{
	return s->mem.p + SCRUB_SHIFT_SLOTS;
}

static const uint8_t *scrub_pattern(const struct scrub *s, size_t i)
{
	return s->mem.p + s->offset[i];
}

/* Where the next form is to be written: behind the last pattern. */
static uint8_t *scrub_next(const struct scrub *s)
{
	return s->n == 0 ? s->mem.p + SCRUB_TABLE_BYTES : s->mem.p + s->offset[s->n - 1] + s->len[s->n - 1];
}

/* Keeps the form just written at scrub_next(), unless it and one that is there begin alike: then the shorter of the two
 * stays. */
static void scrub_keep(struct scrub *s, size_t len)
{
	const uint8_t *form = scrub_next(s);
	bool known = false;

	for (size_t i = 0; i < s->n; i++) {
		uint32_t both = MIN(s->len[i], (uint32_t)len);
		if (memcmp(form, scrub_pattern(s, i), both) != 0)
			continue;
		s->len[i] = both;
		known = true;
	}
	if (known)
		return;
	assert(s->n < SCRUB_PATTERNS_MAX);
	s->offset[s->n] = (uint32_t)(form - s->mem.p);
	s->len[s->n++] = (uint32_t)len;
}

static void scrub_make_forms(struct scrub *s, struct span secret)
{
	memcpy(scrub_next(s), secret.p, secret.len);
	scrub_keep(s, secret.len);
	if (secret.len < SCRUB_ENCODED_BYTES_MIN)
		return;
	for (size_t i = 0; i < ARRAY_LEN(scrub_jsons); i++)
		scrub_keep(s, scrub_form_json(scrub_next(s), secret, &scrub_jsons[i]));
	for (size_t i = 0; i < ARRAY_LEN(scrub_urls); i++)
		scrub_keep(s, scrub_form_url(scrub_next(s), secret, &scrub_urls[i]));
	for (int upper = 0; upper < 2; upper++)
		scrub_keep(s, scrub_form_hex(scrub_next(s), secret, upper));
	for (size_t lead = 0; lead < 3; lead++)
		for (int url = 0; url < 2; url++)
			scrub_keep(s, scrub_form_base64(scrub_next(s), secret, lead, url));
}

static uint32_t scrub_hash(const uint8_t *block)
{
	uint32_t v = (uint32_t)block[0] | (uint32_t)block[1] << 8 | (uint32_t)block[2] << 16;

	return v * 0x9E3779B1u >> (32 - SCRUB_SHIFT_BITS);
}

static void scrub_make_tables(struct scrub *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k + 1 < s->len[i]; k++)
			scrub_inner(s)[scrub_pattern(s, i)[k]] = 1;
	if (s->len_min < SCRUB_BLOCK)
		return;
	size_t most = MIN(s->len_min - SCRUB_BLOCK + 1, (size_t)UINT8_MAX);
	memset(scrub_shifts(s), (int)most, SCRUB_SHIFT_SLOTS);
	for (size_t i = 0; i < s->n; i++) {
		for (size_t end = SCRUB_BLOCK; end <= s->len_min; end++) {
			uint8_t *slot = &scrub_shifts(s)[scrub_hash(scrub_pattern(s, i) + end - SCRUB_BLOCK)];
			*slot = (uint8_t)MIN(*slot, s->len_min - end);
		}
	}
}

/* A mark must be in no pattern, or a mark and what follows it could make a new occurrence. DEL cannot be in a header
 * value. */
static uint8_t scrub_choose_mark(const struct scrub *s)
{
	size_t bytes = (size_t)(scrub_next(s) - scrub_pattern(s, 0));

	for (const char *c = "*#.-_=~^xXzZ+:;!?@|$()[]{}<>,0123456789abcdefghijklmnopqrstuvwyABCDEFGHIJKLMNOPQRSTUVWY";
	     *c; c++)
		if (!memchr(scrub_pattern(s, 0), *c, bytes))
			return (uint8_t)*c;
	return 0x7f;
}

int scrub_init(struct scrub *s, struct secret_arena *arena, struct span secret)
{
	assert(secret.len > 0 && secret.len <= SCRUB_SECRET_BYTES_MAX);
	*s = (struct scrub){.arena = arena};
	if (secret_alloc(arena, SCRUB_TABLE_BYTES + SCRUB_BYTES_PER_BYTE * secret.len + SCRUB_BYTES_FIXED, &s->mem))
		return SCRUB_E_FULL;
	scrub_make_forms(s, secret);
	s->len_min = s->len[0];
	for (size_t i = 0; i < s->n; i++) {
		s->len_min = MIN(s->len_min, (size_t)s->len[i]);
		s->len_max = MAX(s->len_max, (size_t)s->len[i]);
	}
	scrub_make_tables(s);
	s->mark = scrub_choose_mark(s);
	return 0;
}

void scrub_deinit(struct scrub *s)
{
	if (s->mem.p)
		secret_free(s->arena, &s->mem);
	*s = SCRUB_NULL;
}

/* The length of the pattern that lies whole at `text`, or 0. */
static size_t scrub_match_at(const struct scrub *s, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->len[i] <= len && memcmp(text, scrub_pattern(s, i), s->len[i]) == 0)
			return s->len[i];
	return 0;
}

/* The first whole match from `from` on: its start and *ret_len, or `len` when there is none. */
static size_t scrub_find(const struct scrub *s, const uint8_t *text, size_t from, size_t len, size_t *ret_len)
{
	size_t step = 1;

	for (size_t at = from; at < len && len - at >= s->len_min; at += step) {
		if (s->len_min >= SCRUB_BLOCK) {
			step = scrub_shifts(s)[scrub_hash(text + at + s->len_min - SCRUB_BLOCK)];
			if (step > 0)
				continue;
			step = 1;
		}
		*ret_len = scrub_match_at(s, text + at, len - at);
		if (*ret_len)
			return at;
	}
	return len;
}

/* The first position from `from` on whose rest of the text is the beginning of a pattern, and of which; else `len`. */
static size_t scrub_find_live(const struct scrub *s, const uint8_t *text, size_t from, size_t len,
			      uint32_t *ret_pattern)
{
	size_t first = len;

	if (len == from || !scrub_inner(s)[text[len - 1]])
		return len;
	for (size_t i = 0; i < s->n; i++) {
		const uint8_t *pattern = scrub_pattern(s, i);
		size_t at = len - from >= s->len[i] ? len - s->len[i] + 1 : from;
		while (at < first) {
			const uint8_t *hit = memchr(text + at, pattern[0], first - at);
			if (!hit)
				break;
			at = (size_t)(hit - text);
			if (text[len - 1] == pattern[len - at - 1] && memcmp(hit, pattern, len - at) == 0) {
				first = at;
				*ret_pattern = (uint32_t)i;
			}
			at++;
		}
	}
	return first;
}

void scrub_begin(struct scrub_pass *pass, const struct scrub *s)
{
	*pass = (struct scrub_pass){.scrub = s};
}

size_t scrub_feed(struct scrub_pass *pass, struct span in, uint8_t *out)
{
	const struct scrub *s = pass->scrub;
	size_t len = pass->held + in.len, at = 0;

	if (in.len == 0)
		return 0;
	memcpy(out, scrub_pattern(s, pass->pattern), pass->held);
	memcpy(out + pass->held, in.p, in.len);
	for (;;) {
		size_t match_len = 0;
		size_t match = scrub_find(s, out, at, len, &match_len);
		size_t live = scrub_find_live(s, out, at, len, &pass->pattern);
		if (live <= match) { /* equal: neither */
			pass->held = (uint32_t)(len - live);
			secret_wipe(out + live, pass->held);
			return live;
		}
		memset(out + match, s->mark, match_len);
		at = match + match_len;
		pass->found += pass->found < UINT32_MAX;
	}
}

size_t scrub_end(struct scrub_pass *pass, uint8_t *out)
{
	const struct scrub *s = pass->scrub;
	size_t len = pass->held, at = 0, match_len = 0;

	/* A shorter pattern may lie within what was held as the beginning of a longer one. */
	memcpy(out, scrub_pattern(s, pass->pattern), len);
	for (size_t match; (match = scrub_find(s, out, at, len, &match_len)) < len; at = match + match_len) {
		memset(out + match, s->mark, match_len);
		pass->found += pass->found < UINT32_MAX;
	}
	pass->held = 0;
	return len;
}
