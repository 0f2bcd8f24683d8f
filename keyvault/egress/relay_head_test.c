/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on of an answer's head, what is kept of it for the record, and what an answer is refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/head_digest.h"
#include "tests/support/relay_world.h"

/* Values lie one behind the other, each as the scrubber lets it out. */
static void the_values_of_a_head_are_scrubbed(void **state)
{
	struct world *w = *state;
	const struct proto_header fields[] = {{SPAN_LIT("content-type"), SPAN_LIT("text/plain; a=b")},
					      {SPAN_LIT("retry-after"), SPAN_LIT("7")},
					      {SPAN_LIT("openai-model"), SPAN_LIT("K-8-long")}};
	uint8_t digest[SHA256_BYTES];

	says(&w->a, "HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain; a=b\r\nset-cookie: a=b\r\n"
		    "retry-after: 7\r\nopenai-model: K-8-long\r\ncontent-length: 3\r\n\r\n");
	relay_turn(&w->eg);
	assert_string_equal(fake.head, "text/plain; a=b|7|K-8-long|");
	assert_int_equal(fake.feeds, 2); /* the short one cannot hold a secret */
	assert_int_equal(w->a.x.scrub.found, 1);
	assert_int_equal(w->a.x.status, 429);
	assert_true(w->a.x.head_sent);
	assert_int_equal(fake.refused, 0);
	head_digest(429, fields, ARRAY_LEN(fields), digest);
	assert_memory_equal(w->a.x.head_digest, digest, sizeof(digest));
}

/* It may be a secret after all: of a value, too, the end is let out last. */
static void what_is_held_back_of_a_value_goes_on(void **state)
{
	struct world *w = *state;

	fake.tail = 2;
	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nopenai-model: a-long-one\r\n\r\n");
	relay_turn(&w->eg);
	assert_string_equal(fake.head, "text/plaintt|a-long-onett|");
}

/* Eight thousand bytes each: the fifth would lie behind the end. */
static void values_that_there_is_no_room_for_are_empty(void **state)
{
	static char text[48 << 10], value[8001];
	struct world *w = *state;
	size_t len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");

	memset(value, 'v', sizeof(value) - 1);
	for (int i = 0; i < 5; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "openai-model: %s\r\n", value);
	(void)snprintf(text + len, sizeof(text) - len, "content-type: text/plain\r\n\r\n");
	says(&w->a, text);
	relay_turn(&w->eg);
	assert_int_equal(strlen(fake.head), 4 * sizeof(value) + 1 + sizeof("text/plain"));
	assert_string_equal(fake.head + 4 * sizeof(value), "|text/plain|");
	assert_int_equal(w->a.x.why, REASON_NONE);
}

/* That the grant has another try is for a refused key alone. */
static void other_answers_are_no_refusal_of_the_key(void **state)
{
	struct world *w = *state;

	w->a.x.spare = true;
	says(&w->a, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_true(w->a.x.reply_over);
	assert_false(w->a.x.refused);
	assert_int_equal(fake.refused, 0);
	assert_string_equal(fake.body, "no");
}

static void an_answer_that_cannot_be_used_has_its_reason(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n");
	says(&w->b, "HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n");
	says(&w->c, "HTTP/1.1 200 OK\ncontent-length: 0\n\n");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_UPSTREAM_REDIRECT);
	assert_int_equal(w->b.x.why, REASON_UPSTREAM_TOO_LARGE);
	assert_int_equal(w->c.x.why, REASON_UPSTREAM_INVALID);
	assert_int_equal(fake.heads, 0);
}

/* For the receipt: of all that was let out, in its order. */
static void the_digest_is_of_what_has_left(void **state)
{
	struct world *w = *state;
	uint8_t digest[SHA256_BYTES], expected[SHA256_BYTES];
	struct sha256 of;

	w->a.tls.then = TLS_E_CLOSED;
	fake.tail = 2;
	says(&w->a, "HTTP/1.1 200 OK\r\n\r\nabc");
	relay_turn(&w->eg);
	says(&w->a, "def");
	relay_turn(&w->eg);
	says(&w->a, "");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "abcdeftt");
	sha256_end(&w->a.x.digest, digest);
	sha256_begin(&of);
	sha256_add(&of, SPAN_LIT("abcdeftt"));
	sha256_end(&of, expected);
	assert_memory_equal(digest, expected, sizeof(digest));
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, relay_setup, relay_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_values_of_a_head_are_scrubbed),
		TEST(what_is_held_back_of_a_value_goes_on),
		TEST(values_that_there_is_no_room_for_are_empty),
		TEST(other_answers_are_no_refusal_of_the_key),
		TEST(an_answer_that_cannot_be_used_has_its_reason),
		TEST(the_digest_is_of_what_has_left),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("relay_head", tests, NULL, NULL);
}
