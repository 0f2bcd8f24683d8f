/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/audit_csv.h"

/* What a spreadsheet drops before it looks: blanks, the no-break space, the byte order mark, the full-width space. */
static struct span csv_skip(struct span text)
{
	static const char *const dropped[] = {" ", "\xc2\xa0", "\xef\xbb\xbf", "\xe3\x80\x80"};

	for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
		size_t n = strlen(dropped[i]);
		if (text.len >= n && memcmp(text.p, dropped[i], n) == 0) {
			text = span_of(text.p + n, text.len - n);
			i = SIZE_MAX; /* and once more */
		}
	}
	return text;
}

bool audit_csv_is_formula(struct span text)
{
	/* The last four: full-width = + - @ */
	static const char *const begins[] = {"=",
					     "+",
					     "-",
					     "@",
					     "|",
					     "%",
					     "\t",
					     "\r",
					     "\n",
					     "\v",
					     "\xef\xbc\x9d",
					     "\xef\xbc\x8b",
					     "\xef\xbc\x8d",
					     "\xef\xbc\xa0"};

	text = csv_skip(text);
	for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
		size_t n = strlen(begins[i]);
		if (text.len >= n && memcmp(text.p, begins[i], n) == 0)
			return true;
	}
	return false;
}

void audit_csv_text(FILE *to, struct span text)
{
	fputc('"', to);
	if (audit_csv_is_formula(text))
		fputc('\'', to);
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '"')
			fputc('"', to);
		fputc(text.p[i] == 0 ? '?' : text.p[i], to);
	}
	fputc('"', to);
}
