/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoders differ in which characters they leave alone and in how they spell the others; the tables say so. A key made
 * of letters and digits alone looks the same in most rows, and such doubles cost nothing (scrub.c keeps one).
 *
 * Base64 cuts bytes into sextets. Whatever stands before and after the secret in the encoded text ("user:" of Basic
 * authentication, say), the characters that depend on the secret alone are one of three texts, by the number of bytes
 * before it modulo 3. The characters at either edge that also depend on neighbouring bytes are not part of the form:
 * less than a byte's worth of the secret stays at each end. Padding follows such a character, so that it makes no
 * difference.
 */
#include "keyvault/egress/scrub_forms.h"

#include <assert.h>
#include <string.h>

struct scrub_form;
typedef size_t scrub_form_fn(const struct scrub_form *f, struct span secret, uint8_t *to);

static scrub_form_fn form_raw, form_json, form_url, form_hex, form_base64;

struct scrub_form {
	scrub_form_fn *write;
	const char *set; /* JSON: written as \uXXXX; URL: left alone besides letters and digits; NULL: every, no
			    character */
	bool upper;      /* hexadecimal digits */
	bool other;      /* JSON: / as \/; URL: a space as +; base64: the alphabet with - and _ */
	size_t lead;     /* base64: bytes before the secret, modulo 3 */
};

static const struct scrub_form scrub_forms[] = {
	{.write = form_raw},
	{.write = form_json, .set = ""},                      /* no more than must be: most */
	{.write = form_json, .set = "", .other = true},       /* PHP */
	{.write = form_json, .set = "<>&"},                   /* Go, Rails */
	{.write = form_json, .set = "<>&'="},                 /* Gson */
	{.write = form_json, .set = "<>&'\""},                /* Newtonsoft, for HTML */
	{.write = form_json, .set = "<>&'\"", .upper = true}, /* PHP with JSON_HEX_*, slashes as they are */
	{.write = form_json, .set = "<>&'\"", .upper = true, .other = true}, /* PHP with JSON_HEX_* */
	{.write = form_json, .set = "<>&'/"},                                /* for HTML: Jackson, Spring */
	{.write = form_json, .set = "\"<>&'+`", .upper = true},              /* .NET */
	{.write = form_json, .set = NULL},                                   /* everything */
	{.write = form_json, .set = NULL, .upper = true},
	{.write = form_url, .set = "-._~", .upper = true}, /* RFC 3986 */
	{.write = form_url, .set = "-._~"},
	{.write = form_url, .set = "-._~/", .upper = true}, /* Python's quote() */
	{.write = form_url, .set = "-._~/"},
	{.write = form_url, .set = "-._~!'()*", .upper = true},            /* encodeURIComponent */
	{.write = form_url, .set = "-._~!'()*;,/?:@&=+$#", .upper = true}, /* encodeURI */
	{.write = form_url, .set = "-._~!'()*;,/?:@&=+$", .upper = true},  /* Go's path, Ruby */
	{.write = form_url,
	 .set = "-._~",
	 .upper = true,
	 .other = true}, /* Python's quote_plus(), Go's QueryEscape() */
	{.write = form_url, .set = "*-._", .upper = true, .other = true},     /* forms: browsers, Java */
	{.write = form_url, .set = "-._", .upper = true, .other = true},      /* PHP */
	{.write = form_url, .set = "-._~!*()", .upper = true, .other = true}, /* .NET */
	{.write = form_url, .set = "", .upper = true},                        /* all but letters and digits */
	{.write = form_url, .set = ""},
	{.write = form_url, .set = NULL, .upper = true}, /* everything */
	{.write = form_url, .set = NULL},
	{.write = form_hex, .upper = true},
	{.write = form_hex},
	{.write = form_base64, .lead = 0},
	{.write = form_base64, .lead = 1},
	{.write = form_base64, .lead = 2},
	{.write = form_base64, .lead = 0, .other = true},
	{.write = form_base64, .lead = 1, .other = true},
	{.write = form_base64, .lead = 2, .other = true},
};

static_assert(ARRAY_LEN(scrub_forms) == SCRUB_FORMS, "one row for each form");

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

static size_t form_raw(const struct scrub_form *f, struct span secret, uint8_t *to)
{
	(void)f;
	memcpy(to, secret.p, secret.len);
	return secret.len;
}

static size_t form_hex(const struct scrub_form *f, struct span secret, uint8_t *to)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++)
		n += scrub_put_hex(to + n, secret.p[i], f->upper);
	return n;
}

static size_t form_base64(const struct scrub_form *f, struct span secret, uint8_t *to)
{
	const char *alphabet = f->other ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
					: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0,
	       bit = f->lead == 0 ? 0 : (f->lead == 1 ? 4 : 2); /* the first whole sextet, in bits of the secret */

	for (; bit + 6 <= secret.len * 8; bit += 6) {
		unsigned two = (unsigned)secret.p[bit / 8] << 8;
		if (bit / 8 + 1 < secret.len)
			two |= secret.p[bit / 8 + 1];
		to[n++] = (uint8_t)alphabet[two >> (10 - bit % 8) & 63];
	}
	return n;
}

static size_t form_url(const struct scrub_form *f, struct span secret, uint8_t *to)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++) {
		uint8_t c = secret.p[i];
		if (f->set && (scrub_alnum(c) || scrub_in(f->set, c))) {
			to[n++] = c;
		} else if (c == ' ' && f->other) {
			to[n++] = '+';
		} else {
			to[n++] = '%';
			n += scrub_put_hex(to + n, c, f->upper);
		}
	}
	return n;
}

static size_t form_json(const struct scrub_form *f, struct span secret, uint8_t *to)
{
	size_t n = 0;

	for (size_t i = 0; i < secret.len; i++) {
		uint8_t c = secret.p[i];
		if (c < 0x20 || !f->set || scrub_in(f->set, c)) {
			memcpy(to + n, "\\u00", 4);
			n += 4;
			n += scrub_put_hex(to + n, c, f->upper);
			continue;
		}
		if (c == '"' || c == '\\' || (c == '/' && f->other))
			to[n++] = '\\';
		to[n++] = c;
	}
	return n;
}

size_t scrub_form_write(size_t i, struct span secret, uint8_t *to)
{
	assert(i < SCRUB_FORMS);
	return scrub_forms[i].write(&scrub_forms[i], secret, to);
}
