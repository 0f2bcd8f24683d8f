/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 in the two strict forms of the age format. */
#include <assert.h>
#include <sodium.h>

#include "keyvault/age.h"

#include "common/base64.h"

#define AGE_ARMOR_BEGIN "-----BEGIN AGE ENCRYPTED FILE-----"
#define AGE_ARMOR_END   "-----END AGE ENCRYPTED FILE-----"
#define AGE_COLUMNS     64
#define AGE_LINE_BYTES  (AGE_COLUMNS / 4 * 3)

bool age_base64(struct span text, uint8_t *ret_bytes, size_t len)
{
	size_t n;

	return text.len == sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) - 1 &&
	       base64_decode(BASE64_STANDARD_RAW, text, ret_bytes, len, &n) && n == len;
}

static void age_put(uint8_t *to, size_t *len, const void *bytes, size_t n)
{
	memcpy(to + *len, bytes, n);
	*len += n;
}

bool age_armor(struct span bytes, uint8_t ret_text[AGE_FILE_MAX], size_t *ret_len)
{
	size_t lines = (bytes.len + AGE_LINE_BYTES - 1) / AGE_LINE_BYTES, len = 0;

	if (sizeof(AGE_ARMOR_BEGIN) + sizeof(AGE_ARMOR_END) + lines * (AGE_COLUMNS + 1) > AGE_FILE_MAX)
		return false;
	age_put(ret_text, &len, AGE_ARMOR_BEGIN "\n", sizeof(AGE_ARMOR_BEGIN));
	for (size_t at = 0; at < bytes.len; at += AGE_LINE_BYTES) {
		char line[AGE_COLUMNS + 1];

		(void)sodium_bin2base64(line, sizeof(line), bytes.p + at, MIN(bytes.len - at, (size_t)AGE_LINE_BYTES),
					sodium_base64_VARIANT_ORIGINAL);
		age_put(ret_text, &len, line, strlen(line));
		age_put(ret_text, &len, "\n", 1);
	}
	age_put(ret_text, &len, AGE_ARMOR_END "\n", sizeof(AGE_ARMOR_END));
	*ret_len = len;
	return true;
}

static struct span age_trim(struct span s)
{
	while (s.len > 0 && memchr(" \t\r\n", s.p[0], 4))
		s = span_of(s.p + 1, s.len - 1);
	while (s.len > 0 && memchr(" \t\r\n", s.p[s.len - 1], 4))
		s.len--;
	return s;
}

bool age_is_armored(struct span file)
{
	struct span s = age_trim(file);

	return s.len >= strlen(AGE_ARMOR_BEGIN) && memcmp(s.p, AGE_ARMOR_BEGIN, strlen(AGE_ARMOR_BEGIN)) == 0;
}

/* The next line, without its end (LF or CRLF); the last one needs none. */
static struct span age_next_line(struct span *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;
	size_t len = end ? (size_t)(end - rest->p) : rest->len;
	struct span line = span_of(rest->p, len);

	*rest = span_of(rest->p + len + (end != NULL), rest->len - len - (end != NULL));
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	return line;
}

bool age_unarmor(struct span text, uint8_t ret_bytes[AGE_FILE_MAX], size_t *ret_len)
{
	struct span rest = age_trim(text), line = age_next_line(&rest);
	bool last = false;
	size_t len = 0, n;

	if (text.len > AGE_FILE_MAX || !span_eq_str(line, AGE_ARMOR_BEGIN))
		return false;
	for (line = age_next_line(&rest); !span_eq_str(line, AGE_ARMOR_END); line = age_next_line(&rest)) {
		if (last || line.len == 0 || line.len > AGE_COLUMNS ||
		    !base64_decode(BASE64_STANDARD, line, ret_bytes + len, AGE_LINE_BYTES, &n))
			return false;
		last = n < AGE_LINE_BYTES;
		len += n;
	}
	*ret_len = len;
	return rest.len == 0;
}
