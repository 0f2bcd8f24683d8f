/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a message an answer to our question, and a record one of the name that we asked for, is looked at here:
 * releases of c-ares differ in whether they do, and those that do not take an address of any name. Names and their
 * compression are its work.
 */
#include "keyvault/dialer/message.h"

#include <ares.h>
#include <assert.h>
#include <sys/socket.h>

#define MESSAGE_HEAD_BYTES   12
#define MESSAGE_RECORD_BYTES 10 /* type, class, time to live, length */
#define TYPE_A               1
#define TYPE_CNAME           5
#define TYPE_AAAA            28
#define CLASS_IN             1

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

static uint16_t message_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
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

/* ---- records ---- */

/* The way through the records, in their order: an alias stands before what it leads to. */
struct message_walk {
	struct span m;
	size_t at;
	char *name; /* whose addresses count: the one asked for, then its alias */
	uint16_t type, address_bytes;
	struct address *to;
	size_t n;
};

/* The name at *at, which moves behind it. NULL: there is none. For ares_free_string(). */
static char *message_name(struct span m, size_t *at)
{
	char *name = NULL;
	long len = 0;

	if (*at >= m.len || ares_expand_name(m.p + *at, m.p, (int)m.len, &name, &len) != ARES_SUCCESS)
		return NULL;
	*at += (size_t)len;
	return name;
}

static bool message_same_name(const char *a, const char *b)
{
	while (*a && message_lower((uint8_t)*a) == message_lower((uint8_t)*b)) {
		a++;
		b++;
	}
	return *a == *b;
}

static int message_follow(struct message_walk *w, size_t at)
{
	char *name = message_name(w->m, &at);

	if (!name)
		return MESSAGE_E_INVALID;
	ares_free_string(w->name);
	w->name = name;
	return at == w->at ? 0 : MESSAGE_E_INVALID;
}

static int message_keep(struct message_walk *w, struct span data)
{
	if (data.len != w->address_bytes || w->n == MESSAGE_ADDRESSES_MAX)
		return MESSAGE_E_INVALID;
	struct address *a = &w->to[w->n++];
	a->family = w->type == TYPE_A ? AF_INET : AF_INET6;
	memcpy(w->type == TYPE_A ? a->v4 : a->v6, data.p, data.len);
	return 0;
}

static int message_record(struct message_walk *w)
{
	char *owner = message_name(w->m, &w->at);
	bool whole = owner && w->m.len - w->at >= MESSAGE_RECORD_BYTES;
	bool counts = whole && message_same_name(owner, w->name);

	ares_free_string(owner);
	if (!whole)
		return MESSAGE_E_INVALID;
	const uint8_t *head = w->m.p + w->at;
	uint16_t type = message_u16(head), len = message_u16(head + 8);
	size_t data = w->at + MESSAGE_RECORD_BYTES;
	if (len > w->m.len - data)
		return MESSAGE_E_INVALID;
	w->at = data + len;
	if (!counts || message_u16(head + 2) != CLASS_IN)
		return 0;
	if (type == TYPE_CNAME)
		return message_follow(w, data);
	return type == w->type ? message_keep(w, span_of(w->m.p + data, len)) : 0;
}

/* Behind the question, which is the same in both. */
static int message_records(struct span query, struct span answer, struct message_walk *w)
{
	size_t at = MESSAGE_HEAD_BYTES;
	int r = 0;

	w->m = answer;
	w->at = query.len;
	w->type = message_u16(query.p + query.len - 4);
	w->address_bytes = w->type == TYPE_A ? 4 : 16;
	w->name = message_name(answer, &at);
	if (!w->name)
		return MESSAGE_E_INVALID;
	for (unsigned left = message_u16(answer.p + 6); !r && left > 0; left--)
		r = message_record(w);
	ares_free_string(w->name);
	return r;
}

int message_read(struct span query, struct span answer, struct address *to, size_t *ret_n)
{
	struct message_walk walk = {.to = to};

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
	int r = message_records(query, answer, &walk);
	if (r || walk.n == 0)
		return r ? r : MESSAGE_E_NO_DATA;
	*ret_n = walk.n;
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
