/* SPDX-License-Identifier: Apache-2.0 */
#include "common/head_digest.h"

#include <assert.h>

/* Gathers small pieces: the hash takes each call's bytes through a block of its own. */
struct head_text {
	struct sha256 sha;
	uint8_t bytes[1024];
	size_t len;
};

static void head_put(struct head_text *t, struct span s)
{
	if (s.len > sizeof(t->bytes) - t->len) {
		sha256_add(&t->sha, span_of(t->bytes, t->len));
		t->len = 0;
	}
	if (s.len > sizeof(t->bytes)) {
		sha256_add(&t->sha, s);
		return;
	}
	if (s.len > 0)
		memcpy(t->bytes + t->len, s.p, s.len);
	t->len += s.len;
}

static int head_compare(struct span a, struct span b)
{
	int r = memcmp(a.p, b.p, MIN(a.len, b.len));

	return r ? r : (a.len > b.len) - (a.len < b.len);
}

/* By name; equal ones stay in order. A head has few fields that pass. */
static void head_sort(const struct proto_header *fields, size_t n, uint8_t order[HEAD_DIGEST_FIELDS_MAX])
{
	for (size_t i = 0; i < n; i++) {
		size_t at = i;
		while (at > 0 && head_compare(fields[order[at - 1]].name, fields[i].name) > 0) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = (uint8_t)i;
	}
}

void head_digest(unsigned status, const struct proto_header *fields, size_t n, uint8_t ret[SHA256_BYTES])
{
	uint8_t order[HEAD_DIGEST_FIELDS_MAX];
	const char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10),
			       '\n'};
	struct head_text t;

	assert(n <= HEAD_DIGEST_FIELDS_MAX && status < 1000);
	sha256_begin(&t.sha);
	t.len = 0;
	head_put(&t, span_of(digits, sizeof(digits)));
	head_sort(fields, n, order);
	for (size_t i = 0; i < n; i++) {
		head_put(&t, fields[order[i]].name);
		head_put(&t, SPAN_LIT(": "));
		head_put(&t, fields[order[i]].value);
		head_put(&t, SPAN_LIT("\n"));
	}
	sha256_add(&t.sha, span_of(t.bytes, t.len));
	sha256_end(&t.sha, ret);
}
