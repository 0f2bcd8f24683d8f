/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request machine against a simulated world: clients that send in pieces, pipeline, stall and leave; an authd, a
 * classifier and an egress that answer late, refuse, break off, start anew or say nothing; and a clock that only we
 * move. The world is in tests/support/router_world.c.
 *
 * The driver itself asserts that no transition is illegal. Checked besides: whatever happens every connection comes to
 * its end and gives back what it holds; each request is recorded exactly once; an answer that reaches its client in
 * good order is one that the provider finished; a stream without its last event never ends in good order; and a plain
 * answer that is not large is never cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/router_world.h"

#define SIM_CONNECTIONS 16000

/* ---- clients ---- */

static void client_script(struct client *c)
{
	for (size_t n = 1 + chance(5); n > 0; n--)
		c->in_len += test_request(c->in + c->in_len, sizeof(c->in) - c->in_len, chance(12), chance(4));
}

static void client_begin(struct client *c)
{
	*c = (struct client){.alive = true, .out = malloc(SIM_OUT_BYTES)};
	assert(c->out);
	client_script(c);
	request_init(&c->request, &sim.all, c);
	sim.begun++;
}

static void client_give(struct client *c)
{
	uint8_t piece[SIM_PIECE_BYTES];
	size_t most = 1 + chance(chance(2) ? sizeof(piece) : 8), n = MIN(most, c->in_len - c->in_at);

	if (n == 0) {
		if (chance(5) == 0)
			world_tell(c, EV_GONE);
		return;
	}
	memcpy(piece, c->in + c->in_at, n);
	c->in_at += n;
	request_input(&c->request, span_of(piece, n));
}

/* Takes a part of what is offered. */
static void client_take(struct client *c)
{
	struct iovec iov[REPLY_IOV_MAX];
	int n = reply_iov(&c->request.reply, iov);
	size_t room = chance(3) ? SIM_OUT_BYTES : 1 + chance(2000), taken = 0;

	assert(n >= 0);
	for (int i = 0; i < n; i++) {
		size_t part = MIN(room - taken, iov[i].iov_len);
		if (c->out_len + part <= SIM_OUT_BYTES) {
			memcpy(c->out + c->out_len, iov[i].iov_base, part);
			c->out_len += part;
		}
		taken += part;
	}
	c->dirty = n > 0;
	if (n == 0)
		return;
	int e = reply_sent(&c->request.reply, taken);
	assert(e == 0);
	const struct request *r = &c->request;
	if (r->stream && !r->stream_done && r->record.reason == REASON_NONE)
		assert(!r->reply.ended);
	if (r->reply.cut && c->out_len >= 5)
		assert(memcmp(c->out + c->out_len - 5, "0\r\n\r\n", 5) != 0);
	if (r->reply.cut && !r->stream)
		assert(c->stream.blank || c->stream.sent > REPLY_WHOLE_BYTES_MAX);
	world_tell(c, EV_SENT);
}

static void client_step(struct client *c)
{
	uint64_t what = chance(1000);

	if (what < 3)
		world_tell(c, EV_GONE);
	else if (what == 3 && (c->request.state >= REQUEST_OPEN && c->request.state <= REQUEST_RELAY))
		world_tell(c, EV_REVOKED);
	else if (what < 300 && c->dirty)
		client_take(c);
	else if (what < 600 && c->asks)
		world_answer(c);
	else if (what < 900 && c->stream.phase)
		world_stream(c);
	else if (c->wants)
		client_give(c);
}

/* ---- the world ---- */

static void sim_reap(struct client *c)
{
	if (!c->out || c->alive)
		return;
	assert(c->call == 0); /* else its key has one less for ever */
	request_deinit(&c->request);
	free(c->out);
	c->out = NULL;
	sim.closed++;
}

static void sim_run(size_t connections)
{
	for (size_t turn = 0; sim.closed < connections; turn++) {
		struct client *c = &sim.clients[chance(SIM_TOGETHER)];
		if (!c->out && sim.begun < connections)
			client_begin(c);
		if (c->out && c->alive)
			client_step(c);
		if (chance(100) == 0)
			world_restart_egress();
		sim.all.now_us += chance(1000) ? chance(2000) : chance(4000000);
		if (requests_next_ms(&sim.all) <= sim.all.now_us / 1000)
			requests_expire(&sim.all);
		for (size_t i = 0; i < SIM_TOGETHER; i++)
			sim_reap(&sim.clients[i]);
		assert(turn < connections * 20000); /* nothing hangs */
	}
}

static void test_many_requests(void **state)
{
	const char *given = getenv("SIM_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 0x9e3779b97f4a7c15;

	(void)state;
	print_message("SIM_SEED=%llu\n", (unsigned long long)seed);
	world_init(seed);
	sim_run(SIM_CONNECTIONS);
	print_message("%zu connections, %zu records: %zu complete, %zu cut, %zu refused; %zu settled, %zu renewed\n",
		      sim.closed, sim.records, sim.completes, sim.cuts, sim.refusals, sim.settles, sim.renewals);
	assert_int_equal(sim.promises, 0);
	assert_true(sim.completes > 500 && sim.cuts > 200 && sim.refusals > 500 && sim.renewals > 500);
	requests_deinit(&sim.all);
}

static void test_draining_ends_idle_connections(void **state)
{
	(void)state;
	world_init(7);
	client_begin(&sim.clients[0]);
	sim.clients[0].in_len = 0;
	requests_shutdown(&sim.all);
	sim_reap(&sim.clients[0]);
	requests_deinit(&sim.all);
}

static void tell(struct client *c, const struct event *ev)
{
	request_event(&c->request, ev);
}

/* A client of its own whose chat was permitted, and whose exchange is open. */
static struct client *client_in_open(void)
{
	static const char text[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n"
				   "Content-Length: 13\r\n\r\n{\"model\":\"m\"}";
	uint8_t grant[48] = {1, [8 ... 47] = 0xab};
	const struct proto_permit permit = {
		.tenant = SPAN_LIT("t"),
		.principal = SPAN_LIT("k"),
		.grant = span_of(grant, sizeof(grant)),
		.routes = {.count = 1, .raw = span_of(sim.routes, sim.routes_len)},
	};
	struct client *c = &sim.clients[0];

	client_begin(c);
	request_input(&c->request, span_of(text, sizeof(text) - 1));
	assert_int_equal(c->asks, ASKS_PERMIT);
	c->asks = ASKS_NOTHING;
	c->request.call.conn = NULL;
	tell(c, &(struct event){.kind = EV_PERMIT, .permit = &permit});
	assert_int_equal(c->request.state, REQUEST_OPEN);
	return c;
}

static void client_end(struct client *c)
{
	if (c->alive)
		world_tell(c, EV_GONE);
	sim_reap(c);
	requests_deinit(&sim.all);
}

/* Whoever is still waiting when an end waits no longer is told; what was said already still leaves. */
static void test_an_end_refuses_what_is_under_way(void **state)
{
	(void)state;
	world_init(7);
	struct client *c = client_in_open();
	requests_shutdown(&sim.all);
	assert_int_equal(c->request.state, REQUEST_OPEN);
	requests_end(&sim.all);
	assert_int_equal(c->request.state, REQUEST_FLUSH);
	requests_end(&sim.all);
	while (c->dirty)
		client_take(c);
	c->out[c->out_len] = '\0';
	assert_memory_equal(c->out, "HTTP/1.1 503 ", 13);
	assert_non_null(strstr((char *)c->out, "\"code\":\"shutting_down\""));
	assert_int_equal(c->request.state, REQUEST_LINGER);
	client_end(c);
}

/* What was said of an answer that never left does not make the refusal in its place one without a body. */
static void test_refused_after_a_head_without_body(void **state)
{
	static const struct event ends[] = {
		{.kind = EV_BROKEN, .broken = {REASON_UPSTREAM_BROKEN, true}},
		{.kind = EV_DATA, .data = SPAN_LIT("HTTP/1.1 200 OK\r\n\r\n")},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		world_init(7);
		struct client *c = client_in_open();
		tell(c,
		     &(struct event){.kind = EV_REPLY_HEAD, .reply_head = &(struct proto_reply_head){.status = 204}});
		if (ends[i].kind == EV_BROKEN) {
			c->stream.phase = STREAM_NONE;
			c->request.upstream.id = 0;
		}
		tell(c, &ends[i]);
		while (c->dirty)
			client_take(c);
		c->out[c->out_len] = '\0';
		assert_memory_equal(c->out, "HTTP/1.1 502 ", 13);
		assert_non_null(strstr((char *)c->out, "\r\n\r\n{\"error\":"));
		client_end(c);
	}
}

/* A new world with one client, whose stream has begun so. */
static struct client *client_in_stream(struct span data)
{
	static const struct proto_header type = {SPAN_LIT("content-type"), SPAN_LIT("text/event-stream")};
	const struct proto_reply_head head = {.status = 200, .headers = {.items = &type, .count = 1}};

	world_init(7);
	struct client *c = client_in_open();
	tell(c, &(struct event){.kind = EV_REPLY_HEAD, .reply_head = &head});
	tell(c, &(struct event){.kind = EV_DATA, .data = data});
	return c;
}

/* How the exchange ends; the client takes what there is. */
static void client_hears_the_end(struct client *c, const struct event *ev)
{
	c->stream.phase = STREAM_NONE;
	c->request.upstream.id = 0;
	tell(c, ev);
	while (c->dirty)
		client_take(c);
}

/* A client that leaves with the last event has its answer; one that leaves before has not, nor one that had no room for
 * it. */
static void test_who_leaves_with_the_last_event_has_it_all(void **state)
{
	static const struct {
		struct span data;
		bool taken, complete;
	} cases[] = {
		{SPAN_LIT("data: {}\n\ndata: [DONE]\n\n"), true, true},
		{SPAN_LIT("data: {}\n\ndata: [DONE]\n\n"), false, false},
		{SPAN_LIT("data: {}\n\ndata: [DONE]\n"), true, false},
		{SPAN_LIT("data: [DONE]\n\ndata: {"), true, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client *c = client_in_stream(cases[i].data);
		while (c->dirty && cases[i].taken)
			client_take(c);
		world_tell(c, EV_GONE);
		assert_int_equal(sim.completes, cases[i].complete);
		assert_int_equal(sim.cuts, !cases[i].complete);
		client_end(c);
	}
}

static const struct event broken = {.kind = EV_BROKEN, .broken = {REASON_UPSTREAM_BROKEN, true}};

/* What breaks behind the last event, taken or not, is no mishap; the event may be an error. */
static void test_what_breaks_behind_the_last_event_is_whole(void **state)
{
	static const struct {
		struct span data;
		bool whole;
	} cases[] = {
		{SPAN_LIT("data: {}\n\ndata: [DONE]\n\n"), true},
		{SPAN_LIT("data: {}\r\n\r\ndata:[DONE]\r\n\r\n\r\n"), true},
		{SPAN_LIT("data: {}\n\ndata: [DONE]\n\ndata: {"), false},
		{SPAN_LIT("data: {}\n\ndata: [DONE]"), false},
		{SPAN_LIT("data: {\"error\":{\"code\":1}}\n\n"), true},
		{SPAN_LIT("event: error\ndata: { \"error\" : \"no room\"}\n\n"), true},
		{SPAN_LIT("data: {\"error\":null,\"id\":1}\n\n"), false},
		{SPAN_LIT("data: {\"id\":\"error\"}\n\n"), false},
		{SPAN_LIT("data: {\"error\"}\n\n"), false},
		{SPAN_LIT("data: {\n\n"), false},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		bool taken = i % 2, whole = cases[i / 2].whole;
		struct client *c = client_in_stream(cases[i / 2].data);
		while (c->dirty && taken)
			client_take(c);
		client_hears_the_end(c, &broken);
		assert_int_equal(sim.completes, whole);
		assert_int_equal(sim.cuts, !whole && taken);
		assert_int_equal(sim.refusals, !whole && !taken);
		client_end(c);
	}
}

/* A stream without [DONE] is whole when its model had finished, and its framing ends in order. */
static void test_a_finished_stream_may_end_in_silence(void **state)
{
	static const uint8_t digest[32];
	static const struct proto_end end = {.digest = {digest, sizeof(digest)}};
	static const struct event in_order = {.kind = EV_END, .end = &end};
	static const struct {
		struct span data;
		bool ends, complete;
	} cases[] = {
		{SPAN_LIT("data: {\"finish_reason\":\"stop\"}\n\ndata: {}\n\n"), true, true},
		{SPAN_LIT("data: {\"finish_reason\":null,\"finish_reason\" : \"length\"}"), true, true},
		{SPAN_LIT("data: {\"finish_reason\":\"stop\"}\n\n"), false, false},
		{SPAN_LIT("data: {\"finish_reason\":\"stop\"}\n\ndata: {\"us"), true, false},
		{SPAN_LIT("data: {\"finish_reason\":\"sto"), true, false},
		{SPAN_LIT("data: {\"finish_reason\":null}\n\n"), true, false},
		{SPAN_LIT("data: {\"finish_reason\":\"\"}\n\n"), true, false},
		{SPAN_LIT("data: {\"content\":\"\\\"finish_reason\\\":\\\"stop\"}\n\n"), true, false},
		{SPAN_LIT("data: \"finish_reason\"\n\n"), true, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client *c = client_in_stream(cases[i].data);
		client_hears_the_end(c, cases[i].ends ? &in_order : &broken);
		assert_int_equal(sim.completes, cases[i].complete);
		client_end(c);
	}
}

/* An event as long as may be passes, whatever comes in one piece with its end; one that is a byte longer does not. */
static void test_the_longest_event(void **state)
{
	enum { PIECE = 32768 };
	static uint8_t text[REPLY_HELD_BYTES_MAX + PIECE];
	static const struct span last = SPAN_LIT("\n\ndata: [DONE]\n\n");

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		size_t len = REPLY_HELD_BYTES_MAX - 2 + more;
		struct client *c = client_in_stream(SPAN_LIT(":\n\n"));

		while (c->dirty)
			client_take(c);
		memset(text, 'x', sizeof(text));
		memcpy(text + len, last.p, last.len);
		sim.all.limits.stream_bytes_max = 2 * sizeof(text);
		for (size_t at = 0, n; at < len + last.len; at += n) {
			n = len - at > PIECE ? (size_t)PIECE : len + last.len - at;
			tell(c, &(struct event){.kind = EV_DATA, .data = span_of(text + at, n)});
		}
		c->stream.phase = STREAM_NONE;
		c->request.upstream.id = 0;
		if (more == 0)
			tell(c, &broken);
		while (c->dirty)
			client_take(c);
		assert_int_equal(sim.completes, more == 0);
		assert_int_equal(sim.cuts, more == 1);
		client_end(c);
	}
}

/* A body that finds no room is over all the same: what is left of it is not taken for a request. */
static void test_no_room_for_a_body(void **state)
{
	static const char text[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n"
				   "Content-Length: 34\r\n\r\nGET /healthz HTTP/1.1\r\nHost: b\r\n\r\n";
	struct client *c = &sim.clients[0];

	(void)state;
	world_init(7);
	client_begin(c);
	c->request.body.small.max = 8;
	request_input(&c->request, span_of(text, sizeof(text) - 1));
	while (c->dirty)
		client_take(c);
	c->out[c->out_len] = '\0';
	assert_memory_equal(c->out, "HTTP/1.1 500 ", 13);
	assert_null(strstr((char *)c->out, "HTTP/1.1 200 "));
	client_end(c);
}

/* A proxy's own field stands behind the one that its client made up. */
static void test_a_proxys_field_counts(void **state)
{
	static const struct {
		const char *fields, *expect;
	} cases[] = {
		{"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 203.0.113.7\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7\r\nx-forwarded-for: 192.0.2.9\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: unknown\r\n", "192.0.2.1"},
		{"", "192.0.2.1"},
	};
	struct client *c = &sim.clients[0];
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world_init(7);
		assert_int_equal(proxies_parse(&sim.all.trusted, "192.0.2.0/24"), 0);
		client_begin(c);
		int len = snprintf(text, sizeof(text), "GET /v1/models HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\n%s\r\n",
				   cases[i].fields);
		request_input(&c->request, span_of(text, (size_t)len));
		assert_string_equal(c->request.record.address, cases[i].expect);
		client_end(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_requests),
		cmocka_unit_test(test_draining_ends_idle_connections),
		cmocka_unit_test(test_an_end_refuses_what_is_under_way),
		cmocka_unit_test(test_refused_after_a_head_without_body),
		cmocka_unit_test(test_who_leaves_with_the_last_event_has_it_all),
		cmocka_unit_test(test_what_breaks_behind_the_last_event_is_whole),
		cmocka_unit_test(test_a_finished_stream_may_end_in_silence),
		cmocka_unit_test(test_the_longest_event),
		cmocka_unit_test(test_no_room_for_a_body),
		cmocka_unit_test(test_a_proxys_field_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
