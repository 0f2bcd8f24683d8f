/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary targets and field values. What is signed must be one canonical text: four lines before the fields, a path
 * without dot or empty segments, a query in order; and canonical text of it (path and query taken for a target again,
 * the path's escapes undone once) must not change the query.
 */
#include <assert.h>
#include <stdlib.h>

#include "keyvault/egress/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool plain(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-._~%/=&", c);
}

static void check(struct span text)
{
	const uint8_t *path = text.p + 4, *end = memchr(path, '\n', text.len - 4);

	assert(end && *path == '/');
	for (const uint8_t *p = path; p < end; p++) {
		assert(*p && plain(*p));
		assert(*p != '/' || p + 1 == end || p[1] != '/');
	}
	assert(!memmem(path, (size_t)(end - path), "/../", 4) && !memmem(path, (size_t)(end - path), "/./", 3));
	const uint8_t *query = end + 1, *over = memchr(query, '\n', text.len - (size_t)(query - text.p));
	assert(over);
	for (const uint8_t *p = query; p < over; p++)
		assert(*p && plain(*p));
	assert(memcmp(over + 1, "host:h\n", 7) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *work = malloc(SIGV4_WORK_BYTES), *again = malloc(SIGV4_WORK_BYTES), value[1024];
	const uint8_t *split = size ? memchr(data, 0, size) : NULL;
	size_t target = split ? (size_t)(split - data) : size;
	struct sigv4 s = {
		.method = "GET",
		.target = span_of(data, target),
		.fields = {{SPAN_LIT("host"), SPAN_LIT("h")},
			   {SPAN_LIT("x-amz-date"), split ? span_of(split + 1, size - target - 1) : SPAN_NULL}},
		.n_fields = 2,
		.key_id = SPAN_LIT("id"),
		.secret = SPAN_LIT("secret"),
		.region = SPAN_LIT("r"),
		.service = SPAN_LIT("s"),
		.date = "20150830T123600Z"};
	struct text t = TEXT_OF(work, SIGV4_WORK_BYTES), to = TEXT_OF(value, sizeof(value));

	assert(work && again);
	int r = sigv4_canonical(&s, &t);
	assert(r == 0 || r == SIGV4_E_SIZE);
	if (r == 0) {
		check(text_span(&t));
		const uint8_t *path = work + 4, *end = memchr(path, '\n', t.len - 4);
		uint8_t *mark = work + (end - work);
		*mark = '?';
		const uint8_t *over = memchr(mark, '\n', t.len - (size_t)(mark - work));
		s.target = span_of(mark, (size_t)(over - mark));
		struct text twice = TEXT_OF(again, SIGV4_WORK_BYTES);
		assert(sigv4_canonical(&s, &twice) == 0);
		assert(twice.len > 6 && memcmp(again + 6, mark + 1, s.target.len - 1) == 0);
		s.target = span_of(data, target);
	}
	r = sigv4_sign(&s, work, SIGV4_WORK_BYTES, &to);
	assert(r == 0 || r == SIGV4_E_SIZE);
	free(work);
	free(again);
	return 0;
}
