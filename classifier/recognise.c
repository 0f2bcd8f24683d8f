/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extents lean towards hiding too much rather than leaving a piece behind, but stay out of what surrounds a
 * finding: a redacted prompt must still read well.
 *
 * E-mail: the local part is what people use, letters, digits and ._%+'- in at most 64 characters, not all of RFC 5322;
 *   Latin letters beyond ASCII count as letters on both sides (EAI, IDN). The domain ends with its last label that can
 * be a top-level domain: two letters or more, or xn--. Phone: +, then 7 to 15 digits (E.164) in groups, with up to two
 * of " ().-/" between them. When more digits follow, the last group that keeps within 15 ends it. Card: 13 to 19 digits
 * in groups with single spaces or hyphens; first digits of an issuer; Luhn. Ends with a group.
 */
#include "classifier/recognise.h"

#include "classifier/luhn.h"

#define EMAIL_LOCAL_CHARS_MAX  64
#define EMAIL_DOMAIN_BYTES_MAX 253
#define PHONE_DIGITS_MIN       7
#define PHONE_DIGITS_MAX       15
#define PHONE_SEPARATORS_MAX   2
#define CARD_DIGITS_MIN        13
#define CARD_DIGITS_MAX        19

/* The byte at `at`, or the barrier outside of the text. */
static inline uint8_t recognise_byte(struct span text, size_t at)
{
	return at < text.len ? text.p[at] : TEXT_BARRIER;
}

static inline bool recognise_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool recognise_alpha(uint8_t c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

/* U+00C0 to U+024F, the Latin letters beyond ASCII: a lead byte of C3 to C9 and one more. */
static bool recognise_latin(struct span text, size_t at)
{
	uint8_t lead = recognise_byte(text, at), tail = recognise_byte(text, at + 1);

	return lead >= 0xc3 && lead <= 0xc9 && (tail & 0xc0) == 0x80;
}

/* Bytes of the letter at `at`: 0, 1 or 2. */
static size_t email_letter(struct span text, size_t at)
{
	return recognise_alpha(recognise_byte(text, at)) ? 1 : recognise_latin(text, at) ? 2 : 0;
}

/* Bytes of the last character before `at` when it can be in a local part: 0, 1 or 2. */
static size_t email_local_before(struct span text, size_t at)
{
	uint8_t c = at > 0 ? text.p[at - 1] : TEXT_BARRIER;

	if (recognise_alpha(c) || recognise_digit(c) || (c && strchr("._%+'-", c)))
		return 1;
	return at > 1 && recognise_latin(text, at - 2) ? 2 : 0;
}

static size_t email_begin(struct span text, size_t at_sign)
{
	size_t begin = at_sign;

	for (size_t chars = 0; chars < EMAIL_LOCAL_CHARS_MAX; chars++) {
		size_t n = email_local_before(text, begin);

		if (n == 0)
			break;
		begin -= n;
	}
	while (begin < at_sign && strchr(".'-", text.p[begin]))
		begin++;
	return begin;
}

/* Behind the label that begins at `at`; *ret_top: it can end a domain name. */
static size_t email_label(struct span text, size_t at, bool *ret_top)
{
	size_t begin = at, letters = 0, others = 0;

	while (at < text.len) {
		size_t n = email_letter(text, at);

		if (n > 0) {
			letters++;
		} else if (recognise_digit(text.p[at]) || (text.p[at] == '-' && at > begin)) {
			others++;
			n = 1;
		} else {
			break;
		}
		at += n;
	}
	while (at > begin && text.p[at - 1] == '-') {
		others--;
		at--;
	}
	*ret_top = letters >= 2 && (others == 0 || (at - begin > 4 && memcmp(text.p + begin, "xn--", 4) == 0));
	return at;
}

static size_t email_end(struct span text, size_t begin)
{
	size_t end = 0, at = begin;
	struct span near = span_of(text.p, MIN(text.len, begin + EMAIL_DOMAIN_BYTES_MAX));

	for (size_t labels = 1;; labels++) {
		bool top;
		size_t behind = email_label(near, at, &top);

		if (behind == at)
			return end;
		if (top && labels > 1)
			end = behind;
		if (recognise_byte(near, behind) != '.')
			return end;
		at = behind + 1;
	}
}

bool recognise_email(struct span text, size_t end, struct range *ret_range)
{
	size_t at_sign = end - 1;
	struct range r = {.begin = email_begin(text, at_sign), .end = email_end(text, at_sign + 1)};

	if (r.begin == at_sign || r.end == 0)
		return false;
	*ret_range = r;
	return true;
}

static inline bool recognise_one_of(const char *bytes, uint8_t c)
{
	while (*bytes && (uint8_t)*bytes != c)
		bytes++;
	return *bytes;
}

/* Where the next digit is, at most `separators_max` bytes on; 0: none. */
static inline size_t recognise_next_digit(struct span text, size_t at, const char *separators, size_t separators_max)
{
	for (size_t n = 0; n <= separators_max && at < text.len; n++, at++) {
		if (recognise_digit(text.p[at]))
			return at;
		if (!recognise_one_of(separators, text.p[at]))
			return 0;
	}
	return 0;
}

bool recognise_phone(struct span text, size_t end, struct range *ret_range)
{
	size_t begin = end - 1, at = recognise_next_digit(text, end, " (", PHONE_SEPARATORS_MAX), group_end = 0;
	uint8_t before = recognise_byte(text, begin - 1);

	if (at == 0 || text.p[at] == '0' || recognise_alpha(before) || recognise_digit(before))
		return false;
	for (size_t digits = 1; digits <= PHONE_DIGITS_MAX; digits++) {
		size_t next = recognise_next_digit(text, at + 1, " ().-/", PHONE_SEPARATORS_MAX);

		if (digits >= PHONE_DIGITS_MIN && next != at + 1)
			group_end = at + 1;
		if (next == 0)
			break;
		at = next;
	}
	if (group_end == 0)
		return false;
	*ret_range = (struct range){begin, group_end};
	return true;
}

static bool card_issuer(unsigned first, unsigned second)
{
	return (first >= 2 && first <= 6) || (first == 8 && (second == 1 || second == 2));
}

/* The first of the CARD_DIGITS_MIN digits that end at `end`. */
static size_t card_begin(struct span text, size_t end)
{
	size_t begin = end;

	for (size_t digits = 0; digits < CARD_DIGITS_MIN; digits += recognise_digit(text.p[begin]))
		begin--;
	return begin;
}

/* What stands before is a decimal number's beginning, such as "3."; a comma after digits is a column's end more often.
 */
static bool card_is_fraction(struct span text, size_t begin)
{
	return recognise_byte(text, begin - 1) == '.' && recognise_digit(recognise_byte(text, begin - 2));
}

/* A text of single digits with spaces between them has an anchor at each: what is done for one must be little. */
bool recognise_card(struct span text, size_t end, struct range *ret_range)
{
	struct range r = {.begin = card_begin(text, end)};
	struct luhn luhn = LUHN_NULL;
	unsigned first = 0;
	size_t at = r.begin;

	if (card_is_fraction(text, r.begin))
		return false;
	while (luhn.n < CARD_DIGITS_MAX) {
		size_t next = recognise_next_digit(text, at + 1, " -", 1);
		unsigned digit = text.p[at] - (unsigned)'0';

		if (luhn.n == 0)
			first = digit;
		if (luhn.n == 1 && !card_issuer(first, digit))
			return false;
		luhn_add(&luhn, digit);
		if (luhn.n >= CARD_DIGITS_MIN && next != at + 1 && luhn_ok(&luhn))
			r.end = at + 1;
		if (next == 0)
			break;
		at = next;
	}
	if (r.end == 0)
		return false;
	*ret_range = r;
	return true;
}
