/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns form a prefix-free set: of two where one begins with the other only the shorter is kept. So at any
 * position at most one pattern can match, and "the leftmost match first" has one meaning, for every cut of the stream.
 *
 * Search is Wu-Manber's: a window as long as the shortest pattern slides over the text; a table indexed by a hash of
 * the window's last four bytes says how far it may jump. An ordinary reply is looked at in one place in forty or so.
 *
 * At the end of a piece, the earliest suffix that is a proper prefix of some pattern is held back. What is held are
 * known bytes of a known pattern, so the state is two numbers, and the bytes are copied from the arena when the next
 * piece comes.
 */
#include "keyvault/egress/scrub.h"

#include <assert.h>

#define SCRUB_SHIFT_BITS  12
#define SCRUB_SHIFT_SLOTS (1u << SCRUB_SHIFT_BITS)
#define SCRUB_FIRST_SLOTS 256
#define SCRUB_PAIR_BITS   13
#define SCRUB_PAIR_BYTES  (1u << SCRUB_PAIR_BITS >> 3)
#define SCRUB_TABLE_BYTES (SCRUB_SHIFT_SLOTS + SCRUB_FIRST_SLOTS + SCRUB_PAIR_BYTES)
#define SCRUB_BLOCK       4 /* bytes hashed */

static uint8_t *scrub_shifts(const struct scrub *s)
{
	return s->mem.p;
}

/* Which bytes a pattern begins with. */
static uint8_t *scrub_firsts(const struct scrub *s)
{
	return s->mem.p + SCRUB_SHIFT_SLOTS;
}

/* Which two bytes a pattern goes on after: a text that ends with others holds one byte back at most. */
static uint8_t *scrub_pairs(const struct scrub *s)
{
	return s->mem.p + SCRUB_SHIFT_SLOTS + SCRUB_FIRST_SLOTS;
}

static uint32_t scrub_pair_hash(const uint8_t *two)
{
	return ((uint32_t)two[0] << 8 | two[1]) * 0x9E3779B1u >> (32 - SCRUB_PAIR_BITS);
}

static const uint8_t *scrub_pattern(const struct scrub *s, size_t i)
{
	return s->mem.p + s->offset[i];
}

/* Takes `form`, unless it and a pattern that is there begin alike: then the shorter of the two stays. `at` is where it
 * will stand. */
static bool scrub_keep(struct scrub *s, const uint8_t *forms, uint32_t at, size_t len)
{
	bool known = false;

	for (size_t i = 0; i < s->n; i++) {
		uint32_t both = MIN(s->len[i], (uint32_t)len);
		if (memcmp(forms + at, forms + s->offset[i], both) != 0)
			continue;
		s->len[i] = both;
		known = true;
	}
	if (known)
		return false;
	assert(s->n < SCRUB_PATTERNS_MAX);
	s->offset[s->n] = at;
	s->len[s->n++] = (uint32_t)len;
	return true;
}

static size_t scrub_n_forms(struct span secret)
{
	return secret.len < SCRUB_ENCODED_BYTES_MIN ? 1 : SCRUB_FORMS;
}

/* Writes all forms of all secrets to `forms`, end to end; offsets count from there. Returns the bytes used. */
static size_t scrub_make_forms(struct scrub *s, const struct span *secrets, size_t n_secrets, uint8_t *forms)
{
	uint32_t at = 0;

	for (size_t k = 0; k < n_secrets; k++)
		for (size_t i = 0; i < scrub_n_forms(secrets[k]); i++) {
			size_t len = scrub_form_write(i, secrets[k], forms + at);
			if (scrub_keep(s, forms, at, len))
				at += (uint32_t)len;
		}
	return at;
}

static uint32_t scrub_hash(const uint8_t *block)
{
	uint32_t v;

	memcpy(&v, block, sizeof(v));
	return v * 0x9E3779B1u >> (32 - SCRUB_SHIFT_BITS);
}

/* How far a window that nothing is in may jump. */
static size_t scrub_shift_most(const struct scrub *s)
{
	return MIN(s->len_min - SCRUB_BLOCK + 1, (size_t)UINT8_MAX);
}

static void scrub_make_tables(struct scrub *s)
{
	for (size_t i = 0; i < s->n; i++) {
		scrub_firsts(s)[scrub_pattern(s, i)[0]] |= s->len[i] > 1;
		for (size_t k = 0; k + 2 < s->len[i]; k++) {
			uint32_t hash = scrub_pair_hash(scrub_pattern(s, i) + k);
			scrub_pairs(s)[hash >> 3] |= (uint8_t)(1u << (hash & 7));
		}
	}
	if (s->len_min < SCRUB_BLOCK)
		return;
	memset(scrub_shifts(s), (int)scrub_shift_most(s), SCRUB_SHIFT_SLOTS);
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
	size_t bytes = s->mem.len - SCRUB_TABLE_BYTES;

	for (const char *c = "*#.-_=~^xXzZ+:;!?@|$()[]{}<>,0123456789abcdefghijklmnopqrstuvwyABCDEFGHIJKLMNOPQRSTUVWY";
	     *c; c++)
		if (!memchr(s->mem.p + SCRUB_TABLE_BYTES, *c, bytes))
			return (uint8_t)*c;
	return 0x7f;
}

/* How long all forms are together, the doubles too: those are known when all lie there. 0: the arena has no room to
 * find out. */
static size_t scrub_forms_len(const struct scrub *s, const struct span *secrets, size_t n_secrets)
{
	size_t len_max = 0, len = 0;
	struct secret one;

	for (size_t i = 0; i < n_secrets; i++) {
		assert(secrets[i].len > 0 && secrets[i].len <= SCRUB_SECRET_BYTES_MAX);
		len_max = MAX(len_max, secrets[i].len);
	}
	if (secret_alloc(s->arena, SCRUB_FORM_TIMES_MAX * len_max, &one))
		return 0;
	for (size_t k = 0; k < n_secrets; k++)
		for (size_t i = 0; i < scrub_n_forms(secrets[k]); i++)
			len += scrub_form_write(i, secrets[k], one.p);
	secret_free(s->arena, &one);
	return len;
}

/* The forms are made in a piece of the arena that has room for all, then moved to one that is as long as need be: most
 * keys look the same in most forms. */
static int scrub_take_forms(struct scrub *s, const struct span *secrets, size_t n_secrets)
{
	size_t room = scrub_forms_len(s, secrets, n_secrets);
	struct secret forms;

	if (room == 0 || secret_alloc(s->arena, room, &forms))
		return SCRUB_E_FULL;
	size_t bytes = scrub_make_forms(s, secrets, n_secrets, forms.p);
	int r = secret_alloc(s->arena, SCRUB_TABLE_BYTES + bytes, &s->mem) ? SCRUB_E_FULL : 0;
	if (!r)
		memcpy(s->mem.p + SCRUB_TABLE_BYTES, forms.p, bytes);
	secret_free(s->arena, &forms);
	return r;
}

int scrub_init(struct scrub *s, struct secret_arena *arena, const struct span *secrets, size_t n_secrets)
{
	assert(n_secrets > 0 && n_secrets <= SCRUB_SECRETS_MAX);
	*s = (struct scrub){.arena = arena};
	if (scrub_take_forms(s, secrets, n_secrets))
		return SCRUB_E_FULL;
	s->len_min = s->len[0];
	for (size_t i = 0; i < s->n; i++) {
		s->offset[i] += SCRUB_TABLE_BYTES;
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

/* Of four windows end to end, none has anything to do with a pattern. One by one, the processor would wait for the
 * table each time before it knows where to look next. */
static bool scrub_all_far(const uint8_t *shifts, const uint8_t *block, size_t most)
{
	return shifts[scrub_hash(block)] == most && shifts[scrub_hash(block + most)] == most &&
	       shifts[scrub_hash(block + 2 * most)] == most && shifts[scrub_hash(block + 3 * most)] == most;
}

/* The first position from `at` on whose window may begin a match, or `len`. */
static size_t scrub_skip(const struct scrub *s, const uint8_t *text, size_t at, size_t len)
{
	const uint8_t *shifts = scrub_shifts(s), *block = text + s->len_min - SCRUB_BLOCK;
	size_t last = len - s->len_min, most = scrub_shift_most(s);

	while (at <= last) {
		size_t step = shifts[scrub_hash(block + at)];
		if (step == 0)
			return at;
		at += step;
		while (at <= last && last - at >= 3 * most && scrub_all_far(shifts, block + at, most))
			at += 4 * most;
	}
	return len;
}

/* The first whole match from `at` on: its start and *ret_len, or `len` when there is none. */
static size_t scrub_find(const struct scrub *s, const uint8_t *text, size_t at, size_t len, size_t *ret_len)
{
	for (; at < len && len - at >= s->len_min; at++) {
		if (s->len_min >= SCRUB_BLOCK)
			at = scrub_skip(s, text, at, len);
		*ret_len = scrub_match_at(s, text + at, len - at);
		if (*ret_len)
			return at;
	}
	return len;
}

static bool scrub_pair_known(const struct scrub *s, const uint8_t *two)
{
	uint32_t hash = scrub_pair_hash(two);

	return scrub_pairs(s)[hash >> 3] >> (hash & 7) & 1;
}

/* The first position from `from` on whose rest of the text is the beginning of a pattern, and of which; else `len`. */
static size_t scrub_find_live(const struct scrub *s, const uint8_t *text, size_t from, size_t len,
			      uint32_t *ret_pattern)
{
	size_t first = len;

	if (len - from >= 2 && !scrub_pair_known(s, text + len - 2))
		from = len - 1;
	if (len == from || (len - from == 1 && !scrub_firsts(s)[text[from]]))
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
	for (size_t live = 0, looked = false;; looked = true) {
		size_t match_len = 0;
		size_t match = scrub_find(s, out, at, len, &match_len);
		if (!looked || live < at)
			live = scrub_find_live(s, out, at, len, &pass->pattern);
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
