/* SPDX-License-Identifier: Apache-2.0 */
/* From the connection to the lane: how often the scrubber is asked, and in which order streams are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "keyvault/egress/egress.h"
#include "keyvault/egress/relay.h"

/* ---- who else there is ---- */

/* A connection. The streams of a test have one each. */
struct tls {
	const char *says;
	char name;
	int then; /* TLS_E_READ unless the test says otherwise */
};

static struct {
	unsigned feeds, heads, refused;
	char body[128 << 10], calls[16]; /* of the connections, by name: read in lower case, passed on in upper */
	bool watched, paused;
	int watch;
	size_t queued; /* in the lane */
	size_t tail;   /* let out at the end: the scrubber had held it */
	enum reason broken;
	struct exchange *ends; /* with the next that is passed on */
} fake;

static void called(char c)
{
	assert_true(strlen(fake.calls) + 1 < sizeof(fake.calls));
	fake.calls[strlen(fake.calls)] = c;
}

int tls_read(struct tls *t, uint8_t *to, size_t cap, size_t *ret_len)
{
	called(t->name);
	*ret_len = MIN(strlen(t->says), cap);
	memcpy(to, t->says, *ret_len);
	t->says += *ret_len;
	return *ret_len > 0 ? 0 : t->then;
}

bool tls_pending(const struct tls *t)
{
	return *t->says != '\0';
}

void upstream_pause(struct upstream *u)
{
	(void)u;
	fake.paused = true;
}

int upstream_watch(struct upstream *u, int events)
{
	(void)u;
	fake.watched = events == UV_READABLE;
	return fake.watch;
}

void exchange_break(struct exchange *x, enum reason why)
{
	(void)x;
	fake.broken = why;
}

void exchange_read(struct exchange *x)
{
	called((char)(x->upstream->tls->name - 'a' + 'A'));
	if (fake.ends)
		list_unlink(&fake.ends->in_readable);
	x->why = relay_take(x);
}

void credential_refuse(struct credential *c, const struct credential_key *key)
{
	(void)c;
	(void)key;
	fake.refused++;
}

size_t ipc_queued(const struct ipc_conn *conn)
{
	(void)conn;
	return fake.queued;
}

int ipc_send(struct ipc_conn *conn, enum proto_type type, uint64_t id, const void *msg)
{
	const struct proto_data *data = msg;

	(void)conn;
	(void)id;
	fake.heads += type == PROTO_REPLY_HEAD;
	if (type != PROTO_DATA)
		return 0;
	assert_true(data->bytes.len <= EGRESS_DATA_BYTES);
	assert_true(strlen(fake.body) + data->bytes.len < sizeof(fake.body));
	memcpy(fake.body + strlen(fake.body), data->bytes.p, data->bytes.len);
	return 0;
}

void ipc_drop(struct ipc_conn *conn, const char *why)
{
	(void)conn;
	(void)why;
	fail();
}

void scrub_begin(struct scrub_pass *pass, const struct scrub *s)
{
	*pass = (struct scrub_pass){.scrub = s};
}

size_t scrub_feed(struct scrub_pass *pass, struct span in, uint8_t *out)
{
	(void)pass;
	fake.feeds += in.len > 0;
	span_copy(out, in);
	return in.len;
}

size_t scrub_end(struct scrub_pass *pass, uint8_t *out)
{
	(void)pass;
	memset(out, 't', fake.tail);
	return fake.tail;
}

/* ---- the relay ---- */

struct stream {
	struct exchange x;
	struct upstream upstream;
	struct tls tls;
};

struct world {
	struct egress eg;
	struct lane lane;
	struct credential_key key;
	struct stream a, b, c;
	struct secret secret;
};

static void stream_begin(struct world *w, struct stream *s, char name)
{
	s->tls = (struct tls){.says = "", .name = name, .then = TLS_E_READ};
	s->upstream.tls = &s->tls;
	s->x = (struct exchange){.eg = &w->eg,
				 .lane = &w->lane,
				 .key = &w->key,
				 .upstream = &s->upstream,
				 .credit = EGRESS_CREDIT_BYTES,
				 .request.method = PROTO_POST};
	list_init(&s->x.in_readable);
	list_init(&s->x.in_stalled);
	relay_begin(&s->x);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	memset(&fake, 0, sizeof(fake));
	assert_int_equal(secret_arena_new(4096, &w->eg.arena), 0);
	assert_int_equal(secret_alloc(w->eg.arena, 1, &w->secret), 0);
	w->eg.config.router.stream_bytes_max = 1 << 20;
	w->key.scrub.len_min = 8;
	list_init(&w->eg.readable);
	list_init(&w->eg.stalled);
	stream_begin(w, &w->a, 'a');
	stream_begin(w, &w->b, 'b');
	stream_begin(w, &w->c, 'c');
	*state = w;
	return 0;
}

/* The kernel does not read for us what is closed. */
static bool is_closed(const struct secret *s)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	bool closed = write(ends[1], s->p, s->len) < 0;
	(void)close(ends[0]);
	(void)close(ends[1]);
	return closed;
}

static int teardown(void **state)
{
	struct world *w = *state;

	assert_true(list_empty(&w->eg.readable));
	assert_true(is_closed(&w->secret));
	for (size_t i = 0; i < sizeof(w->eg.in); i++)
		assert_int_equal(w->eg.in[i], 0); /* whatever was read */
	reply_deinit(&w->a.x.reply);
	reply_deinit(&w->b.x.reply);
	reply_deinit(&w->c.x.reply);
	secret_free(w->eg.arena, &w->secret);
	secret_arena_free(w->eg.arena);
	free(w);
	return 0;
}

static void says(struct stream *s, const char *text)
{
	s->tls.says = text;
	relay_later(&s->x);
	relay_later(&s->x); /* twice is once */
}

static void a_body_in_many_chunks_is_looked_at_once(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n1");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_string_equal(fake.body, "abcd");
	assert_int_equal(fake.feeds, 1);
	says(&w->a, "\r\ne\r\n1\r\nf\r\n0\r\n\r\n");
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_true(w->a.x.reply_over && !w->a.x.unclean);
	assert_string_equal(fake.body, "abcdef");
	assert_int_equal(fake.feeds, 2);
	assert_int_equal(fake.heads, 1);
	assert_int_equal(w->a.x.body_bytes, 6);
}

#define REPLY_OF(c) "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" c

static void all_are_read_before_any_is_passed_on(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1"));
	says(&w->b, REPLY_OF("2"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abAB");
	assert_string_equal(fake.body, "12");
	assert_true(w->a.x.reply_over && w->b.x.reply_over);
}

static void one_that_ends_meanwhile_is_not_passed_on(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1"));
	says(&w->b, REPLY_OF("2"));
	fake.ends = &w->b.x;
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abA");
	assert_string_equal(fake.body, "1");
}

/* What is left in OpenSSL's hands wakes nobody. */
static void what_there_is_no_credit_for_is_not_forgotten(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n");
	relay_turn(&w->eg);
	w->a.x.credit = 3;
	says(&w->a, "123567");
	says(&w->b, REPLY_OF("4"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aAabABA"); /* the last one finds no room, and reads nothing */
	assert_string_equal(fake.body, "1234");
	assert_true(fake.paused);
	w->a.x.credit = 3;
	relay_resume(&w->a.x);
	assert_true(fake.watched);
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1234567");
	assert_int_equal(w->a.x.credit, 0);
	relay_resume(&w->a.x);
	assert_true(list_empty(&w->eg.readable)); /* nothing is there */
	fake.watch = -1;
	relay_resume(&w->a.x);
	assert_int_equal(fake.broken, REASON_INTERNAL);
}

/* For the last there may be no room behind the others: it waits for the next batch. */
static void what_is_read_at_once_fits(void **state)
{
	static char body[EGRESS_READ_BYTES + 1];
	struct world *w = *state;
	struct stream *all[] = {&w->a, &w->b, &w->c};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		says(all[i], "HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n");
		relay_turn(&w->eg);
	}
	memset(fake.calls, 0, sizeof(fake.calls));
	memset(body, 'x', EGRESS_READ_BYTES);
	says(&w->a, body + EGRESS_READ_BYTES - 20000);
	says(&w->b, body);
	says(&w->c, body);
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "abABcC");
	assert_int_equal(strlen(fake.body), 20000 + 2 * EGRESS_READ_BYTES);
}

static void one_that_is_woken_for_nothing_waits(void **state)
{
	struct world *w = *state;

	says(&w->a, "");
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "aA");
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_false(w->a.x.reply_over || w->a.x.unclean || fake.paused);
}

/* What came before the end is passed on first. */
static void an_end_is_told_from_a_cut(void **state)
{
	struct world *w = *state;

	w->a.tls.then = w->b.tls.then = TLS_E_CLOSED;
	w->c.tls.then = TLS_E_BROKEN;
	says(&w->a, "HTTP/1.1 200 OK\r\n\r\n1");
	says(&w->b, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n2");
	says(&w->c, "HTTP/1.1 200 OK\r\n\r\n3");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "123");
	for (struct stream *s = &w->a; s; s = s == &w->a ? &w->b : s == &w->b ? &w->c : NULL) {
		assert_false(s->x.reply_over);
		says(s, "");
	}
	relay_turn(&w->eg);
	assert_true(w->a.x.reply_over && w->a.x.unclean);
	assert_int_equal(w->a.x.why, REASON_NONE);
	assert_false(w->b.x.reply_over || w->c.x.reply_over);
	assert_int_equal(w->b.x.why, REASON_UPSTREAM_BROKEN);
	assert_int_equal(w->c.x.why, REASON_UPSTREAM_BROKEN);
}

/* It may yet have to be let out. */
static void for_what_the_scrubber_holds_there_is_credit(void **state)
{
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n");
	relay_turn(&w->eg);
	w->a.x.credit = 5;
	w->a.x.scrub.held = 2;
	says(&w->a, "123456");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "123");
	assert_true(fake.paused);
	w->a.tls.says = "";
}

static void what_was_held_back_leaves_in_a_frame_of_its_own_where_there_is_no_room(void **state)
{
	static char body[EGRESS_READ_BYTES + 1];
	struct world *w = *state;

	says(&w->a, "HTTP/1.1 200 OK\r\ncontent-length: 32768\r\n\r\n");
	relay_turn(&w->eg);
	memset(body, 'x', EGRESS_READ_BYTES);
	says(&w->a, body);
	fake.tail = 3;
	relay_turn(&w->eg);
	assert_int_equal(strlen(fake.body), EGRESS_READ_BYTES + 3);
	assert_string_equal(fake.body + EGRESS_READ_BYTES - 1, "xttt");
	assert_int_equal(w->a.x.body_bytes, EGRESS_READ_BYTES + 3);
}

static void nobody_reads_for_a_lane_that_is_full(void **state)
{
	struct world *w = *state;

	fake.queued = EGRESS_LANE_BYTES_HIGH + 1;
	says(&w->a, REPLY_OF("1"));
	relay_turn(&w->eg);
	assert_string_equal(fake.calls, "A");
	assert_true(fake.paused && list_first(&w->eg.stalled) == &w->a.x.in_stalled);
	fake.queued--;
	relay_resume(&w->a.x);
	assert_true(fake.watched && list_empty(&w->eg.stalled));
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1");
}

static void what_nobody_asked_for_spoils_the_connection(void **state)
{
	struct world *w = *state;

	says(&w->a, REPLY_OF("1") "HTTP/1.1 200 OK\r\n");
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "1");
	assert_true(w->a.x.reply_over && w->a.x.unclean);
}

#define REFUSAL "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"

/* With another key to try nothing of it is passed on, nor to the stream that is next. */
static void a_refused_key_is_the_routers_to_know_only_where_it_is_the_last(void **state)
{
	struct world *w = *state;

	w->a.x.spare = true;
	says(&w->a, REFUSAL);
	says(&w->b, REPLY_OF("2"));
	relay_turn(&w->eg);
	assert_int_equal(w->a.x.why, REASON_KEY_REFUSED);
	assert_string_equal(fake.body, "2");
	assert_int_equal(fake.heads, 1);
	assert_int_equal(fake.refused, 0);
	says(&w->c, REFUSAL);
	relay_turn(&w->eg);
	assert_string_equal(fake.body, "2no");
	assert_int_equal(fake.refused, 1);
}

int main(void)
{
	/* clang-format off */
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_body_in_many_chunks_is_looked_at_once),
		TEST(all_are_read_before_any_is_passed_on),
		TEST(one_that_ends_meanwhile_is_not_passed_on),
		TEST(what_there_is_no_credit_for_is_not_forgotten),
		TEST(what_is_read_at_once_fits),
		TEST(one_that_is_woken_for_nothing_waits),
		TEST(an_end_is_told_from_a_cut),
		TEST(for_what_the_scrubber_holds_there_is_credit),
		TEST(what_was_held_back_leaves_in_a_frame_of_its_own_where_there_is_no_room),
		TEST(nobody_reads_for_a_lane_that_is_full),
		TEST(what_nobody_asked_for_spoils_the_connection),
		TEST(a_refused_key_is_the_routers_to_know_only_where_it_is_the_last),
	};
	/* clang-format on */
	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
