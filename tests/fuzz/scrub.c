/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrubber: any secret, any text, any cut. Input: length of the secret, the secret, a seed for cuts, then text in which
 * a byte of 0xff and a number stands for one of the secret's forms, whole or begun. Oracle: the slow search over the
 * whole text.
 */
#include <assert.h>
#include <stdlib.h>

#include "keyvault/egress/scrub.h"

#define TEXT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t expand(const struct scrub *s, const uint8_t *in, size_t len, uint8_t *text)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < TEXT_MAX; i++) {
		if (in[i] != 0xff || i + 2 >= len) {
			text[n++] = in[i];
			continue;
		}
		size_t p = in[i + 1] % s->n, take = in[i + 2] & 1 ? s->len[p] : in[i + 2] % s->len[p];
		take = MIN(take, TEXT_MAX - n);
		memcpy(text + n, s->mem.p + s->offset[p], take);
		n += take;
		i += 2;
	}
	return n;
}

static void search_slowly(const struct scrub *s, uint8_t *text, size_t len)
{
	for (size_t at = 0; at < len; at++)
		for (size_t i = 0; i < s->n; i++)
			if (s->len[i] <= len - at && memcmp(text + at, s->mem.p + s->offset[i], s->len[i]) == 0) {
				memset(text + at, s->mark, s->len[i]);
				at += s->len[i] - 1;
				break;
			}
}

static void check(const struct scrub *s, const uint8_t *text, size_t len, uint32_t seed)
{
	static uint8_t want[TEXT_MAX], out[TEXT_MAX];
	struct scrub_pass pass;
	size_t n = 0;

	memcpy(want, text, len);
	search_slowly(s, want, len);
	scrub_begin(&pass, s);
	for (size_t at = 0, take; at < len; at += take) {
		seed = seed * 1664525u + 1013904223u;
		take = MIN(len - at, (size_t)(seed >> 24) % 64);
		n += scrub_feed(&pass, span_of(text + at, take), out + n);
	}
	n += scrub_end(&pass, out + n);
	assert(n == len && memcmp(out, want, len) == 0);
	for (size_t i = 0; i < s->n; i++)
		assert(len == 0 || !memmem(out, len, s->mem.p + s->offset[i], s->len[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct secret_arena *arena;
	static uint8_t text[TEXT_MAX];
	struct scrub s;

	if (!arena && secret_arena_new(1024 * 1024, &arena))
		abort();
	if (size < 6 || data[0] == 0 || size < 5u + data[0])
		return 0;
	secret_open(arena);
	struct span secret = span_of(data + 1, data[0]);
	uint32_t seed = (uint32_t)data[size - 1] << 8 | data[size - 2];
	if (scrub_init(&s, arena, secret))
		abort();
	size_t len = expand(&s, secret.p + secret.len, size - 1 - secret.len, text);
	if (!memchr(secret.p, 0x7f, secret.len))
		check(&s, text, len, seed);
	scrub_deinit(&s);
	secret_close(arena);
	return 0;
}
