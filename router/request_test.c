/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request machine against a simulated world: clients that send in pieces, pipeline, stall and leave; an authd, a
 * classifier and an egress that answer late, refuse, break off or say nothing; and a clock that only we move.
 * Everything that the machine calls is defined here instead of in client.c, peers.c and upstream.c. All chance comes
 * from one seed.
 *
 * The driver itself asserts that no transition is illegal. Checked besides: whatever happens every connection comes to
 * its end and gives back what it holds; each request is recorded exactly once; an answer that reaches its client in
 * good order is one that the provider finished; and a stream without its last event never ends in good order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/audit_client.h"
#include "router/client.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/test_request.h"

#define SIM_CONNECTIONS 16000
#define SIM_TOGETHER    24 /* connections alive at a time */
#define SIM_OUT_BYTES   (1U << 20)

enum question { ASKS_NOTHING, ASKS_PERMIT, ASKS_MODELS, ASKS_SCAN };
enum stream_phase { STREAM_NONE, STREAM_HEAD, STREAM_DATA };

/* What one exchange with the provider will do. */
struct sim_stream {
	enum stream_phase phase;
	bool events, done; /* an event stream; its last event was sent */
	size_t left;       /* pieces to come */
	uint64_t sent, credit;
};

struct client {
	struct request request;
	struct sim_stream stream;
	enum question asks;
	bool alive, wants, dirty;
	char in[8192];
	size_t in_at, in_len;
	uint8_t *out;
	size_t out_len;
};

static struct sim {
	uint64_t seed;
	struct requests all;
	struct client clients[SIM_TOGETHER];
	size_t begun, closed, records, settles, completes, cuts, refusals;
	uint8_t routes[512], events[64], json[64];
	size_t routes_len, events_len, json_len;
	uint64_t stream_id;
} sim;

static uint64_t chance(uint64_t n)
{
	sim.seed ^= sim.seed << 13;
	sim.seed ^= sim.seed >> 7;
	sim.seed ^= sim.seed << 17;
	return sim.seed % n;
}

static struct client *owner(struct request *r)
{
	return container_of(r, struct client, request);
}

/* ---- what the machine may call ---- */

void client_read(struct client *c, bool wanted)
{
	c->wants = wanted;
}

void client_flush(struct client *c)
{
	c->dirty = true;
}

void client_shutdown(struct client *c)
{
	assert(c->alive);
}

void client_close(struct client *c, bool reset)
{
	(void)reset;
	assert(c->alive && c->asks == ASKS_NOTHING && c->stream.phase == STREAM_NONE);
	c->alive = false;
}

const char *client_address(const struct client *c)
{
	(void)c;
	return "192.0.2.1";
}

static int ask(struct request *r, enum question q)
{
	assert(owner(r)->asks == ASKS_NOTHING);
	if (chance(40) == 0)
		return PEERS_E_DOWN;
	owner(r)->asks = q;
	r->call.conn =
		(struct ipc_conn *)(void *)owner(r); /* never followed; peers_forget() needs to know whose it is */
	return 0;
}

int peers_authorize(struct peers *p, struct request *r, const struct proto_authorize *msg)
{
	(void)p;
	assert(msg->credential.len > 0 && msg->request_id.len > 0 && msg->model.len > 0);
	return ask(r, ASKS_PERMIT);
}

int peers_models(struct peers *p, struct request *r, const struct proto_models *msg)
{
	(void)p;
	(void)msg;
	return ask(r, ASKS_MODELS);
}

int peers_scan(struct peers *p, struct request *r, const struct proto_scan *msg, int fd)
{
	(void)p;
	assert(fd < 0 && msg->body.len == msg->body_bytes);
	return ask(r, ASKS_SCAN);
}

void peers_distrust_classifier(struct peers *p)
{
	(void)p;
}

void peers_forget(struct call *call)
{
	if (call->conn)
		((struct client *)(void *)call->conn)->asks = ASKS_NOTHING;
	call->conn = NULL;
}

void peers_settle(struct peers *p, const struct proto_settle *settle)
{
	(void)p;
	assert(settle->principal.len > 0);
	sim.settles++;
}

bool peers_authd_up(const struct peers *p)
{
	(void)p;
	return chance(10) > 0;
}

bool peers_vault_open(const struct peers *p)
{
	(void)p;
	return chance(10) > 0;
}

bool lane_up(const struct lane *l)
{
	(void)l;
	return chance(10) > 0;
}

int upstream_open(struct lane *l, struct upstream *u, const struct proto_open *open, int fd)
{
	struct client *c = owner(container_of(u, struct request, upstream));

	assert(u->id == 0 && fd < 0 && open->grant.len > 0 && open->path.len > 0 && open->body.len == open->body_bytes);
	if (chance(40) == 0)
		return UPSTREAM_E_DOWN;
	*u = (struct upstream){.lane = l, .id = ++sim.stream_id};
	c->stream = (struct sim_stream){
		.phase = STREAM_HEAD,
		.events = chance(2) == 0,
		.left = chance(12),
		.credit = UPSTREAM_WINDOW_BYTES,
	};
	return 0;
}

void upstream_credit(struct upstream *u, size_t waiting)
{
	struct sim_stream *s = &owner(container_of(u, struct request, upstream))->stream;
	uint64_t taken = u->received - MIN(u->received, (uint64_t)waiting);

	if (u->id && taken > u->credited) {
		s->credit += taken - u->credited;
		u->credited = taken;
	}
}

void upstream_cancel(struct upstream *u)
{
	if (u->id)
		owner(container_of(u, struct request, upstream))->stream.phase = STREAM_NONE;
	u->id = 0;
}

void audit_record(struct audit_client *a, const struct proto_event *event)
{
	(void)a;
	assert(event->request_id.len > 0);
	sim.records++;
	sim.completes += event->code == EVENT_REQUEST_COMPLETE;
	sim.cuts += event->code == EVENT_REQUEST_CUT;
	sim.refusals += event->code == EVENT_REQUEST_REFUSE;
}

/* ---- the other side of the provider ---- */

static void tell(struct client *c, const struct event *ev)
{
	request_event(&c->request, ev);
}

static void stream_over(struct client *c)
{
	c->stream.phase = STREAM_NONE;
	c->request.upstream.id = 0;
}

static void stream_break(struct client *c)
{
	bool head = c->stream.phase == STREAM_HEAD;

	stream_over(c);
	tell(c, &(struct event){.kind = EV_BROKEN, .broken = {REASON_UPSTREAM_BROKEN, !head || chance(2)}});
}

static void stream_head(struct client *c)
{
	bool events = c->stream.events;
	const struct proto_reply_head head = {
		.status = chance(8) ? 200 : 429,
		.headers = {.count = 1,
			    .raw = events ? span_of(sim.events, sim.events_len) : span_of(sim.json, sim.json_len)},
	};

	c->stream.phase = STREAM_DATA;
	c->request.upstream.head = true;
	c->stream.events = events && head.status == 200;
	tell(c, &(struct event){.kind = EV_REPLY_HEAD, .reply_head = &head});
}

static void stream_data(struct client *c)
{
	static char piece[32768];
	static const char *const events[] = {"data: {\"x\":1}\n\n", "data: {\"part", "ial\":2}\n\n", ": ping\r\n\r\n"};
	size_t len = chance(200) ? 1 + chance(300) : sizeof(piece);

	c->stream.left--;
	if (c->stream.events && c->stream.left == 0 && chance(8)) {
		c->stream.done = true;
		len = (size_t)snprintf(piece, sizeof(piece), "\n\ndata: [DONE]\n\n");
	} else if (c->stream.events) {
		len = (size_t)snprintf(piece, sizeof(piece), "%s", events[chance(ARRAY_LEN(events))]);
	} else {
		memset(piece, 'x', len);
	}
	if (c->stream.sent + len > c->stream.credit)
		return; /* the window is full: it must be reopened as the client takes bytes */
	c->stream.sent += len;
	c->request.upstream.received += len;
	tell(c, &(struct event){.kind = EV_DATA, .data = span_of(piece, len)});
}

static void stream_end(struct client *c)
{
	static const uint8_t digest[32];
	const struct proto_end end = {.bytes = c->stream.sent, .digest = span_of(digest, sizeof(digest))};

	stream_over(c);
	tell(c, &(struct event){.kind = EV_END, .end = &end});
}

static void stream_step(struct client *c)
{
	if (chance(30) == 0)
		stream_break(c);
	else if (c->stream.phase == STREAM_HEAD)
		stream_head(c);
	else if (c->stream.left > 0)
		stream_data(c);
	else if (chance(20))
		stream_end(c);
}

/* ---- the other side of authd and the classifier ---- */

static void answer_permit(struct client *c)
{
	const struct proto_permit permit = {
		.tenant = SPAN_LIT("t"),
		.principal = SPAN_LIT("k"),
		.guard = chance(3) ? 0 : GUARD_REDACT,
		.grant = span_of(sim.routes, 40),
		.routes = {.count = chance(10) ? 2 : 0, .raw = span_of(sim.routes, sim.routes_len)},
	};
	const struct proto_deny deny = {.reason = chance(N_REASONS + 3)};

	if (chance(8))
		tell(c, &(struct event){.kind = EV_PERMIT, .permit = &permit});
	else
		tell(c, &(struct event){.kind = EV_DENY, .deny = &deny});
}

static void answer_scan(struct client *c)
{
	const struct proto_finding found = {
		.class = CLASS_EMAIL, .classes = 1, .begin = chance(30), .end = 30 + chance(40)};
	uint8_t raw[64];
	size_t len = 0;
	test_pack(&proto_finding_desc, &found, raw, sizeof(raw), &len);
	const struct proto_verdict verdict = {.total = chance(20) ? 1 : 2,
					      .findings = {.count = 1, .raw = span_of(raw, len)}};

	tell(c, &(struct event){.kind = EV_VERDICT, .verdict = &verdict});
}

static void answer(struct client *c)
{
	enum question q = c->asks;

	if (chance(30) == 0) /* says nothing; a deadline must help */
		return;
	c->asks = ASKS_NOTHING;
	c->request.call.conn = NULL;
	if (chance(30) == 0)
		tell(c, &(struct event){.kind = EV_PEER_LOST});
	else if (q == ASKS_PERMIT)
		answer_permit(c);
	else if (q == ASKS_SCAN)
		answer_scan(c);
	else
		tell(c,
		     &(struct event){.kind = EV_MODELS, .models = &(struct proto_models_rep){.tenant = SPAN_LIT("t")}});
}

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
	uint8_t piece[512];
	size_t most = 1 + chance(chance(2) ? sizeof(piece) : 8), n = MIN(most, c->in_len - c->in_at);

	if (n == 0) {
		if (chance(5) == 0)
			tell(c, &(struct event){.kind = EV_GONE});
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
	tell(c, &(struct event){.kind = EV_SENT});
}

static void client_step(struct client *c)
{
	uint64_t what = chance(1000);

	if (what < 3)
		tell(c, &(struct event){.kind = EV_GONE});
	else if (what == 3 && (c->request.state == REQUEST_OPEN || c->request.state == REQUEST_RELAY))
		tell(c, &(struct event){.kind = EV_REVOKED});
	else if (what < 300 && c->dirty)
		client_take(c);
	else if (what < 600 && c->asks)
		answer(c);
	else if (what < 900 && c->stream.phase)
		stream_step(c);
	else if (c->wants)
		client_give(c);
}

/* ---- the world ---- */

static void sim_init(uint64_t seed)
{
	static const uint8_t boot[16];
	const struct proto_route a = {SPAN_LIT("c"), SPAN_LIT("p"), 0, SPAN_LIT("/v1/chat/completions"), SPAN_NULL};
	const struct proto_route b = {SPAN_LIT("c"), SPAN_LIT("q"), 0, SPAN_LIT("/b"), SPAN_LIT("other-model")};
	const struct proto_header events = {SPAN_LIT("content-type"), SPAN_LIT("text/event-stream; charset=utf-8")};
	const struct proto_header json = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};

	sim = (struct sim){.seed = seed};
	test_pack(&proto_route_desc, &a, sim.routes, sizeof(sim.routes), &sim.routes_len);
	test_pack(&proto_route_desc, &b, sim.routes, sizeof(sim.routes), &sim.routes_len);
	test_pack(&proto_header_desc, &events, sim.events, sizeof(sim.events), &sim.events_len);
	test_pack(&proto_header_desc, &json, sim.json, sizeof(sim.json), &sim.json_len);
	sim.all.limits = (struct request_limits){75000, 10000, 60000, 2000, 2000, 120000, 300000, 5000, 100000};
	sim.all.now_us = 1000000;
	assert_int_equal(requests_init(&sim.all, boot, 0), 0);
}

static void sim_reap(struct client *c)
{
	if (!c->out || c->alive)
		return;
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
	sim_init(seed);
	sim_run(SIM_CONNECTIONS);
	print_message("%zu connections, %zu records: %zu complete, %zu cut, %zu refused; %zu settled\n", sim.closed,
		      sim.records, sim.completes, sim.cuts, sim.refusals, sim.settles);
	assert_true(sim.completes > 500 && sim.cuts > 200 && sim.refusals > 500);
	requests_deinit(&sim.all);
}

static void test_draining_ends_idle_connections(void **state)
{
	(void)state;
	sim_init(7);
	client_begin(&sim.clients[0]);
	sim.clients[0].in_len = 0;
	requests_shutdown(&sim.all);
	sim_reap(&sim.clients[0]);
	requests_deinit(&sim.all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_requests),
		cmocka_unit_test(test_draining_ends_idle_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
