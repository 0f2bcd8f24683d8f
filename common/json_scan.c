/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar as a machine of four expectations: a value, a key, a separator, nothing more. What lies open around the
 * current place is a stack of single bits (object or array), one word for all 64 levels.
 *
 *            .-- scalar or closing bracket --> SEPARATOR --- ',' in an array ---> VALUE
 *     VALUE -+-- '[' --> VALUE (or ']')            |  '---- ',' in an object --> KEY
 *            '-- '{' --> KEY (or '}')              '------- nothing is open ---> DONE
 *     KEY ----- string ':' --> VALUE
 *
 * Strings are most of any body, so they are read sixteen bytes at a time, up to the first that is a quote, a backslash,
 * a control character or the beginning of a longer UTF-8 sequence.
 *
 * A provider may be laxer in finding a member than we are: readers that ignore case (Go, cJSON), that fold the two
 * non-ASCII letters whose lower case is ASCII (Go), or that stop at a NUL (C strings) would take "Model" or
 * "model\u0000x" for the model. A top-level key is therefore compared as the laziest reader would, and accepted as a
 * field only when spelled exactly.
 */
#include "common/json_scan.h"

#include "common/bytes16.h"
#include "common/utf8.h"

enum expect { EXPECT_VALUE, EXPECT_VALUE_OR_END, EXPECT_KEY, EXPECT_KEY_OR_END, EXPECT_SEPARATOR, EXPECT_DONE };

struct scan {
	const uint8_t *p, *end;
	enum expect expect;
	unsigned depth;
	uint64_t objects; /* bit 0: the innermost open bracket is '{' */
	json_visit *visit;
	void *ctx;
	struct json_body *body;
	struct json_value *slot; /* where the value at depth 1 goes, NULL: nowhere */
};

static const struct span scan_names[N_JSON_FIELDS] = {
#define F(NAME, text) [JSON_FIELD_##NAME] = {(const uint8_t *)(text), sizeof(text) - 1},
	JSON_FIELDS(F)
#undef F
};
#define SCAN_NAME_BYTES_MAX 32

/* Which of sixteen bytes are special within a string. As signed numbers, control characters and what is not ASCII both
 * lie below a space. */
static inline mask16 scan_special(const uint8_t *p)
{
	bytes16 b = bytes16_load(p);

	return ((mask16)b < 0x20) | (b == '"') | (b == '\\');
}

static inline bool scan_is_special(uint8_t c)
{
	return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

static inline bool scan_is_plain(const uint8_t p[32])
{
	return !mask16_any(scan_special(p) | scan_special(p + 16));
}

/* The first special byte from `p` on, or `end`. Most strings end within sixteen bytes; one that does not is a text. */
static inline const uint8_t *scan_plain(const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 16) {
		size_t first = mask16_first(scan_special(p));
		p += first;
		if (first < 16)
			return p;
		while (end - p >= 32 && scan_is_plain(p))
			p += 32;
	}
	while (p < end && !scan_is_special(*p))
		p++;
	return p;
}

/* From the opening quote to behind the closing one. */
static int scan_string(struct scan *s, struct json_value *ret_value)
{
	const uint8_t *begin = s->p + 1, *p = begin;
	bool escaped = false;

	for (;;) {
		uint32_t c;
		size_t n;

		p = scan_plain(p, s->end);
		if (p == s->end || *p < 0x20)
			return JSON_SCAN_E_SYNTAX;
		if (*p == '"')
			break;
		if (*p == '\\') {
			escaped = true;
			n = json_escape(p, s->end, &c);
			if (n == 0)
				return JSON_SCAN_E_SYNTAX;
			p += n;
		}
		while (p < s->end && *p >= 0x80) {
			n = utf8_sequence(p, s->end);
			if (n == 0)
				return JSON_SCAN_E_UTF8;
			p += n;
		}
	}
	*ret_value = (struct json_value){JSON_KIND_STRING, escaped, span_of(begin, (size_t)(p - begin))};
	s->p = p + 1;
	return 0;
}

static inline bool scan_is_digit(const uint8_t *p, const uint8_t *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

/* Behind the digits from `p` on; NULL when there are none. */
static const uint8_t *scan_digits(const uint8_t *p, const uint8_t *end)
{
	if (!scan_is_digit(p, end))
		return NULL;
	while (scan_is_digit(p, end))
		p++;
	return p;
}

static int scan_number(struct scan *s, struct json_value *ret_value)
{
	const uint8_t *p = s->p;

	if (*p == '-')
		p++;
	p = p < s->end && *p == '0' ? p + 1 : scan_digits(p, s->end);
	if (p && p < s->end && *p == '.')
		p = scan_digits(p + 1, s->end);
	if (p && p < s->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < s->end && (*p == '+' || *p == '-'))
			p++;
		p = scan_digits(p, s->end);
	}
	if (!p)
		return JSON_SCAN_E_SYNTAX;
	*ret_value = (struct json_value){JSON_KIND_NUMBER, false, span_of(s->p, (size_t)(p - s->p))};
	s->p = p;
	return 0;
}

static int scan_literal(struct scan *s, struct span word, enum json_kind kind, struct json_value *ret_value)
{
	if ((size_t)(s->end - s->p) < word.len || memcmp(s->p, word.p, word.len) != 0)
		return JSON_SCAN_E_SYNTAX;
	*ret_value = (struct json_value){kind, false, span_of(s->p, word.len)};
	s->p += word.len;
	return 0;
}

/* What the laziest reader makes of a character: lower case, for the two non-ASCII letters too. */
static inline uint32_t scan_fold(uint32_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c + ('a' - 'A');
	return c == 0x17f ? 's' : c == 0x212a ? 'k' : c; /* long s, Kelvin sign */
}

/* The folded key, cut at NUL. *ret_exact: it was spelled so. False: longer than any field's name, or not ASCII. */
static bool scan_fold_key(struct span raw, uint8_t to[SCAN_NAME_BYTES_MAX], size_t *ret_len, bool *ret_exact)
{
	const uint8_t *p = raw.p, *end = raw.p + raw.len;
	bool exact = true;
	size_t n = 0;

	while (p < end) {
		uint32_t c = *p, folded;

		p += c == '\\' || c >= 0x80 ? json_char(span_of(p, (size_t)(end - p)), &c) : 1;
		folded = scan_fold(c);
		exact = exact && folded == c && c != 0;
		if (c == 0)
			break;
		if (folded >= 0x80 || n == SCAN_NAME_BYTES_MAX)
			return false;
		to[n++] = (uint8_t)folded;
	}
	*ret_len = n;
	*ret_exact = exact;
	return true;
}

/* Which field a spelling is the name of; N_JSON_FIELDS: of none. */
static size_t scan_find_field(struct span name)
{
	size_t i = 0;

	while (i < N_JSON_FIELDS && !span_eq(scan_names[i], name))
		i++;
	return i;
}

/* A key at depth 1: decides where its value goes. */
static int scan_field(struct scan *s, const struct json_value *key)
{
	uint8_t folded[SCAN_NAME_BYTES_MAX];
	size_t len, i = scan_find_field(key->raw);
	bool exact = true;

	s->slot = NULL;
	if (i == N_JSON_FIELDS && scan_fold_key(key->raw, folded, &len, &exact))
		i = scan_find_field(span_of(folded, len));
	if (i == N_JSON_FIELDS)
		return 0;
	if (!exact || s->body->fields[i].kind != JSON_KIND_ABSENT)
		return JSON_SCAN_E_AMBIGUOUS;
	s->slot = &s->body->fields[i];
	return 0;
}

static inline void scan_space(struct scan *s)
{
	while (s->p < s->end && *s->p <= ' ' && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

static int scan_key(struct scan *s)
{
	struct json_value key;
	int r;

	if (*s->p != '"')
		return JSON_SCAN_E_SYNTAX;
	r = scan_string(s, &key);
	if (r == 0 && s->depth == 1)
		r = scan_field(s, &key);
	if (r == 0 && s->visit)
		r = s->visit(s->ctx, &key, true);
	if (r)
		return r;
	scan_space(s);
	if (s->p == s->end || *s->p != ':')
		return JSON_SCAN_E_SYNTAX;
	s->p++;
	s->expect = EXPECT_VALUE;
	return 0;
}

/* A value ended. `value` is NULL for one that began with a bracket: only its extent is still unknown. */
static void scan_ended(struct scan *s, const struct json_value *value)
{
	struct json_value *slot = s->depth == 0 ? &s->body->value : s->depth == 1 ? s->slot : NULL;

	if (slot && value)
		*slot = *value;
	else if (slot)
		slot->raw.len = (size_t)(s->p - slot->raw.p);
	if (s->depth <= 1)
		s->slot = NULL;
	s->expect = s->depth == 0 ? EXPECT_DONE : EXPECT_SEPARATOR;
}

static int scan_open(struct scan *s, bool object)
{
	struct json_value *slot = s->depth == 0 ? &s->body->value : s->depth == 1 ? s->slot : NULL;

	if (s->depth == JSON_DEPTH_MAX)
		return JSON_SCAN_E_DEPTH;
	if (slot)
		*slot = (struct json_value){object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY, false, span_of(s->p, 0)};
	s->p++;
	s->depth++;
	s->objects = s->objects << 1 | object;
	s->expect = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
	return 0;
}

static int scan_close(struct scan *s)
{
	if (*s->p != (s->objects & 1 ? '}' : ']'))
		return JSON_SCAN_E_SYNTAX;
	s->p++;
	s->depth--;
	s->objects >>= 1;
	scan_ended(s, NULL);
	return 0;
}

static int scan_scalar(struct scan *s, struct json_value *ret_value)
{
	switch (*s->p) {
	case '"':
		return scan_string(s, ret_value);
	case 't':
		return scan_literal(s, SPAN_LIT("true"), JSON_KIND_TRUE, ret_value);
	case 'f':
		return scan_literal(s, SPAN_LIT("false"), JSON_KIND_FALSE, ret_value);
	case 'n':
		return scan_literal(s, SPAN_LIT("null"), JSON_KIND_NULL, ret_value);
	default:
		return scan_number(s, ret_value);
	}
}

static int scan_value(struct scan *s)
{
	struct json_value value;
	int r;

	if (*s->p == '{' || *s->p == '[')
		return scan_open(s, *s->p == '{');
	r = scan_scalar(s, &value);
	if (r == 0 && s->visit && (value.kind == JSON_KIND_STRING || value.kind == JSON_KIND_NUMBER))
		r = s->visit(s->ctx, &value, false);
	if (r)
		return r;
	scan_ended(s, &value);
	return 0;
}

static int scan_separator(struct scan *s)
{
	if (*s->p != ',')
		return scan_close(s);
	s->p++;
	s->expect = s->objects & 1 ? EXPECT_KEY : EXPECT_VALUE;
	return 0;
}

static int scan_step(struct scan *s)
{
	switch (s->expect) {
	case EXPECT_VALUE:
		return scan_value(s);
	case EXPECT_VALUE_OR_END:
		return *s->p == ']' ? scan_close(s) : scan_value(s);
	case EXPECT_KEY:
		return scan_key(s);
	case EXPECT_KEY_OR_END:
		return *s->p == '}' ? scan_close(s) : scan_key(s);
	case EXPECT_SEPARATOR:
		return scan_separator(s);
	case EXPECT_DONE:
		break;
	}
	return JSON_SCAN_E_SYNTAX; /* trailing bytes */
}

int json_scan(struct span text, json_visit *visit, void *ctx, struct json_body *ret_body)
{
	struct json_body body = {0};
	struct scan s = {.p = text.p, .end = text.p + text.len, .visit = visit, .ctx = ctx, .body = &body};
	int r;

	for (scan_space(&s); s.p < s.end; scan_space(&s)) {
		r = scan_step(&s);
		if (r)
			return r;
	}
	if (s.expect != EXPECT_DONE)
		return JSON_SCAN_E_SYNTAX;
	*ret_body = body;
	return 0;
}
