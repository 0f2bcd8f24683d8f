/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as clients send them, good and bad, for simulations. */
#pragma once

#include <assert.h>
#include <stdio.h>

#include "proto/proto.h"

/* Appends a packed item to `to`: what lists of an unpacked message are made of. */
static inline void test_pack(const struct proto_desc *desc, const void *item, uint8_t *to, size_t cap, size_t *len)
{
	size_t n;
	int e = proto_pack_record(desc, item, to + *len, cap - *len, &n);

	assert(e == 0);
	*len += n;
}

/* Writes one request; `kind` < 12 says which, most of them a plain chat; `which` < 4 varies it. Its length. */
static inline size_t test_request(char *to, size_t cap, uint64_t kind, uint64_t which)
{
	static const char body[] =
		"{\"model\":\"gpt-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}";
	static const char small[] = "{\"model\":\"gpt-x\",\"messages\":[]}";
	static const char no_key[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
	static const char bad_chunk[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n"
					"Transfer-Encoding: chunked\r\n\r\nzz\r\n";
	static const char *const bad[] = {
		"GET / HTTP/1.1\nHost: a\r\n\r\n",
		"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
		no_key,
		bad_chunk,
	};
	static const char chunked[] =
		"POST /chat/completions HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nExpect: 100-continue\r\n"
		"Transfer-Encoding: chunked\r\n\r\n";
	static const char whole[] = "POST /v1/chat/completions HTTP/1.%d\r\nHost: a\r\nauthorization: Bearer k\r\n"
				    "Content-Length: %zu\r\n\r\n%s";
	int len;

	if (kind == 0)
		len = snprintf(to, cap, "%s", bad[which]);
	else if (kind == 1)
		len = snprintf(to, cap, "GET /v1/%s HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n\r\n",
			       which % 2 ? "receipts/an-id-0" : "models");
	else if (kind == 2)
		len = snprintf(to, cap, "HEAD /%s HTTP/1.1\r\nHost: a\r\n\r\n", which % 2 ? "readyz" : "healthz");
	else if (kind == 3)
		len = snprintf(to, cap, "%s5\r\n%.5s\r\n%zx\r\n%s\r\n0\r\n\r\n", chunked, body, sizeof(body) - 6,
			       body + 5);
	else if (kind == 4)
		len = snprintf(to, cap, whole, 1, sizeof(small) - 1, small);
	else
		len = snprintf(to, cap, whole, which > 0 || kind % 2, sizeof(body) - 1, body);
	assert(len > 0 && (size_t)len < cap);
	return (size_t)len;
}
