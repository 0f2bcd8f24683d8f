/* SPDX-License-Identifier: Apache-2.0 */
#include "common/note.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base64.h"
#include "common/bytes.h"
#include "common/utf8.h"

#define NOTE_DASH     "\xe2\x80\x94 " /* em dash, space */
#define NOTE_ID_BYTES 4
/* The longest signature worth decoding is ours; others (cosignatures, post-quantum) are only checked for their form. */
#define NOTE_OTHER_SIG_MAX 8192
#define NOTE_TIME_BYTES    8
/* "cosignature/v1\ntime 9223372036854775807\n" */
#define NOTE_COSIGNED_HEAD_MAX 40

/* ---- text ---- */

/* UTF-8 without control characters other than newline. */
static bool note_text_valid(struct span text)
{
	uint32_t cp;

	while (text.len > 0)
		if (!utf8_next(&text, &cp) || (cp < 0x20 && cp != '\n') || cp == 0x7f)
			return false;
	return true;
}

static bool note_is_space(uint32_t cp)
{
	return cp <= 0x20 || cp == 0x7f || cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool note_name_valid(struct span name)
{
	uint32_t cp;

	if (name.len == 0 || name.len > NOTE_NAME_MAX)
		return false;
	while (name.len > 0)
		if (!utf8_next(&name, &cp) || note_is_space(cp) || cp == '+')
			return false;
	return true;
}

bool note_take(struct span *in, char end, struct span *ret)
{
	const uint8_t *at = in->len ? memchr(in->p, end, in->len) : NULL;

	if (!at)
		return false;
	size_t len = (size_t)(at - in->p);
	*ret = span_of(in->p, len);
	*in = span_of(at + 1, in->len - len - 1);
	return true;
}

bool note_decimal(struct span in, uint64_t *ret)
{
	uint64_t value = 0;

	if (in.len == 0 || (in.len > 1 && in.p[0] == '0'))
		return false;
	for (size_t i = 0; i < in.len; i++)
		if (in.p[i] < '0' || in.p[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(in.p[i] - '0'), &value))
			return false;
	*ret = value;
	return true;
}

/* ---- keys ---- */

static void note_key_id(struct note_key *key)
{
	const uint8_t middle[2] = {'\n', key->type};
	uint8_t digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const uint8_t *)key->name, strlen(key->name));
	crypto_hash_sha256_update(&state, middle, sizeof middle);
	crypto_hash_sha256_update(&state, key->public, sizeof key->public);
	crypto_hash_sha256_final(&state, digest);
	memcpy(key->id, digest, sizeof key->id);
}

static int note_init(struct note_key *key, struct span name, enum note_type type, const uint8_t public[32])
{
	if (!note_name_valid(name))
		return NOTE_E_MALFORMED;
	*key = (struct note_key){.type = (uint8_t)type};
	memcpy(key->name, name.p, name.len);
	memcpy(key->public, public, sizeof key->public);
	note_key_id(key);
	return 0;
}

int note_key_init(struct note_key *key, struct span name, const uint8_t public[32])
{
	return note_init(key, name, NOTE_ED25519, public);
}

int note_cosigner_init(struct note_key *key, struct span name, const uint8_t public[32])
{
	return note_init(key, name, NOTE_COSIGNATURE, public);
}

static int note_parse(struct note_key *key, struct span vkey, enum note_type type)
{
	struct span name, hex;
	uint8_t raw[33], id[NOTE_ID_BYTES];
	size_t len;

	if (!note_take(&vkey, '+', &name) || !note_take(&vkey, '+', &hex) || hex.len != 2 * NOTE_ID_BYTES)
		return NOTE_E_MALFORMED;
	for (size_t i = 0; i < hex.len; i++)
		if (!strchr("0123456789abcdef", hex.p[i]) || hex.p[i] == 0)
			return NOTE_E_MALFORMED;
	if (sodium_hex2bin(id, sizeof id, (const char *)hex.p, hex.len, NULL, &len, NULL) != 0 || len != sizeof id)
		return NOTE_E_MALFORMED;
	if (!base64_decode(BASE64_STANDARD, vkey, raw, sizeof raw, &len) || len != sizeof raw || raw[0] != type)
		return NOTE_E_MALFORMED;

	struct note_key parsed;
	int r = note_init(&parsed, name, type, raw + 1);
	if (r || memcmp(parsed.id, id, sizeof id) != 0)
		return NOTE_E_MALFORMED;
	*key = parsed;
	return 0;
}

int note_key_parse(struct note_key *key, struct span vkey)
{
	return note_parse(key, vkey, NOTE_ED25519);
}

int note_cosigner_parse(struct note_key *key, struct span vkey)
{
	return note_parse(key, vkey, NOTE_COSIGNATURE);
}

void note_key_format(const struct note_key *key, char to[NOTE_VKEY_MAX])
{
	uint8_t raw[33] = {key->type};
	char hex[2 * NOTE_ID_BYTES + 1], base64[sodium_base64_ENCODED_LEN(sizeof raw, sodium_base64_VARIANT_ORIGINAL)];

	memcpy(raw + 1, key->public, sizeof key->public);
	sodium_bin2hex(hex, sizeof hex, key->id, sizeof key->id);
	sodium_bin2base64(base64, sizeof base64, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
	(void)snprintf(to, NOTE_VKEY_MAX, "%s+%s+%s", key->name, hex, base64);
}

/* ---- notes ---- */

/* Splits at the last empty line. The text keeps its final newline. */
static bool note_split(struct span note, struct span *ret_text, struct span *ret_sigs)
{
	if (note.len < 3 || note.len > NOTE_BYTES_MAX || note.p[note.len - 1] != '\n')
		return false;
	for (size_t i = note.len - 2; i > 0; i--) {
		if (note.p[i] != '\n' || note.p[i - 1] != '\n')
			continue;
		*ret_text = span_of(note.p, i);
		*ret_sigs = span_of(note.p + i + 1, note.len - i - 1);
		return true;
	}
	return false;
}

bool note_signature_valid(struct span sig, struct span text, const uint8_t public[32])
{
	return sig.len == NOTE_SIG_BYTES && crypto_sign_verify_detached(sig.p, text.p, text.len, public) == 0;
}

int note_cosigned_text(struct span text, uint64_t unix_seconds, char *to, size_t cap, size_t *ret_len)
{
	int n = snprintf(to, cap, "cosignature/v1\ntime %" PRIu64 "\n", unix_seconds);

	if (n < 0 || (size_t)n >= cap || cap - (size_t)n < text.len)
		return NOTE_E_SPACE;
	memcpy(to + n, text.p, text.len);
	*ret_len = (size_t)n + text.len;
	return 0;
}

/* `sig` is time and signature. */
static int note_check_cosignature(struct span sig, struct span text, const struct note_key *key, uint64_t *ret_seconds)
{
	char message[NOTE_BYTES_MAX + NOTE_COSIGNED_HEAD_MAX];
	size_t len;

	if (sig.len != NOTE_TIME_BYTES + NOTE_SIG_BYTES)
		return NOTE_E_SIGNATURE;
	uint64_t seconds = get_be64(sig.p);
	if (seconds > INT64_MAX || note_cosigned_text(text, seconds, message, sizeof message, &len) ||
	    !note_signature_valid(span_of(sig.p + NOTE_TIME_BYTES, NOTE_SIG_BYTES), span_of(message, len), key->public))
		return NOTE_E_SIGNATURE;
	*ret_seconds = seconds;
	return 0;
}

/* One signature line. *ret_ours: its name and key id are the key's, and it is good. */
static int note_check_line(struct span line, struct span text, const struct note_key *key, bool *ret_ours,
			   uint64_t *ret_seconds)
{
	struct span dash = SPAN_LIT(NOTE_DASH), name;
	uint8_t raw[NOTE_OTHER_SIG_MAX];
	size_t len;

	if (line.len < dash.len || memcmp(line.p, dash.p, dash.len) != 0)
		return NOTE_E_MALFORMED;
	line = span_of(line.p + dash.len, line.len - dash.len);
	if (!note_take(&line, ' ', &name) || !note_name_valid(name))
		return NOTE_E_MALFORMED;
	if (!base64_decode(BASE64_STANDARD, line, raw, sizeof raw, &len) || len <= NOTE_ID_BYTES)
		return NOTE_E_MALFORMED;
	*ret_ours = span_eq_str(name, key->name) && memcmp(raw, key->id, NOTE_ID_BYTES) == 0;
	if (!*ret_ours)
		return 0;
	struct span sig = span_of(raw + NOTE_ID_BYTES, len - NOTE_ID_BYTES);
	if (key->type == NOTE_COSIGNATURE)
		return note_check_cosignature(sig, text, key, ret_seconds);
	return note_signature_valid(sig, text, key->public) ? 0 : NOTE_E_SIGNATURE;
}

int note_verify_cosigned(struct span note, const struct note_key *key, struct span *ret_text, uint64_t *ret_seconds)
{
	struct span text, sigs, line;
	uint64_t latest = 0;
	bool found = false;

	if (!note_split(note, &text, &sigs) || !note_text_valid(note))
		return NOTE_E_MALFORMED;
	for (unsigned n = 0; sigs.len > 0; n++) {
		uint64_t seconds = 0;
		bool ours;
		if (n == NOTE_SIGNATURES_MAX || !note_take(&sigs, '\n', &line))
			return NOTE_E_MALFORMED;
		int r = note_check_line(line, text, key, &ours, &seconds);
		if (r)
			return r;
		found |= ours;
		latest = MAX(latest, seconds);
	}
	if (!found)
		return NOTE_E_UNSIGNED;
	*ret_text = text;
	*ret_seconds = latest;
	return 0;
}

int note_verify(struct span note, const struct note_key *key, struct span *ret_text)
{
	uint64_t seconds;

	return note_verify_cosigned(note, key, ret_text, &seconds);
}

/* "— <name> <base64(id || time, where there is one || signature)>\n" */
static int note_put_line(char *to, size_t cap, size_t *ret_len, const struct note_key *key, struct span time,
			 const uint8_t sig[NOTE_SIG_BYTES])
{
	uint8_t raw[NOTE_ID_BYTES + NOTE_TIME_BYTES + NOTE_SIG_BYTES];
	char base64[sodium_base64_ENCODED_LEN(sizeof raw, sodium_base64_VARIANT_ORIGINAL)];
	size_t len = NOTE_ID_BYTES;

	memcpy(raw, key->id, NOTE_ID_BYTES);
	if (time.len > 0)
		memcpy(raw + len, time.p, time.len);
	len += time.len;
	memcpy(raw + len, sig, NOTE_SIG_BYTES);
	sodium_bin2base64(base64, sizeof base64, raw, len + NOTE_SIG_BYTES, sodium_base64_VARIANT_ORIGINAL);
	int n = snprintf(to, cap, NOTE_DASH "%s %s\n", key->name, base64);
	if (n < 0 || (size_t)n >= cap)
		return NOTE_E_SPACE;
	*ret_len = (size_t)n;
	return 0;
}

int note_format(struct span text, const struct note_key *key, const uint8_t sig[NOTE_SIG_BYTES], char *to, size_t cap,
		size_t *ret_len)
{
	size_t len;

	if (text.len + 1 >= cap)
		return NOTE_E_SPACE;
	memmove(to, text.p, text.len);
	to[text.len] = '\n';
	int r = note_put_line(to + text.len + 1, cap - text.len - 1, &len, key, SPAN_NULL, sig);
	if (!r)
		*ret_len = text.len + 1 + len;
	return r;
}

int note_add_cosignature(char *note, size_t cap, size_t *len, const struct note_key *cosigner, uint64_t unix_seconds,
			 const uint8_t sig[NOTE_SIG_BYTES])
{
	uint8_t time[NOTE_TIME_BYTES];
	size_t more;

	put_be64(time, unix_seconds);
	int r = note_put_line(note + *len, cap - *len, &more, cosigner, span_of(time, sizeof(time)), sig);
	if (!r)
		*len += more;
	return r;
}

/* ---- checkpoints ---- */

int checkpoint_parse(struct span text, struct checkpoint *ret)
{
	struct checkpoint cp;
	struct span size, root, line;
	size_t len;

	if (!note_text_valid(text) || !note_take(&text, '\n', &cp.origin) || cp.origin.len == 0)
		return NOTE_E_MALFORMED;
	if (!note_take(&text, '\n', &size) || !note_decimal(size, &cp.size))
		return NOTE_E_MALFORMED;
	if (!note_take(&text, '\n', &root) ||
	    !base64_decode(BASE64_STANDARD, root, cp.root.b, sizeof cp.root.b, &len) || len != sizeof cp.root.b)
		return NOTE_E_MALFORMED;
	while (text.len > 0)
		if (!note_take(&text, '\n', &line) || line.len == 0)
			return NOTE_E_MALFORMED;
	*ret = cp;
	return 0;
}

int checkpoint_format(const struct checkpoint *cp, char *to, size_t cap, size_t *ret_len)
{
	char root[sodium_base64_ENCODED_LEN(MERKLE_HASH_BYTES, sodium_base64_VARIANT_ORIGINAL)];

	if (!note_name_valid(cp->origin))
		return NOTE_E_MALFORMED;
	sodium_bin2base64(root, sizeof root, cp->root.b, sizeof cp->root.b, sodium_base64_VARIANT_ORIGINAL);
	int n = snprintf(to, cap, "%.*s\n%" PRIu64 "\n%s\n", SPAN_ARG(cp->origin), cp->size, root);
	if (n < 0 || (size_t)n >= cap)
		return NOTE_E_SPACE;
	*ret_len = (size_t)n;
	return 0;
}
