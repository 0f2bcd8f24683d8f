/* SPDX-License-Identifier: Apache-2.0 */
/* The text is known to be valid, so only its structure is looked at; the end is checked all the same. */
#include "common/json_member.h"

static void member_skip(struct span *s, size_t n)
{
	n = MIN(n, s->len);
	*s = span_of(s->p + n, s->len - n);
}

static void member_space(struct span *s)
{
	while (s->len > 0 && (s->p[0] <= ' ' || s->p[0] == ',' || s->p[0] == ':'))
		member_skip(s, 1);
}

/* At a quote: to behind the one that closes it. */
static struct json_value member_string(struct span *s)
{
	struct json_value v = {.kind = JSON_KIND_STRING};
	size_t at = 1;

	for (; at < s->len && s->p[at] != '"'; at += s->p[at] == '\\' ? 2 : 1)
		v.escaped |= s->p[at] == '\\';
	at = MIN(at, s->len);
	v.raw = span_of(s->p + 1, at - 1);
	member_skip(s, at + 1);
	return v;
}

/* At an opening bracket: to behind its closing one. */
static struct json_value member_nested(struct span *s)
{
	struct json_value v = {.kind = s->p[0] == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY, .raw = *s};
	size_t depth = 0;

	while (s->len > 0) {
		uint8_t c = s->p[0];
		if (c == '"') {
			(void)member_string(s);
			continue;
		}
		member_skip(s, 1);
		depth += c == '{' || c == '[';
		if ((c == '}' || c == ']') && --depth == 0)
			break;
	}
	v.raw.len -= s->len;
	return v;
}

static struct json_value member_scalar(struct span *s)
{
	enum json_kind kind = s->p[0] == 't'   ? JSON_KIND_TRUE
			      : s->p[0] == 'f' ? JSON_KIND_FALSE
			      : s->p[0] == 'n' ? JSON_KIND_NULL
					       : JSON_KIND_NUMBER;
	size_t n = 0;

	while (n < s->len && s->p[n] > ' ' && s->p[n] != ',' && s->p[n] != '}' && s->p[n] != ']')
		n++;
	struct json_value v = {.kind = kind, .raw = span_of(s->p, n)};
	member_skip(s, n);
	return v;
}

bool json_member_next(struct span *rest, struct json_value *ret_key, struct json_value *ret_value)
{
	if (rest->len > 0 && rest->p[0] == '{')
		member_skip(rest, 1);
	member_space(rest);
	if (rest->len == 0 || rest->p[0] != '"')
		return false;
	*ret_key = member_string(rest);
	member_space(rest);
	if (rest->len == 0)
		return false;
	*ret_value = rest->p[0] == '"'                        ? member_string(rest)
		     : rest->p[0] == '{' || rest->p[0] == '[' ? member_nested(rest)
							      : member_scalar(rest);
	return true;
}

unsigned json_member_find(struct span object, const char *name, struct json_value *ret_value)
{
	struct json_value key, value;
	unsigned n = 0;

	*ret_value = (struct json_value){.kind = JSON_KIND_ABSENT};
	while (n < 2 && json_member_next(&object, &key, &value))
		if (span_eq_str(key.raw, name)) {
			*ret_value = value;
			n++;
		}
	return n;
}
