/* SPDX-License-Identifier: Apache-2.0 */
#include "router/usage.h"

/* No bill has more; larger numbers do not fit the records. */
#define USAGE_TOKENS_MAX UINT32_MAX
/* Objects that are looked into. Each look may go through the whole text: a text of nothing but names would take
 * minutes. */
#define USAGE_LOOKS_MAX 8

/* Behind the first `name`, quotes included, or NULL. Few keys stand before it: from quote to quote is the shortest way.
 */
static const uint8_t *usage_find(struct span object, struct span name)
{
	const uint8_t *p = object.p, *end = object.p + object.len;

	while ((p = memchr(p, '"', (size_t)(end - p))) && (size_t)(end - p) >= name.len) {
		if (span_eq(span_of(p, name.len), name))
			return p + name.len;
		p++;
	}
	return NULL;
}

/* The number after `"name":`, 0 when there is none; *ret_end moves on to its end. */
static uint64_t usage_number(struct span object, struct span name, const uint8_t **ret_end)
{
	const uint8_t *p = usage_find(object, name), *end = object.p + object.len;
	uint64_t n = 0;

	if (!p)
		return 0;
	for (; p < end && (*p == ' ' || *p == ':'); p++)
		;
	for (; p < end && *p >= '0' && *p <= '9' && n <= USAGE_TOKENS_MAX; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	*ret_end = MAX(*ret_end, p);
	return MIN(n, (uint64_t)USAGE_TOKENS_MAX);
}

/* Backwards: it stands near the end, and the last one counts. */
bool usage_read(struct usage *usage, struct span text)
{
	const struct span name = SPAN_LIT("usage\"");
	const uint8_t *end = text.p + text.len, *quote;
	unsigned looks = 0;

	for (size_t len = text.len; len > 0 && (quote = memrchr(text.p, '"', len)); len = (size_t)(quote - text.p)) {
		struct span rest = span_of(quote + 1, (size_t)(end - quote) - 1);
		if (rest.len < name.len || !span_eq(span_of(rest.p, name.len), name))
			continue;
		if (looks++ == USAGE_LOOKS_MAX)
			break;
		const uint8_t *numbers = rest.p, *brace = memrchr(rest.p, '}', rest.len);
		uint64_t in = usage_number(rest, SPAN_LIT("\"prompt_tokens\""), &numbers),
			 out = usage_number(rest, SPAN_LIT("\"completion_tokens\""), &numbers);
		if (in || out) {
			*usage = (struct usage){in, out};
			return in && out && brace && brace >= numbers;
		}
	}
	return false;
}

void usage_tail_add(struct usage_tail *t, struct span bytes)
{
	if (bytes.len >= USAGE_TAIL_BYTES) {
		memcpy(t->bytes, bytes.p + bytes.len - USAGE_TAIL_BYTES, USAGE_TAIL_BYTES);
		t->len = USAGE_TAIL_BYTES;
		return;
	}
	size_t keep = MIN((size_t)t->len, USAGE_TAIL_BYTES - bytes.len);
	memmove(t->bytes, t->bytes + t->len - keep, keep);
	memcpy(t->bytes + keep, bytes.p, bytes.len);
	t->len = (uint16_t)(keep + bytes.len);
}

void usage_pass(struct usage *usage, struct usage_tail *t, struct span bytes)
{
	size_t len = MIN(bytes.len, (size_t)USAGE_TAIL_BYTES);

	if (usage_read(usage, span_of(bytes.p + bytes.len - len, len)))
		t->len = 0;
	else
		usage_tail_add(t, bytes);
}

void usage_end(struct usage *usage, const struct usage_tail *t)
{
	if (t->len > 0)
		(void)usage_read(usage, span_of(t->bytes, t->len));
}

void usage_begin(struct usage *usage, struct span body)
{
	if (body.len > 0 && usage->tokens_in == 0 && usage->tokens_out == 0)
		(void)usage_read(usage, span_of(body.p, MIN(body.len, (size_t)USAGE_TAIL_BYTES)));
}
