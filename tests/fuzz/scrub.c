/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrubber: any secrets, any text, any cut. Input: how many secrets, each with its length before it; then text in which
 * a byte of 0xff and two more stand for one of the forms of the secrets, whole or begun; its last two bytes choose the
 * cuts. Oracle: the slow search over the whole text.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/support/scrub_oracle.h"

#define TEXT_MAX   4096
#define SECRET_MAX 48

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t take_secrets(const uint8_t *data, size_t size, struct span *secrets, size_t *ret_n)
{
	size_t at = 1;

	for (*ret_n = 0; *ret_n < 1 + (size_t)data[0] % SCRUB_SECRETS_MAX && at < size; (*ret_n)++) {
		size_t len = data[at];
		if (len == 0 || len > SECRET_MAX || len > size - at - 1 || memchr(data + at + 1, 0x7f, len))
			break;
		secrets[*ret_n] = span_of(data + at + 1, len);
		at += 1 + len;
	}
	return at;
}

static size_t expand(const struct scrub_oracle *o, const uint8_t *in, size_t len, uint8_t *text)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < TEXT_MAX; i++) {
		if (in[i] != 0xff || i + 2 >= len) {
			text[n++] = in[i];
			continue;
		}
		struct span form = scrub_oracle_form(o, in[i + 1] % o->n);
		size_t take = MIN(in[i + 2] & 1 ? form.len : in[i + 2] % form.len, TEXT_MAX - n);
		memcpy(text + n, form.p, take);
		n += take;
		i += 2;
	}
	return n;
}

static void check(const struct scrub *s, const struct scrub_oracle *o, const uint8_t *text, size_t len, uint32_t seed)
{
	static uint8_t want[TEXT_MAX], out[TEXT_MAX];
	struct scrub_pass pass;
	size_t n = 0;

	memcpy(want, text, len);
	scrub_oracle_run(o, s->mark, want, len);
	scrub_begin(&pass, s);
	for (size_t at = 0, take; at < len; at += take) {
		seed = seed * 1664525u + 1013904223u;
		take = MIN(len - at, (size_t)(seed >> 24) % 64);
		n += scrub_feed(&pass, span_of(text + at, take), out + n);
	}
	n += scrub_end(&pass, out + n);
	assert(n == len && memcmp(out, want, len) == 0);
	for (size_t i = 0; i < o->n && len > 0; i++)
		assert(!memmem(out, len, scrub_oracle_form(o, i).p, o->len[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct secret_arena *arena;
	static uint8_t text[TEXT_MAX], forms[SCRUB_PATTERNS_MAX * SCRUB_FORM_TIMES_MAX * SECRET_MAX];
	struct span secrets[SCRUB_SECRETS_MAX];
	struct scrub_oracle oracle;
	struct scrub s;
	size_t n, at;

	if (!arena && secret_arena_new(1024 * 1024, &arena))
		abort();
	if (size < 6)
		return 0;
	at = take_secrets(data, size, secrets, &n);
	if (n == 0 || at + 2 > size)
		return 0;
	secret_open(arena);
	if (scrub_init(&s, arena, secrets, n))
		abort();
	scrub_oracle_init(&oracle, secrets, n, forms);
	size_t len = expand(&oracle, data + at, size - at, text);
	check(&s, &oracle, text, len, (uint32_t)data[size - 1] << 8 | data[size - 2]);
	scrub_deinit(&s);
	secret_close(arena);
	return 0;
}
