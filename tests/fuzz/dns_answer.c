/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a name server's answer, to the question for either family, as they are and behind a right head. Oracle:
 * what is returned counts, is of the family that was asked for, and stands in the message behind the right type, class
 * and length; a message that does not repeat the question gives nothing.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "keyvault/dialer/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is there a record of this address: type, class IN, any time to live, length, address? */
static bool stands_in(const struct address *a, struct span message)
{
	uint8_t type = a->family == AF_INET ? 1 : 28, len = a->family == AF_INET ? 4 : 16;

	for (size_t i = 12; i + 10 + len <= message.len; i++) {
		const uint8_t *p = message.p + i;
		if (p[0] == 0 && p[1] == type && p[2] == 0 && p[3] == 1 && p[8] == 0 && p[9] == len &&
		    memcmp(p + 10, a->v6, len) == 0)
			return true;
	}
	return false;
}

static void try_answer(int family, struct span query, struct span answer)
{
	struct address to[MESSAGE_ADDRESSES_MAX];
	size_t n = 0;
	/* an exact copy, so that a read beyond it is seen */
	uint8_t *copy = malloc(answer.len ? answer.len : 1);

	memcpy(copy, answer.p, answer.len);
	int r = message_read(query, span_of(copy, answer.len), to, &n);
	if (r == 0) {
		assert(n > 0 && n <= MESSAGE_ADDRESSES_MAX);
		assert(memcmp(copy, query.p, 2) == 0 && (copy[2] & 0x80) && (copy[3] & 0x0f) == 0);
		for (size_t i = 0; i < n; i++)
			assert(to[i].family == family && stands_in(&to[i], answer));
	} else {
		assert(n == 0 && message_why(r)[0]);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int families[] = {AF_INET, AF_INET6};
	uint8_t query[MESSAGE_QUERY_BYTES], answer[4096];

	for (size_t f = 0; f < 2; f++) {
		size_t len = message_query("a.bc", families[f], 0x1234, query);
		try_answer(families[f], span_of(query, len), span_of(data, size));
		/* The input's first two bytes are the number of records, the rest follows the question. */
		if (size < 2 || size - 2 > sizeof(answer) - len)
			continue;
		memcpy(answer, query, len);
		answer[2] = 0x81;
		answer[6] = data[0];
		answer[7] = data[1];
		memcpy(answer + len, data + 2, size - 2);
		try_answer(families[f], span_of(query, len), span_of(answer, len + size - 2));
	}
	return 0;
}
