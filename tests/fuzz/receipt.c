/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer, a head and a receipt of anybody's making. The first byte says how the rest is cut: the head, the body, and
 * the record's own claims. Oracle: what is found good is the recorded bytes, with the recorded status and fields; an
 * answer that is longer, shorter or changed is never good; a head is good or not whatever the case of its names and its
 * line ends.
 */
#include <assert.h>
#include <stdlib.h>

#include "auditd/receipt.h"
#include "common/head_digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GOOD_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Upstream-Request-Id: 7\r\nX-Request-Id: r\r\n\r\n"

static struct receipt receipt;
static uint8_t body_digest[32], head_digest_[32];

static void record(struct span body)
{
	const struct proto_header fields[] = {{SPAN_LIT("content-type"), SPAN_LIT("text/plain")},
					      {SPAN_LIT("x-upstream-request-id"), SPAN_LIT("7")}};

	sha256(&body, 1, body_digest);
	head_digest(200, fields, ARRAY_LEN(fields), head_digest_);
	receipt.leaf = (struct proto_leaf){.request_id = SPAN_LIT("r"),
					   .bytes = body.len,
					   .digest = span_of(body_digest, 32),
					   .head_digest = span_of(head_digest_, 32)};
}

static uint64_t compare(struct span body, struct span head)
{
	return receipt_compare(&receipt, &(struct receipt_claim){.body = body, .head = head});
}

/* The same head, other letters and line ends. */
static uint64_t compare_disguised(struct span body, struct span head)
{
	uint8_t *text = malloc(head.len + 1);
	size_t len = 0;
	bool name = true;

	for (size_t i = 0; i < head.len; i++) {
		uint8_t c = head.p[i];
		if (c == '\r' && i + 1 < head.len && head.p[i + 1] == '\n')
			continue;
		name = c == '\n' || (name && c != ':' && c != '/' && c != ' ');
		text[len++] = name && c >= 'a' && c <= 'z' && !strchr("htp", c) ? c - 32 : c; /* not "http/" */
	}
	uint64_t found = compare(body, span_of(text, len));
	free(text);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct note_key key = {.name = "fuzz.test/log", .type = NOTE_ED25519};

	if (size == 0)
		return 0;
	size_t cut = MIN((size_t)data[0], size - 1);
	/* Copies of exact size, so that the sanitizers see one byte too far. */
	uint8_t *head = malloc(cut + 1), *body = malloc(size - cut);
	memcpy(head, data + 1, cut);
	memcpy(body, data + 1 + cut, size - 1 - cut);
	struct span h = span_of(head, cut), b = span_of(body, size - 1 - cut);
	record(b);
	assert(compare(b, SPAN_LIT(GOOD_HEAD)) == 0);
	uint64_t found = compare(b, h);
	assert((found & ~(BIT(RECEIPT_HEAD) | BIT(RECEIPT_REQUEST))) == 0);
	assert(compare_disguised(b, h) == found);
	if (b.len > 0) {
		assert(compare(span_of(b.p, b.len - 1), SPAN_NULL) == BIT(RECEIPT_TRUNCATED));
		body[0] ^= 1;
		assert(compare(b, SPAN_NULL) == BIT(RECEIPT_ALTERED));
	}
	assert(receipt_read(h, &key, &receipt) != 0 && receipt_read(b, &key, &receipt) != 0);
	free(head);
	free(body);
	return 0;
}
