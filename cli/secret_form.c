/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/secret_form.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/config.h"
#include "common/json_member.h"
#include "common/json_scan.h"

#define FORM_NAMES_MAX 3

struct form_out {
	uint8_t *to;
	size_t len, cap;
	struct secret_form_result *ret;
};

static int form_wrong(struct form_out *out, const char *format, ...) PRINTF_LIKE(2, 3);
static int form_wrong(struct form_out *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(out->ret->why, sizeof(out->ret->why), format, args);
	va_end(args);
	return SECRET_FORM_E_INVALID;
}

static int form_put(struct form_out *out, struct span s)
{
	if (s.len > out->cap - out->len)
		return form_wrong(out, "it is too long");
	memcpy(out->to + out->len, s.p, s.len);
	out->len += s.len;
	return 0;
}

/* Visible ASCII, and of the characters `more` besides letters and digits where it is not NULL. */
static bool form_is_of(struct span s, const char *more)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (c <= 0x20 || c >= 0x7f || (more && !letter && !strchr(more, c)))
			return false;
	}
	return s.len > 0;
}

static struct span form_trim(struct span s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r'))
		s = span_of(s.p + 1, s.len - 1);
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t' || s.p[s.len - 1] == '\r'))
		s.len--;
	return s;
}

/* ---- one line ---- */

static int form_plain(struct form_out *out, struct span text)
{
	if (!form_is_of(text, NULL))
		return form_wrong(out, "a key is one line of visible ASCII without spaces");
	return form_put(out, text);
}

static int form_basic(struct form_out *out, struct span text)
{
	const uint8_t *colon = text.len ? memchr(text.p, ':', text.len) : NULL;

	if (!colon || colon == text.p || colon + 1 == text.p + text.len)
		return form_wrong(out, "give USER:PASSWORD, in one line");
	if (!form_is_of(text, NULL))
		return form_wrong(out, "user and password must be visible ASCII without spaces");
	return form_put(out, text);
}

/* ---- lines of NAME = VALUE ---- */

struct form_line {
	const char *name;
	bool needed;
	const char *more; /* as form_is_of() */
};

static int form_line_value(struct form_out *out, const struct form_line *lines, size_t n, struct span line,
			   unsigned number, struct span *values)
{
	const uint8_t *equals = memchr(line.p, '=', line.len);
	struct span name = form_trim(span_of(line.p, equals ? (size_t)(equals - line.p) : 0));

	if (!equals)
		return form_wrong(out, "line %u is not NAME = VALUE", number);
	for (size_t i = 0; i < n; i++) {
		if (!span_eq_str(name, lines[i].name))
			continue;
		if (values[i].p)
			return form_wrong(out, "%s is given twice", lines[i].name);
		values[i] = form_trim(span_of(equals + 1, line.len - (size_t)(equals + 1 - line.p)));
		if (!form_is_of(values[i], lines[i].more))
			return form_wrong(out, "%s is empty or has characters that it cannot have", lines[i].name);
		return 0;
	}
	return form_wrong(out, "line %u: the names are %s%s%s%s%s", number, lines[0].name, n > 1 ? ", " : "",
			  n > 1 ? lines[1].name : "", n > 2 ? ", " : "", n > 2 ? lines[2].name : "");
}

/* A profile's heading, comments and empty lines are passed over. */
static int form_lines(struct form_out *out, const struct form_line *lines, size_t n, struct span text,
		      struct span values[FORM_NAMES_MAX])
{
	for (unsigned number = 1; text.len > 0; number++) {
		const uint8_t *end = memchr(text.p, '\n', text.len);
		size_t len = end ? (size_t)(end - text.p) : text.len;
		struct span line = form_trim(span_of(text.p, len));

		text = span_of(text.p + len + (end != NULL), text.len - len - (end != NULL));
		if (line.len == 0 || line.p[0] == '#' || line.p[0] == ';' || line.p[0] == '[')
			continue;
		int r = form_line_value(out, lines, n, line, number, values);
		if (r)
			return r;
	}
	for (size_t i = 0; i < n; i++)
		if (lines[i].needed && !values[i].p)
			return form_wrong(out, "the line `%s = ...` is missing", lines[i].name);
	return 0;
}

static int form_sigv4(struct form_out *out, struct span text)
{
	static const struct form_line lines[] = {{"aws_access_key_id", true, ""},
						 {"aws_secret_access_key", true, "/+="},
						 {"aws_session_token", false, "/+=-_"}};
	struct span values[FORM_NAMES_MAX] = {{0}};
	int r = form_lines(out, lines, ARRAY_LEN(lines), text, values);

	if (!r && (values[0].len < 16 || values[0].len > 128))
		return form_wrong(out, "aws_access_key_id has 16 to 128 letters and digits");
	for (size_t i = 0; !r && i < ARRAY_LEN(lines) && values[i].p; i++) {
		r = i > 0 ? form_put(out, SPAN_LIT(":")) : 0;
		if (!r)
			r = form_put(out, values[i]);
	}
	return r;
}

/* As application/x-www-form-urlencoded, which is how it is sent. */
static int form_put_member(struct form_out *out, const char *name, struct span value)
{
	int r = out->len > 0 ? form_put(out, SPAN_LIT("&")) : 0;

	if (!r)
		r = form_put(out, span_str(name));
	if (!r)
		r = form_put(out, SPAN_LIT("="));
	for (size_t i = 0; !r && i < value.len; i++) {
		uint8_t c = value.p[i];
		uint8_t escaped[3] = {'%', (uint8_t) "0123456789ABCDEF"[c >> 4], (uint8_t) "0123456789ABCDEF"[c & 15]};
		r = form_put(out, form_is_of(span_of(&c, 1), "-._~") ? span_of(&c, 1) : span_of(escaped, 3));
	}
	return r;
}

static int form_oauth(struct form_out *out, struct span text, bool refresh)
{
	const struct form_line lines[] = {{"client_secret", !refresh, NULL}, {"refresh_token", true, NULL}};
	struct span values[FORM_NAMES_MAX] = {{0}};
	int r = form_lines(out, lines, refresh ? 2 : 1, text, values);

	if (!r && values[0].p)
		r = form_put_member(out, lines[0].name, values[0]);
	return r || !refresh ? r : form_put_member(out, lines[1].name, values[1]);
}

/* ---- a service account ---- */

/* A string member of visible ASCII, as it stands in the file. */
static int form_member(struct form_out *out, struct span object, const char *name, struct span *ret)
{
	struct json_value value;

	if (json_member_find(object, name, &value) != 1 || value.kind != JSON_KIND_STRING || value.escaped ||
	    !form_is_of(value.raw, NULL))
		return form_wrong(out, "the file has no usable %s", name);
	*ret = value.raw;
	return 0;
}

/* The base64 between the lines of a PEM, whose line ends the file spells as \n, or in rare cases \r\n. */
static int form_pem(struct form_out *out, struct span object)
{
	static const char begin[] = "-----BEGIN PRIVATE KEY-----", end[] = "-----END PRIVATE KEY-----";
	size_t at = out->len, len = 0, n = 0;
	struct json_value value;

	if (json_member_find(object, "private_key", &value) != 1 ||
	    json_text(&value, out->to + at, out->cap - at, &len))
		return form_wrong(out, "the file has no usable private_key");
	const uint8_t *text = out->to + at, *last = memmem(text, len, end, sizeof(end) - 1);
	if (len < sizeof(begin) || !span_eq_str(span_of(text, sizeof(begin) - 1), begin) || !last)
		return form_wrong(out, "private_key is not a PEM of a PRIVATE KEY");
	for (const uint8_t *p = text + sizeof(begin) - 1; p < last; p++)
		if (*p != '\n' && *p != '\r')
			out->to[at + n++] = *p;
	struct span base64 = span_of(out->to + at, n);
	if (n % 4 || n < 1024 || base64.p[0] != 'M' || !form_is_of(base64, "+/="))
		return form_wrong(out, "private_key is not an RSA key of 2048 bits or more in base64");
	explicit_bzero(out->to + at + n, len - n);
	out->len = at + n;
	return 0;
}

static int form_google(struct form_out *out, struct span text, const char *token_url)
{
	struct span type, account, key_id, token_uri;
	struct json_body body;

	if (json_scan(text, NULL, NULL, &body) || body.value.kind != JSON_KIND_OBJECT)
		return form_wrong(out, "give the JSON file of the service account's key");
	struct span object = body.value.raw;
	int r = form_member(out, object, "type", &type);
	if (!r && !span_eq_str(type, "service_account"))
		return form_wrong(out, "the file is of type %.*s, not service_account", (int)MIN(type.len, (size_t)32),
				  type.p);
	if (!r)
		r = form_member(out, object, "client_email", &account);
	if (!r)
		r = form_member(out, object, "private_key_id", &key_id);
	if (!r)
		r = form_member(out, object, "token_uri", &token_uri);
	if (r)
		return r;
	if (!span_eq_str(token_uri, token_url))
		return form_wrong(out, "the file says token_uri %.*s; if that is right, set token_url to it",
				  (int)MIN(token_uri.len, (size_t)100), token_uri.p);
	if (account.len > SECRET_FORM_ID_BYTES || !form_is_of(account, "@._-+") || key_id.len > 64 ||
	    !form_is_of(key_id, "-_"))
		return form_wrong(out, "client_email or private_key_id has characters that it cannot have");
	memcpy(out->ret->client_id, account.p, account.len);
	out->ret->client_id[account.len] = 0;
	r = form_put(out, key_id);
	if (!r)
		r = form_put(out, SPAN_LIT(":"));
	return r ? r : form_pem(out, object);
}

/* ---- all of them ---- */

bool secret_form_has_lines(unsigned auth)
{
	return auth > CONFIG_AUTH_BASIC;
}

int secret_form_read(const struct secret_form *form, struct span text, uint8_t *to, size_t cap,
		     struct secret_form_result *ret)
{
	struct form_out out = {.to = to, .cap = cap, .ret = ret};
	int r;

	*ret = (struct secret_form_result){0};
	switch (form->auth) {
	case CONFIG_AUTH_BASIC:
		r = form_basic(&out, text);
		break;
	case CONFIG_AUTH_SIGV4:
		r = form_sigv4(&out, text);
		break;
	case CONFIG_AUTH_GOOGLE:
		r = form_google(&out, text, form->token_url);
		break;
	case CONFIG_AUTH_OAUTH_REFRESH:
	case CONFIG_AUTH_OAUTH_CLIENT:
		r = form_oauth(&out, text, form->auth == CONFIG_AUTH_OAUTH_REFRESH);
		break;
	default:
		r = form_plain(&out, text);
	}
	ret->len = r ? 0 : out.len;
	return r;
}
