/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/egress/text.h"

/* Room for `len` more bytes, taken; NULL when there is none. */
static uint8_t *text_take(struct text *t, size_t len)
{
	if (len > t->cap - t->len) {
		t->full = true;
		return NULL;
	}
	t->len += len;
	return t->to + t->len - len;
}

void text_put_u64(struct text *t, uint64_t v)
{
	size_t len = 1;

	for (uint64_t rest = v / 10; rest > 0; rest /= 10)
		len++;
	uint8_t *to = text_take(t, len);
	for (; to && len > 0; v /= 10)
		to[--len] = (uint8_t)('0' + v % 10);
}

void text_put_hex(struct text *t, struct span s)
{
	uint8_t *to = text_take(t, 2 * s.len);

	for (size_t i = 0; to && i < s.len; i++) {
		*to++ = (uint8_t) "0123456789abcdef"[s.p[i] >> 4];
		*to++ = (uint8_t) "0123456789abcdef"[s.p[i] & 15];
	}
}

static bool text_unreserved(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

void text_put_escaped(struct text *t, struct span s, char keep)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];
		bool plain = text_unreserved(c) || (keep && c == (uint8_t)keep);
		uint8_t *to = text_take(t, plain ? 1 : 3);
		if (!to)
			return;
		to[0] = plain ? c : '%';
		if (plain)
			continue;
		to[1] = (uint8_t) "0123456789ABCDEF"[c >> 4];
		to[2] = (uint8_t) "0123456789ABCDEF"[c & 15];
	}
}

void text_put_json(struct text *t, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			text_put_str(t, "\\");
		text_put(t, span_of(&s.p[i], 1));
	}
}

static void text_put_sextets(struct text *t, struct span s, const char *digits, bool pad)
{
	size_t rest = s.len % 3, len = s.len / 3 * 4 + (rest ? (pad ? 4 : rest + 1) : 0);
	uint8_t *to = text_take(t, len);

	for (size_t i = 0, out = 0; to && out < len; i += 3) {
		size_t n = MIN(s.len - i, (size_t)3);
		uint32_t w = (uint32_t)s.p[i] << 16 | (n > 1 ? (uint32_t)s.p[i + 1] << 8 : 0) |
			     (n > 2 ? (uint32_t)s.p[i + 2] : 0);
		for (size_t k = 0; k < 4 && out < len; k++, out++)
			to[out] = k <= n ? (uint8_t)digits[w >> (18 - 6 * k) & 63] : '=';
	}
}

void text_put_base64(struct text *t, struct span s)
{
	text_put_sextets(t, s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true);
}

void text_put_base64url(struct text *t, struct span s)
{
	text_put_sextets(t, s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false);
}

static int text_sextet(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_get_base64(struct span s, uint8_t *to, size_t *ret_len)
{
	size_t pad = s.len > 1 && s.p[s.len - 1] == '=' ? (s.p[s.len - 2] == '=' ? 2 : 1) : 0;
	uint32_t w = 0;
	size_t n = 0;

	if (s.len % 4 != 0)
		return false;
	for (size_t i = 0; i < s.len - pad; i++) {
		int v = text_sextet(s.p[i]);
		if (v < 0)
			return false;
		w = w << 6 | (uint32_t)v;
		if (i % 4 > 0)
			to[n++] = (uint8_t)(w >> (6 - 2 * (i % 4)));
	}
	/* The last sextet's unused bits are zero: "QQ==" is an A, "QR==" nothing. */
	if ((pad == 1 && (w & 3)) || (pad == 2 && (w & 15)))
		return false;
	*ret_len = n;
	return true;
}
