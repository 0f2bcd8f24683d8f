/* SPDX-License-Identifier: Apache-2.0 */
/* Engine and recognisers together: text in, ranges out. Expected ranges are written into the text: "mail <bob@x.org>."
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "classifier/engine.h"
#include "classifier/recognise.h"
#include "tests/support/within.h"

#define TEXT_MAX 1024

struct found {
	size_t n;
	struct {
		enum class class;
		size_t begin, end;
	} at[64];
};

static int setup(void **state)
{
	struct engine *e = NULL;
	int r = engine_new(&e);

	*state = e;
	return r;
}

static int teardown(void **state)
{
	*state = engine_free(*state);
	return 0;
}

static bool note(void *ctx, enum class class, size_t begin, size_t end)
{
	struct found *f = ctx;

	assert_within(f->n, 0, ARRAY_LEN(f->at) - 1);
	f->at[f->n].class = class;
	f->at[f->n].begin = begin;
	f->at[f->n++].end = end;
	return true;
}

/* In a block of its own size, so that the address sanitizer sees a read past the end. */
static struct found scan(struct engine *e, const char *text, size_t len, uint64_t classes)
{
	uint8_t *copy = malloc(MAX(len, (size_t)1));
	struct found f = {0};

	assert_non_null(copy);
	memcpy(copy, text, len);
	assert_int_equal(engine_scan(e, span_of(copy, len), classes, note, &f), 0);
	free(copy);
	return f;
}

/* Every range in <> must be found, and nothing else. */
static void check(struct engine *e, enum class class, const char *marked)
{
	char text[TEXT_MAX], out[TEXT_MAX * 2] = "";
	size_t len = 0, to = 0, next = 0;
	struct found f;

	for (const char *p = marked; *p; p++)
		if (*p != '<' && *p != '>')
			text[len++] = *p;
	f = scan(e, text, len, BIT(class));
	for (size_t i = 0; i <= len; i++) {
		if (next < f.n && f.at[next].end == i) {
			out[to++] = '>';
			next++;
		}
		if (next < f.n && f.at[next].begin == i)
			out[to++] = '<';
		out[to++] = i < len ? text[i] : '\0';
	}
	assert_string_equal(out, marked);
}

static void finds_email(void **state)
{
	static const char *const cases[] = {
		"<bob@example.com>",
		"mail <bob@example.com>.",
		"<a@b.cd>",
		"<First.Last+tag@mail.example.co.uk>, and <x_1%y-z@a-b.example>!",
		"\"<bob@example.com>\" '<bob@example.com>' =<bob@example.com>&x=1 /<bob@example.com>/",
		"{\"to\":\"<bob@example.com>\"}",
		"<o'brien@example.ie>",
		"<m\xc3\xbcller@m\xc3\xbcnchen.de>",
		"\xe8\xaf\xb7\xe8\x81\x94\xe7\xb3\xbb<bob@example.com>\xe8\xb0\xa2",
		"...<bob@example.com>... --<bob@example.com>-",
		"<bob@example.com>.5",
		"<bob@example.xn--p1ai>",
		"bob@example",
		"bob@localhost.1",
		"bob@10.0.0.1",
		"bob@example.c",
		"bob@example.c0m",
		"bob@-example.com",
		"bob@.com",
		"bob@example..com",
		"@example.com",
		"a @example.com",
		"@@example.com",
		"bob@@example.com",
		"@decorator.name",
		"x@",
		"@",
		"bob\xff@example.com",
		("<bob@example.com>\xff"
		 "com"),
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(*state, CLASS_EMAIL, cases[i]);
}

static void finds_phone(void **state)
{
	static const char *const cases[] = {
		"<+4930123456789>",
		"call <+49 30 123456-78>, or <+1 (555) 123-4567>.",
		"<+1.555.123.4567> <+44 (0)20 7946 0958>",
		"tel:<+15551234567>",
		"<+(49) 30 1234567>",
		"<+1234567>",
		"<+123456789012345>",
		"<+1 555 123 4567>, 2024",
		"<+1 555 123 4567 99> 2024",
		"+123456",
		"+1234567890123456",
		"+0123456789",
		"1+12345678",
		"x+12345678",
		"+",
		"+1",
		"+1 234   567",
		("+12345\xff"
		 "678"),
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(*state, CLASS_PHONE, cases[i]);
}

static void finds_card(void **state)
{
	static const char *const cases[] = {
		"<4111111111111111>",
		"card <4111 1111 1111 1111>, exp 12/30",
		"<4111-1111-1111-1111> <3782 822463 10005> <4222222222222>",
		"no.<4111111111111111>.",
		"visa<4111111111111111>",
		"<4111 1111 1111 1111> 123",
		"5 <4111 1111 1111 1111>",
		"<6304 0000 0000 0000>",
		"4111111111111112",
		"41111111111111111",
		"14111111111111111",
		"411111111111111",
		"1111111111111117",
		"0.4111111111111111",
		"12,<4111111111111111>,Anna",
		"2026-11-23,<4111 1111 1111 1111>",
		"4111  1111  1111  1111",
		"4111\n1111\n1111\n1111",
		("4111 1111\xff"
		 "1111 1111"),
		"411111111111",
		"41111111111111111111111111111111111111111111",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(*state, CLASS_CARD, cases[i]);
}

static void heeds_mask(void **state)
{
	static const char text[] = "bob@example.com +4930123456789 4111111111111111";

	assert_int_equal(scan(*state, text, sizeof(text) - 1, UINT64_MAX).n, 3);
	assert_int_equal(scan(*state, text, sizeof(text) - 1, BIT(CLASS_CARD)).n, 1);
	assert_int_equal(scan(*state, text, sizeof(text) - 1, 0).n, 0);
	assert_int_equal(scan(*state, "", 0, UINT64_MAX).n, 0);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static size_t random_text(uint32_t *seed, char text[TEXT_MAX])
{
	static const char *const pieces[] = {"bob",
					     "@",
					     "example",
					     ".com",
					     ".",
					     "+",
					     "49",
					     "4111",
					     "1111",
					     "1111111",
					     " ",
					     "-",
					     "(",
					     ")",
					     "/",
					     "0",
					     "5",
					     "\xc3\xbc",
					     "\xff",
					     "x",
					     "a-b",
					     "'",
					     "_",
					     "\xe2\x82\xac",
					     "4111 1111 1111 1111",
					     "@b.de"};
	size_t len = 0;

	while (len < TEXT_MAX - 32) {
		const char *piece = pieces[next_random(seed) % ARRAY_LEN(pieces)];

		memcpy(text + len, piece, strlen(piece));
		len += strlen(piece);
		if (next_random(seed) % 128 == 0)
			break;
	}
	return len;
}

static bool has(const struct found *f, enum class class, size_t begin, size_t end)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->at[i].class == class && f->at[i].begin == begin && f->at[i].end == end)
			return true;
	return false;
}

/*
 * A finding depends only on a bounded stretch around its anchor, which lies within it: text cut outside of that
 * stretch, at any place, yields the same finding. This is what scanning a stream in pieces rests on.
 */
static void is_local(void **state)
{
	uint32_t seed = 7;
	size_t seen = 0;

	for (unsigned round = 0; round < 3000; round++) {
		char text[TEXT_MAX];
		size_t len = random_text(&seed, text);
		struct found all = scan(*state, text, len, UINT64_MAX);

		for (size_t i = 0; i < all.n; i++) {
			size_t begin = all.at[i].begin, end = all.at[i].end;
			size_t from = begin > RECOGNISE_BEHIND ? begin - RECOGNISE_BEHIND : 0;
			size_t to = MIN(len, end + RECOGNISE_AHEAD);
			struct found cut;

			from = from > 0 ? from - next_random(&seed) % from : 0;
			to += to < len ? next_random(&seed) % (len - to) : 0;
			cut = scan(*state, text + from, to - from, UINT64_MAX);
			assert_true(has(&cut, all.at[i].class, begin - from, end - from));
			seen++;
		}
	}
	assert_true(seen >= 1000);
}

/* Is the byte before `end` the thirteenth digit of groups that begin at a group's first digit? */
static bool card_anchor(struct span text, size_t end)
{
	size_t digits = 0, at = end;

	while (at > 0 && digits < 13) {
		bool digit = text.p[at - 1] >= '0' && text.p[at - 1] <= '9';

		if (!digit && (at == end || !(text.p[at] >= '0' && text.p[at] <= '9') ||
			       (text.p[at - 1] != ' ' && text.p[at - 1] != '-')))
			return false;
		digits += digit;
		at--;
	}
	return digits == 13 && (at == 0 || text.p[at - 1] < '0' || text.p[at - 1] > '9');
}

/* What Vectorscan finds, against a search at every byte: no anchor is overlooked, none is invented. */
static void overlooks_nothing(void **state)
{
	uint32_t seed = 11;

	for (unsigned round = 0; round < 5000; round++) {
		char bytes[TEXT_MAX];
		struct span text = span_of(bytes, random_text(&seed, bytes));
		struct found f = scan(*state, bytes, text.len, UINT64_MAX);
		size_t expected = 0;

		for (size_t end = 1; end <= text.len; end++) {
			struct range r;

			if (text.p[end - 1] == '@' && recognise_email(text, end, &r))
				expected += has(&f, CLASS_EMAIL, r.begin, r.end) ? 1 : 1000;
			if (text.p[end - 1] == '+' && recognise_phone(text, end, &r))
				expected += has(&f, CLASS_PHONE, r.begin, r.end) ? 1 : 1000;
			if (card_anchor(text, end) && recognise_card(text, end, &r))
				expected += has(&f, CLASS_CARD, r.begin, r.end) ? 1 : 1000;
		}
		assert_int_equal(f.n, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_email), cmocka_unit_test(finds_phone), cmocka_unit_test(finds_card),
		cmocka_unit_test(heeds_mask),  cmocka_unit_test(is_local),    cmocka_unit_test(overlooks_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
