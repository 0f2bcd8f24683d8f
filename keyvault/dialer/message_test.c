/* SPDX-License-Identifier: Apache-2.0 */
#include "keyvault/dialer/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <cmocka.h>

/* A message under construction: the question of `a.bc` again, and what a test adds. */
struct answer {
	uint8_t query[MESSAGE_QUERY_BYTES], m[4096];
	size_t query_len, len;
	struct address to[MESSAGE_ADDRESSES_MAX];
	size_t n;
};

static void begin(struct answer *a, int family)
{
	*a = (struct answer){.len = 0};
	a->query_len = message_query("a.bc", family, 0x1234, a->query);
	memcpy(a->m, a->query, a->query_len);
	a->m[2] = 0x81;
	a->m[3] = 0x80;
	a->len = a->query_len;
}

static void put(struct answer *a, uint8_t type, const void *data, uint8_t len)
{
	const uint8_t head[] = {0xc0, 12, 0, type, 0, 1, 0, 0, 0, 1, 0, len};

	memcpy(a->m + a->len, head, sizeof(head));
	memcpy(a->m + a->len + sizeof(head), data, len);
	a->len += sizeof(head) + len;
	a->m[7]++;
}

static int read_it(struct answer *a)
{
	a->n = 999;
	return message_read(span_of(a->query, a->query_len), span_of(a->m, a->len), a->to, &a->n);
}

static void a_question(void **state)
{
	static const uint8_t want[] = {0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 2, 'b', 'c', 0, 0, 28, 0, 1};
	uint8_t got[MESSAGE_QUERY_BYTES];
	char host[254];

	(void)state;
	assert_int_equal(message_query("a.bc", AF_INET6, 0xabcd, got), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
	memset(host, 'a', sizeof(host));
	for (size_t i = 63; i < sizeof(host); i += 64)
		host[i] = '.';
	host[253] = 0;
	assert_int_equal(message_query(host, AF_INET, 0, got), sizeof(got));
}

static void addresses_of_the_family(void **state)
{
	static const uint8_t v4[] = {198, 41, 0, 4}, v6[16] = {0x20, 0x01, 5, 3, [15] = 0x30};
	struct answer a;

	(void)state;
	begin(&a, AF_INET);
	put(&a, 1, v4, 4);
	put(&a, 28, v6, 16);
	assert_int_equal(read_it(&a), 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.to[0].family, AF_INET);
	assert_memory_equal(a.to[0].v4, v4, 4);
	begin(&a, AF_INET6);
	put(&a, 1, v4, 4);
	put(&a, 28, v6, 16);
	assert_int_equal(read_it(&a), 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.to[0].family, AF_INET6);
	assert_memory_equal(a.to[0].v6, v6, 16);
	begin(&a, AF_INET);
	put(&a, 28, v6, 16);
	assert_int_equal(read_it(&a), MESSAGE_E_NO_DATA);
}

static void only_an_answer_to_this_question(void **state)
{
	struct answer a;

	(void)state;
	begin(&a, AF_INET);
	put(&a, 1, "\1\2\3\4", 4);
	for (size_t bit = 0; bit < 8 * a.query_len; bit++) {
		struct answer b = a;
		size_t at = bit / 8;
		b.m[at] ^= (uint8_t)(1 << bit % 8);
		int r = read_it(&b);
		bool tolerated = (at == 2 && bit % 8 < 3) || (at == 3 && bit % 8 > 3) || (at >= 6 && at < 12);
		bool letter = bit % 8 == 5 && a.m[at] >= 'a' && a.m[at] <= 'z';
		if (at == 3 && bit % 8 <= 3)
			assert_true(r == MESSAGE_E_SERVER || r == MESSAGE_E_NO_NAME);
		else if (letter)
			assert_int_equal(r, 0); /* the case of a letter is no difference */
		else if (!tolerated && r != MESSAGE_E_NOT_OURS)
			fail_msg("byte %zu bit %zu: %d", at, bit % 8, r);
	}
	for (a.len = 0; a.len < a.query_len; a.len++)
		assert_int_equal(read_it(&a), MESSAGE_E_NOT_OURS);
}

static void codes(void **state)
{
	struct answer a;

	(void)state;
	for (uint8_t rcode = 0; rcode < 16; rcode++) {
		begin(&a, AF_INET);
		put(&a, 1, "\1\2\3\4", 4);
		a.m[3] = 0x80 | rcode;
		assert_int_equal(read_it(&a), rcode == 0 ? 0 : rcode == 3 ? MESSAGE_E_NO_NAME : MESSAGE_E_SERVER);
	}
	begin(&a, AF_INET);
	assert_int_equal(read_it(&a), MESSAGE_E_NO_DATA);
	for (int error = MESSAGE_E_NOT_OURS; error <= MESSAGE_E_INVALID; error++)
		assert_string_not_equal(message_why(error), "");
}

static void a_torn_answer_is_invalid(void **state)
{
	struct answer a;

	(void)state;
	begin(&a, AF_INET);
	put(&a, 1, "\1\2\3\4", 4);
	size_t whole = a.len;
	for (a.len = a.query_len; a.len < whole; a.len++)
		assert_true(read_it(&a) == MESSAGE_E_INVALID || read_it(&a) == MESSAGE_E_NO_DATA);
}

static void no_more_than_the_limit(void **state)
{
	struct answer a;

	(void)state;
	for (size_t n = MESSAGE_ADDRESSES_MAX - 1; n <= MESSAGE_ADDRESSES_MAX + 1; n++) {
		begin(&a, AF_INET);
		for (size_t i = 0; i < n; i++)
			put(&a, 1, (const uint8_t[]){1, 2, 3, (uint8_t)i}, 4);
		assert_int_equal(read_it(&a), n <= MESSAGE_ADDRESSES_MAX ? 0 : MESSAGE_E_INVALID);
		if (n <= MESSAGE_ADDRESSES_MAX)
			assert_int_equal(a.n, n);
	}
}

static void an_alias_is_followed(void **state)
{
	static const uint8_t alias[] = {1, 'x', 0};
	static const uint8_t of_alias[] = {1, 'x', 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 9, 9, 9, 9};
	struct answer a;

	(void)state;
	begin(&a, AF_INET);
	put(&a, 5, alias, sizeof(alias));
	memcpy(a.m + a.len, of_alias, sizeof(of_alias));
	a.len += sizeof(of_alias);
	a.m[7]++;
	assert_int_equal(read_it(&a), 0);
	assert_int_equal(a.n, 1);
	assert_memory_equal(a.to[0].v4, "\11\11\11\11", 4);
	/* an address of a name that nothing leads to */
	begin(&a, AF_INET);
	memcpy(a.m + a.len, of_alias, sizeof(of_alias));
	a.len += sizeof(of_alias);
	a.m[7]++;
	assert_int_equal(read_it(&a), MESSAGE_E_NO_DATA);
}

/* A record of any name, type, class and content. */
static void put_any(struct answer *a, const char *owner, uint16_t type, uint8_t class, const void *data, uint8_t len)
{
	const uint8_t head[] = {0, (uint8_t)type, 0, class, 0, 0, 0, 1, 0, len};
	size_t n = strlen(owner) + (owner[0] == '\xc0' ? 0 : 1); /* a pointer has no end */

	memcpy(a->m + a->len, owner, n);
	memcpy(a->m + a->len + n, head, sizeof(head));
	memcpy(a->m + a->len + n + sizeof(head), data, len);
	a->len += n + sizeof(head) + len;
	a->m[7]++;
}

/* Names as others write them, aliases in a chain, and what does not belong to it. */
static void only_what_the_question_leads_to(void **state)
{
	struct answer a;

	(void)state;
	begin(&a, AF_INET);
	put_any(&a, "\1A\2Bc", 5, 1, "\1x\xc0\x0e", 4); /* x.bc */
	put_any(&a, "\xc0\x0c", 1, 1, "\1\1\1\1", 4);   /* an alias has no address of its own */
	put_any(&a, "\1x\2bC", 5, 1, "\1y", 3);
	put_any(&a, "\1x\2bc", 1, 1, "\2\2\2\2", 4);
	put_any(&a, "\1y", 1, 3, "\3\3\3\3", 4); /* another class */
	put_any(&a, "\1y", 16, 1, "\3\3\3\3", 4);
	put_any(&a, "\1y", 1, 1, "\4\4\4\4", 4);
	put_any(&a, "\2yy", 1, 1, "\5\5\5\5", 4);
	put_any(&a, "", 1, 1, "\6\6\6\6", 4);
	assert_int_equal(read_it(&a), 0);
	assert_int_equal(a.n, 1);
	assert_memory_equal(a.to[0].v4, "\4\4\4\4", 4);

	begin(&a, AF_INET); /* the end of a chain before its beginning */
	put_any(&a, "\1x", 1, 1, "\4\4\4\4", 4);
	put_any(&a, "\xc0\x0c", 5, 1, "\1x", 3);
	assert_int_equal(read_it(&a), MESSAGE_E_NO_DATA);
}

static void what_is_not_what_it_is_called_is_invalid(void **state)
{
	static const struct {
		uint16_t type;
		const char *data;
		uint8_t len;
	} rows[] = {
		{1, "\1\2\3", 3},  {1, "\1\2\3\4\5", 5}, {1, "", 0},
		{5, "", 0}, /* the next byte is none of it */
		{5, "\1x\0\0", 4}, {5, "\1x\0", 2},      {5, "\xc0\xff", 2},
	};
	struct answer a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(&a, AF_INET);
		put(&a, (uint8_t)rows[i].type, rows[i].data, rows[i].len);
		put(&a, 1, "\1\2\3\4", 4);
		assert_int_equal(read_it(&a), MESSAGE_E_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question),
		cmocka_unit_test(addresses_of_the_family),
		cmocka_unit_test(only_an_answer_to_this_question),
		cmocka_unit_test(codes),
		cmocka_unit_test(a_torn_answer_is_invalid),
		cmocka_unit_test(no_more_than_the_limit),
		cmocka_unit_test(an_alias_is_followed),
		cmocka_unit_test(only_what_the_question_leads_to),
		cmocka_unit_test(what_is_not_what_it_is_called_is_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
