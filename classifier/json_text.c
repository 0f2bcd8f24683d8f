/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the way back no table of offsets is kept: most values have no escapes and are just shifted, and in the others the
 * place is found by decoding once more. A cursor makes that linear in the batch however many ranges are asked for.
 *
 * A string may hold JSON again: the arguments of a tool's call, and what tools answer. Then `\n` before an address is
 * not a letter of it, and a label in its place would leave a backslash that is no escape. So backslashes in a decoded
 * string, however many, are one character with what follows when that makes an escape, else one that ends every
 * finding. In a text that is no JSON this may take the first letter of what stands behind a backslash for an escape.
 */
#include "classifier/json_text.h"

#include <assert.h>

#include "classifier/recognise.h"
#include "common/err.h"

static const uint8_t text_barrier = TEXT_BARRIER;

void json_text_init(struct json_text *t, size_t bytes_max)
{
	/* decoding never lengthens: \u00e9 is two bytes from six */
	buf_init(&t->text, JSON_TEXT_BYTES + bytes_max + 2);
	json_text_reset(t);
}

void json_text_deinit(struct json_text *t)
{
	buf_deinit(&t->text);
}

void json_text_reset(struct json_text *t)
{
	buf_reset(&t->text);
	t->n_pieces = t->at_piece = t->at_text = t->at_raw = 0;
}

/* The first character once JSON's own escapes are decoded; 0 at the end. */
static size_t text_next(struct span raw, size_t at, uint32_t *ret_char)
{
	return at < raw.len ? json_char(span_of(raw.p + at, raw.len - at), ret_char) : 0;
}

/* Behind the four hexadecimal digits at `at`; 0 when they are not. Half of a pair is no character. */
static size_t text_unit(struct span raw, size_t at, uint32_t *ret_char)
{
	uint32_t unit = 0, c = 0;

	for (unsigned i = 0; i < 4; i++) {
		size_t used = text_next(raw, at, &c);
		int digit = used > 0 ? json_hex_digit(c) : -1;

		if (digit < 0)
			return 0;
		unit = unit << 4 | (uint32_t)digit;
		at += used;
	}
	*ret_char = unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit;
	return at;
}

/* The first character of a string, not empty, that may hold JSON: what it is, and how many raw bytes spell it. */
static size_t text_char(struct span raw, uint32_t *ret_char)
{
	static const char names[] = "\"/bfnrt", stand_for[] = "\"/\b\f\n\r\t";
	uint32_t c = 0, unit;
	size_t at = json_char(raw, ret_char), used, end;

	if (*ret_char != '\\')
		return at;
	while ((used = text_next(raw, at, &c)) > 0 && c == '\\')
		at += used;
	if (used == 0)
		return at;
	const char *name = c > 0 && c < 0x80 ? strchr(names, (int)c) : NULL;
	if (name) {
		*ret_char = (uint32_t)stand_for[name - names];
		return at + used;
	}
	end = c == 'u' ? text_unit(raw, at + used, &unit) : 0;
	if (end == 0)
		return at;
	*ret_char = unit;
	return end;
}

static size_t text_decode(struct span raw, uint8_t *to)
{
	uint8_t *begin = to;

	while (raw.len > 0) {
		const uint8_t *escape = memchr(raw.p, '\\', raw.len);
		size_t plain = escape ? (size_t)(escape - raw.p) : raw.len, used;
		uint32_t c;

		memcpy(to, raw.p, plain);
		to += plain;
		raw = span_of(raw.p + plain, raw.len - plain);
		if (raw.len == 0)
			break;
		used = text_char(raw, &c);
		to += json_utf8(c, to);
		raw = span_of(raw.p + used, raw.len - used);
	}
	return (size_t)(to - begin);
}

int json_text_add(struct json_text *t, const struct json_value *value)
{
	uint8_t *to;
	size_t n;
	int r;

	if (t->n_pieces == JSON_TEXT_VALUES || buf_len(&t->text) > JSON_TEXT_BYTES)
		return JSON_TEXT_E_FULL;
	r = buf_reserve(&t->text, value->raw.len + 2, &to);
	if (r)
		return err_fold(r);
	n = 0;
	if (t->n_pieces == 0)
		to[n++] = text_barrier;
	t->pieces[t->n_pieces++] =
		(struct json_piece){buf_len(&t->text) + n, value->raw, value->escaped, value->kind == JSON_KIND_NUMBER};
	if (value->escaped) {
		n += text_decode(value->raw, to + n);
	} else {
		memcpy(to + n, value->raw.p, value->raw.len);
		n += value->raw.len;
	}
	to[n++] = text_barrier;
	buf_commit(&t->text, n);
	return 0;
}

struct span json_text_span(const struct json_text *t)
{
	return buf_span(&t->text);
}

/* Moves the cursor to the piece that holds `begin`. */
static const struct json_piece *text_seek_piece(struct json_text *t, size_t begin)
{
	size_t i = t->at_piece;

	while (i + 1 < t->n_pieces && t->pieces[i + 1].begin <= begin)
		i++;
	if (i != t->at_piece || t->at_text == 0) {
		t->at_piece = i;
		t->at_text = t->pieces[i].begin;
		t->at_raw = 0;
	}
	return &t->pieces[i];
}

/* Moves the cursor on to `to` in the decoded text; where that is in the raw bytes. */
static size_t text_seek(struct json_text *t, const struct json_piece *piece, size_t to)
{
	assert(to >= t->at_text);
	if (!piece->escaped)
		return to - piece->begin;
	while (t->at_text < to) {
		uint8_t utf8[4];
		uint32_t c;

		assert(t->at_raw < piece->raw.len);
		t->at_raw += text_char(span_of(piece->raw.p + t->at_raw, piece->raw.len - t->at_raw), &c);
		t->at_text += json_utf8(c, utf8);
	}
	assert(t->at_text == to);
	return t->at_raw;
}

struct json_range json_text_raw(struct json_text *t, size_t begin, size_t end)
{
	const struct json_piece *piece = text_seek_piece(t, begin);
	size_t raw_begin = text_seek(t, piece, begin), raw_end = text_seek(t, piece, end);

	assert(raw_begin <= raw_end && raw_end <= piece->raw.len);
	return (struct json_range){span_of(piece->raw.p + raw_begin, raw_end - raw_begin), piece->number};
}
