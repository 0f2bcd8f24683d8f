/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a message an answer to our question is looked at here; names, compression and aliases within it are
 * c-ares' work.
 */
#include "keyvault/dialer/message.h"

#include <ares.h>
#include <assert.h>
#include <sys/socket.h>

#define MESSAGE_HEAD_BYTES 12
#define TYPE_A             1
#define TYPE_AAAA          28
#define CLASS_IN           1

/* Of the third and fourth byte of a head. */
#define FLAG_RESPONSE 0x80
#define FLAG_OPCODE   0x78
#define FLAG_RECURSE  0x01
#define RCODE         0x0f

enum { RCODE_OK = 0, RCODE_NO_NAME = 3 };

size_t message_query(const char *host, int family, uint16_t id, uint8_t to[MESSAGE_QUERY_BYTES])
{
	const uint8_t head[MESSAGE_HEAD_BYTES] = {(uint8_t)(id >> 8), (uint8_t)id, FLAG_RECURSE, 0, 0, 1};
	const uint8_t tail[] = {0, 0, family == AF_INET ? TYPE_A : TYPE_AAAA, 0, CLASS_IN};
	size_t n = sizeof(head);

	assert(strlen(host) <= 253);
	memcpy(to, head, sizeof(head));
	for (size_t len; *host; host += len + (host[len] == '.')) {
		len = strcspn(host, ".");
		assert(len > 0 && len < 64);
		to[n++] = (uint8_t)len;
		memcpy(to + n, host, len);
		n += len;
	}
	memcpy(to + n, tail, sizeof(tail));
	return n + sizeof(tail);
}

static uint8_t message_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* Same id, a response, and our question again, for which a server may change the case of letters. */
static bool message_answers(struct span query, struct span answer)
{
	const uint8_t *a = answer.p;

	if (answer.len < query.len || memcmp(a, query.p, 2) != 0 ||
	    (a[2] & (FLAG_RESPONSE | FLAG_OPCODE)) != FLAG_RESPONSE)
		return false;
	if (a[4] != 0 || a[5] != 1)
		return false;
	for (size_t i = MESSAGE_HEAD_BYTES; i < query.len; i++)
		if (message_lower(a[i]) != query.p[i])
			return false;
	return true;
}

static int message_addresses_v4(struct span answer, struct address *to, int *n)
{
	struct ares_addrttl found[MESSAGE_ADDRESSES_MAX + 1];
	int r = ares_parse_a_reply(answer.p, (int)answer.len, NULL, found, n);

	for (int i = 0; r == ARES_SUCCESS && i < MIN(*n, MESSAGE_ADDRESSES_MAX); i++) {
		to[i].family = AF_INET;
		memcpy(to[i].v4, &found[i].ipaddr, 4);
	}
	return r;
}

static int message_addresses_v6(struct span answer, struct address *to, int *n)
{
	struct ares_addr6ttl found[MESSAGE_ADDRESSES_MAX + 1];
	int r = ares_parse_aaaa_reply(answer.p, (int)answer.len, NULL, found, n);

	for (int i = 0; r == ARES_SUCCESS && i < MIN(*n, MESSAGE_ADDRESSES_MAX); i++) {
		to[i].family = AF_INET6;
		memcpy(to[i].v6, &found[i].ip6addr, 16);
	}
	return r;
}

int message_read(struct span query, struct span answer, struct address *to, size_t *ret_n)
{
	int n = MESSAGE_ADDRESSES_MAX + 1;

	if (!message_answers(query, answer))
		return MESSAGE_E_NOT_OURS;
	switch (answer.p[3] & RCODE) {
	case RCODE_OK:
		break;
	case RCODE_NO_NAME:
		return MESSAGE_E_NO_NAME;
	default:
		return MESSAGE_E_SERVER;
	}
	int r = query.p[query.len - 3] == TYPE_A ? message_addresses_v4(answer, to, &n)
						 : message_addresses_v6(answer, to, &n);
	if (r == ARES_ENODATA || (r == ARES_SUCCESS && n <= 0))
		return MESSAGE_E_NO_DATA;
	if (r != ARES_SUCCESS || n > MESSAGE_ADDRESSES_MAX)
		return MESSAGE_E_INVALID;
	*ret_n = (size_t)n;
	return 0;
}

const char *message_why(int error)
{
	switch (error) {
	case MESSAGE_E_NO_NAME:
		return "there is no such name";
	case MESSAGE_E_NO_DATA:
		return "the name has no address";
	case MESSAGE_E_SERVER:
		return "the name server failed or refused to answer";
	default:
		return "the name server's answer is not valid";
	}
}
