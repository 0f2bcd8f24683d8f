/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/router_world.h"

#include "common/audit_client.h"
#include "router/peers.h"

#define GRANT_BYTES 48

struct sim sim;

uint64_t chance(uint64_t n)
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

bool client_has_more(const struct client *c)
{
	return c->in_at < c->in_len;
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
	const struct reply *reply = &c->request.reply;

	if (!reset && reply->framing == REPLY_FRAMING_CLOSE)
		assert(reply->ended && reply_pending(reply) == 0); /* else half an answer would look whole */
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

/* A grant of this world: its epoch and something behind it, longer or shorter each time. */
static struct span make_grant(uint8_t to[GRANT_BYTES])
{
	memset(to, 0xab, GRANT_BYTES);
	memcpy(to, &sim.epoch, sizeof(sim.epoch));
	return span_of(to, GRANT_BYTES - chance(4));
}

static uint64_t grant_epoch(struct span grant)
{
	uint64_t epoch;

	assert(grant.len > GRANT_BYTES - 4 && grant.len <= GRANT_BYTES && grant.p[grant.len - 1] == 0xab);
	memcpy(&epoch, grant.p, sizeof(epoch));
	return epoch;
}

int peers_authorize(struct peers *p, struct request *r, const struct proto_authorize *msg)
{
	(void)p;
	owner(r)->renewals = 0;
	assert(msg->credential.len > 0 && msg->request_id.len > 0 && msg->model.len > 0);
	assert(msg->call > sim.calls && owner(r)->call == 0);
	sim.calls = msg->call;
	int e = ask(r, ASKS_PERMIT);
	if (!e)
		owner(r)->call = msg->call;
	return e;
}

int peers_renew(struct peers *p, struct request *r, const struct proto_renew *msg)
{
	(void)p;
	assert(grant_epoch(msg->grant) == owner(r)->stream.epoch && r->upstream.id == 0);
	assert(++owner(r)->renewals == 1); /* once a request */
	sim.renewals++;
	return ask(r, ASKS_RENEW);
}

int peers_models(struct peers *p, struct request *r, const struct proto_models *msg)
{
	(void)p;
	assert(msg->credential.len > 0 && r->body.len <= SIM_ANONYMOUS_BYTES + SIM_PIECE_BYTES);
	return ask(r, ASKS_MODELS);
}

int peers_receipt(struct peers *p, struct request *r, const struct proto_receipt *msg)
{
	(void)p;
	assert(msg->credential.len > 0 && span_eq_str(msg->wanted, "an-id-0"));
	return ask(r, ASKS_RECEIPT);
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
	size_t i = 0;

	(void)p;
	while (sim.clients[i].call != settle->call) {
		i++;
		assert(i < SIM_TOGETHER); /* once for each, and for none that was denied */
	}
	sim.clients[i].call = 0;
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

bool peers_can_inspect(const struct peers *p)
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

	assert(u->id == 0 && fd < 0 && open->body.len == open->body_bytes);
	assert(span_eq_str(open->path, open->route ? "/b" : "/v1/chat/completions"));
	if (chance(40) == 0)
		return UPSTREAM_E_DOWN;
	*u = (struct upstream){.lane = l, .id = ++sim.stream_id};
	c->stream = (struct sim_stream){
		.phase = STREAM_HEAD,
		.events = chance(2) == 0,
		.left = chance(12),
		.credit = UPSTREAM_WINDOW_BYTES,
		.epoch = grant_epoch(open->grant),
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

void audit_promise(struct audit_client *a)
{
	(void)a;
	sim.promises++;
}

void audit_record_promised(struct audit_client *a, const struct proto_event *event)
{
	(void)a;
	assert(sim.promises-- > 0);
	assert(event->request_id.len > 0);
	assert(event->status > 0 || event->bytes == 0); /* nothing has left */
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

void world_tell(struct client *c, enum event_kind kind)
{
	tell(c, &(struct event){.kind = kind});
}

static void stream_over(struct client *c)
{
	c->stream.phase = STREAM_NONE;
	c->request.upstream.id = 0;
}

/* Whatever is said of a request that its provider may have seen: it is not sent again. */
static void stream_break(struct client *c)
{
	bool sent = c->stream.phase != STREAM_HEAD || chance(2);
	enum reason reason = sent && chance(2) ? REASON_GRANT_STALE : REASON_UPSTREAM_BROKEN;
	uint64_t id = sim.stream_id;

	stream_over(c);
	tell(c, &(struct event){.kind = EV_BROKEN, .broken = {reason, sent}});
	assert(!sent || (c->asks == ASKS_NOTHING && sim.stream_id == id));
}

/* The first time it can be helped, if authd can be asked; after that the client is told. */
static void stream_stale(struct client *c)
{
	unsigned renewals = c->renewals;

	stream_over(c);
	tell(c, &(struct event){.kind = EV_BROKEN, .broken = {REASON_GRANT_STALE, false}});
	if (renewals == 0)
		assert(c->renewals == 1 && c->request.record.reason != REASON_GRANT_STALE);
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
		bool blank = c->stream.sent == 0 && chance(20) == 0;
		memset(piece, blank ? ' ' : 'x', len);
		c->stream.blank |= blank;
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

void world_stream(struct client *c)
{
	if (c->stream.phase == STREAM_HEAD && c->stream.epoch != sim.epoch)
		stream_stale(c);
	else if (chance(30) == 0)
		stream_break(c);
	else if (c->stream.phase == STREAM_HEAD)
		stream_head(c);
	else if (c->stream.left > 0)
		stream_data(c);
	else if (chance(20))
		stream_end(c);
}

void world_restart_egress(void)
{
	sim.epoch++;
}

/* ---- the other side of authd and the classifier ---- */

static void answer_permit(struct client *c)
{
	uint8_t grant[GRANT_BYTES];
	const struct proto_permit permit = {
		.tenant = SPAN_LIT("t"),
		.principal = SPAN_LIT("k"),
		.guard = chance(3) ? 0 : GUARD_REDACT,
		.grant = make_grant(grant),
		.routes = {.count = chance(10) ? 2 : 0, .raw = span_of(sim.routes, sim.routes_len)},
	};
	const struct proto_deny deny = {.reason = chance(N_REASONS + 3)};

	if (chance(8)) {
		tell(c, &(struct event){.kind = EV_PERMIT, .permit = &permit});
	} else {
		c->call = 0;
		tell(c, &(struct event){.kind = EV_DENY, .deny = &deny});
	}
}

static void answer_renew(struct client *c)
{
	uint8_t grant[GRANT_BYTES];
	const struct proto_renewed renewed = {.grant = make_grant(grant)};
	const struct proto_deny deny = {.reason = chance(2) ? REASON_GRANT_STALE : REASON_VAULT_SEALED};

	if (chance(8))
		tell(c, &(struct event){.kind = EV_RENEWED, .renewed = &renewed});
	else
		tell(c, &(struct event){.kind = EV_DENY, .deny = &deny});
	assert(c->request.record.tenant[0] == 't'); /* a late refusal does not make it nobody's */
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

void world_answer(struct client *c)
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
	else if (q == ASKS_RENEW)
		answer_renew(c);
	else if (q == ASKS_SCAN)
		answer_scan(c);
	else if (q == ASKS_RECEIPT)
		tell(c, &(struct event){.kind = EV_RECEIPT,
					.receipt = &(struct proto_receipt_rep){.receipt = SPAN_LIT("c2sp.org/\n")}});
	else
		tell(c,
		     &(struct event){.kind = EV_MODELS, .models = &(struct proto_models_rep){.tenant = SPAN_LIT("t")}});
}

/* ---- the whole ---- */

void world_init(uint64_t seed)
{
	static const uint8_t boot[16];
	const struct proto_route a = {SPAN_LIT("c"), SPAN_LIT("p"), 0, SPAN_LIT("/v1/chat/completions"), SPAN_NULL};
	const struct proto_route b = {SPAN_LIT("c"), SPAN_LIT("q"), 0, SPAN_LIT("/b"), SPAN_LIT("other-model")};
	const struct proto_header events = {SPAN_LIT("content-type"), SPAN_LIT("text/event-stream; charset=utf-8")};
	const struct proto_header json = {SPAN_LIT("content-type"), SPAN_LIT("application/json")};

	sim = (struct sim){.seed = seed, .epoch = 1};
	test_pack(&proto_route_desc, &a, sim.routes, sizeof(sim.routes), &sim.routes_len);
	test_pack(&proto_route_desc, &b, sim.routes, sizeof(sim.routes), &sim.routes_len);
	test_pack(&proto_header_desc, &events, sim.events, sizeof(sim.events), &sim.events_len);
	test_pack(&proto_header_desc, &json, sim.json, sizeof(sim.json), &sim.json_len);
	sim.all.limits = (struct request_limits){75000,  10000,  60000, 2000,   2000,
						 120000, 300000, 5000,  100000, SIM_ANONYMOUS_BYTES};
	sim.all.bodies.bytes_max = BODY_BYTES_MAX;
	sim.all.now_us = 1000000;
	int e = requests_init(&sim.all, boot, 0);
	assert(e == 0);
}
