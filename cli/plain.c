/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plain.h"

#include <stdlib.h>

#include "common/utf8.h"

static bool plain_is(uint32_t cp)
{
	return cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0) && !(cp >= 0x2028 && cp <= 0x202e) &&
	       !(cp >= 0x2066 && cp <= 0x2069);
}

/* Takes a character, or a byte that is none or must not be shown. How many bytes may be shown. */
static size_t plain_take(struct span *text)
{
	struct span rest = *text;
	uint32_t cp;
	size_t n = utf8_next(&rest, &cp) && plain_is(cp) ? text->len - rest.len : 0;

	*text = span_of(text->p + MAX(n, (size_t)1), text->len - MAX(n, (size_t)1));
	return n;
}

bool plain_is_text(struct span text)
{
	while (text.len > 0)
		if (*text.p == '\n')
			text = span_of(text.p + 1, text.len - 1);
		else if (plain_take(&text) == 0)
			return false;
	return true;
}

void plain_text(char *text)
{
	struct span rest = span_str(text);

	while (rest.len > 0) {
		char *at = text + (rest.p - (const uint8_t *)text);
		if (plain_take(&rest) == 0)
			*at = '?';
	}
}

void plain_vline(FILE *to, const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0) {
		fprintf(to, "%s\n", format); /* no memory: that much can be said */
		return;
	}
	plain_text(text);
	fprintf(to, "%s\n", text);
	free(text);
}

void plain_line(FILE *to, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	plain_vline(to, format, args);
	va_end(args);
}

void plain_word(FILE *to, struct span text)
{
	while (text.len > 0) {
		const uint8_t *p = text.p;
		size_t n = plain_take(&text);
		if (n > 0 && *p != ' ')
			fwrite(p, 1, n, to);
		else
			fputc('?', to);
	}
}
