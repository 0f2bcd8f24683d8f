/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, one request after the other.
 *
 *   AWAIT -> READ_HEAD -> READ_BODY -> AUTHORIZE -> SCAN -> OPEN -> RELAY -> FLUSH -> SETTLE -> AWAIT | LINGER ->
 * CLOSED
 *
 *   AWAIT      nothing of the next request has come
 *   READ_HEAD  some of its head has; then READ_BODY; our own pages go from there to ANSWER
 *   IDENTIFY   its body is large: authd was asked whose it is before more of it is taken; then READ_BODY goes on
 *   AUTHORIZE  authd was asked; PERMIT brings routes and a grant
 *   SCAN       the classifier was asked, if the tenant's policy cares
 *   OPEN       the egress was asked; a route that failed before a byte reached its provider is followed by the next
 *   RENEW      the egress has started anew since authd permitted it: authd was asked for the same under the new key
 *   RELAY      the answer has begun
 *   ANSWER     ours: a page, the list of models      REFUSE  ours: an error
 *   FLUSH      everything is said; the client takes it
 *   SETTLE     authd and the log are told; then the next request, or the end
 *   LINGER     our side is closed; what the client still sends is read and dropped, so that it sees our last answer
 *
 * Until something of an answer has left, everything that fails goes to REFUSE. After that an answer can only be cut. A
 * client that leaves goes to SETTLE from wherever it was, and whatever ran for it is called off on the way.
 *
 * A step starts at most one operation, never calls another step, and returns the state that follows, which is its own
 * when it waits. Only request_event() changes states. Every state has a list, in order of deadline, since all stay
 * equally long at most; so there is no timer per request, and the length of a list is a metric.
 */
#include "router/request.h"

#include <assert.h>

#include "router/client.h"
#include "router/peers.h"
#include "router/request_parts.h"

static COLD enum request_state refuse(struct request *r, enum reason reason)
{
	r->record.reason = reason;
	return REQUEST_REFUSE;
}

/* Adapters only report what the state asked for: anything else is a defect of ours. */
static enum request_state unexpected(struct request *r, const struct event *ev)
{
	assert(!ev);
	return r->state;
}

static enum request_state await(struct request *r, const struct event *ev)
{
	switch (ev->kind) {
	case EV_ENTER:
		ask_reset(r);
		if (r->all->draining)
			return client_has_more(r->client) ? REQUEST_LINGER : REQUEST_CLOSED;
		client_read(r->client, true);
		return ask_input(r).len > 0 ? REQUEST_READ_HEAD : REQUEST_AWAIT;
	case EV_INPUT:
		return REQUEST_READ_HEAD;
	case EV_SENT:
		return REQUEST_AWAIT;
	case EV_OVERLOAD:
		return refuse(r, REASON_OVERLOADED);
	default:
		return unexpected(r, ev);
	}
}

static enum request_state read_head(struct request *r, const struct event *ev)
{
	bool done;

	switch (ev->kind) {
	case EV_ENTER:
	case EV_INPUT: {
		enum reason reason = ask_head(r, &done);
		if (reason)
			return refuse(r, reason);
		return done ? REQUEST_READ_BODY : REQUEST_READ_HEAD;
	}
	default:
		return unexpected(r, ev);
	}
}

static enum request_state read_body(struct request *r, const struct event *ev)
{
	bool done;

	switch (ev->kind) {
	case EV_ENTER:
	case EV_INPUT: {
		if (ask_is_large(r) && !r->ask.identified)
			return REQUEST_IDENTIFY;
		enum reason reason = ask_body(r, &done);
		if (reason)
			return refuse(r, reason);
		if (!done)
			return REQUEST_READ_BODY;
		client_read(r->client, false);
		return r->ask.endpoint.kind == ENDPOINT_KIND_API ? REQUEST_AUTHORIZE : REQUEST_ANSWER;
	}
	case EV_SENT: /* 100 Continue */
		return REQUEST_READ_BODY;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state identify(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		client_read(r->client, false);
		reason = plan_identify(r);
		return reason ? refuse(r, reason) : REQUEST_IDENTIFY;
	case EV_MODELS:
		plan_identified(r, ev->models);
		client_read(r->client, true);
		return REQUEST_READ_BODY;
	case EV_DENY:
		return refuse(r, plan_deny(r, ev->deny));
	case EV_PEER_LOST:
		return refuse(r, REASON_AUTHD_GONE);
	case EV_SENT: /* 100 Continue */
		return REQUEST_IDENTIFY;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state authorize(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		record_promise(r);
		reason = plan_ask(r);
		return reason ? refuse(r, reason) : REQUEST_AUTHORIZE;
	case EV_PERMIT:
		reason = plan_permit(r, ev->permit);
		if (reason)
			return refuse(r, reason);
		return plan_classes(r) ? REQUEST_SCAN : REQUEST_OPEN;
	case EV_MODELS:
		answer_models(r, ev->models);
		return REQUEST_ANSWER;
	case EV_RECEIPT:
		answer_receipt(r, ev->receipt);
		return REQUEST_ANSWER;
	case EV_DENY:
		return refuse(r, plan_deny(r, ev->deny));
	case EV_PEER_LOST:
		return refuse(r, REASON_AUTHD_GONE);
	case EV_SENT:
		return REQUEST_AUTHORIZE;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state scan(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		reason = plan_scan(r);
		return reason ? refuse(r, reason) : REQUEST_SCAN;
	case EV_VERDICT:
		reason = plan_verdict(r, ev->verdict);
		return reason ? refuse(r, reason) : REQUEST_OPEN;
	case EV_PEER_LOST:
		return refuse(r, REASON_CLASSIFIER_GONE);
	case EV_REVOKED:
		return refuse(r, REASON_CANCELLED_REVOKED);
	case EV_SENT:
		return REQUEST_SCAN;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state open_exchange(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		reason = plan_open(r);
		return reason ? refuse(r, reason) : REQUEST_OPEN;
	case EV_BROKEN:
		if (plan_may_renew(r, ev->broken.reason, ev->broken.sent))
			return REQUEST_RENEW;
		if (ev->broken.sent || !plan_next_route(r))
			return refuse(r, ev->broken.reason);
		reason = plan_open(r);
		return reason ? refuse(r, reason) : REQUEST_OPEN;
	case EV_REPLY_HEAD:
		reason = relay_head(r, ev->reply_head);
		return reason ? refuse(r, reason) : REQUEST_RELAY;
	case EV_REVOKED:
		return refuse(r, REASON_CANCELLED_REVOKED);
	case EV_SENT:
		return REQUEST_OPEN;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state renew(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		reason = plan_renew(r);
		return reason ? refuse(r, reason) : REQUEST_RENEW;
	case EV_RENEWED:
		reason = plan_renewed(r, ev->renewed);
		return reason ? refuse(r, reason) : REQUEST_OPEN;
	case EV_DENY:
		return refuse(r, plan_deny(r, ev->deny));
	case EV_PEER_LOST:
		return refuse(r, REASON_AUTHD_GONE);
	case EV_REVOKED:
		return refuse(r, REASON_CANCELLED_REVOKED);
	case EV_SENT:
		return REQUEST_RENEW;
	default:
		return unexpected(r, ev);
	}
}

/* What has left can only be cut; what has not can still be refused. */
static COLD enum request_state cut(struct request *r, enum reason reason)
{
	return relay_cut(r, reason) ? REQUEST_FLUSH : refuse(r, reason);
}

static enum request_state relay(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		body_reset(&r->body); /* its provider has it */
		client_flush(r->client);
		return REQUEST_RELAY;
	case EV_DATA:
		reason = relay_data(r, ev->data);
		if (reason)
			return cut(r, reason);
		client_flush(r->client);
		/* what is held back for the rest of its event must not hold the rest back */
		upstream_credit(&r->upstream, r->reply.released + buf_len(&r->reply.wire));
		return REQUEST_RELAY;
	case EV_SENT:
		upstream_credit(&r->upstream, r->reply.released + buf_len(&r->reply.wire));
		return REQUEST_RELAY;
	case EV_END:
		reason = relay_end(r, ev->end);
		return reason ? cut(r, reason) : REQUEST_FLUSH;
	case EV_BROKEN:
		return cut(r, ev->broken.reason);
	case EV_REVOKED:
		return cut(r, REASON_CANCELLED_REVOKED);
	default:
		return unexpected(r, ev);
	}
}

static enum request_state answer(struct request *r, const struct event *ev)
{
	enum reason reason;

	switch (ev->kind) {
	case EV_ENTER:
		reason = answer_local(r);
		return reason ? refuse(r, reason) : REQUEST_FLUSH;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state refusal(struct request *r, const struct event *ev)
{
	switch (ev->kind) {
	case EV_ENTER:
		client_read(r->client, false);
		body_reset(&r->body);
		answer_refusal(r);
		return REQUEST_FLUSH;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state flush(struct request *r, const struct event *ev)
{
	switch (ev->kind) {
	case EV_ENTER:
		record_promise(r);
		client_flush(r->client);
		return reply_pending(&r->reply) ? REQUEST_FLUSH : REQUEST_SETTLE;
	case EV_SENT:
		return reply_pending(&r->reply) ? REQUEST_FLUSH : REQUEST_SETTLE;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state settle(struct request *r, const struct event *ev)
{
	switch (ev->kind) {
	case EV_ENTER:
		record_settle(r);
		if (r->gone)
			return REQUEST_CLOSED;
		return r->reply.close || r->reply.cut ? REQUEST_LINGER : REQUEST_AWAIT;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state linger(struct request *r, const struct event *ev)
{
	switch (ev->kind) {
	case EV_ENTER:
		if (reply_needs_reset(&r->reply))
			return REQUEST_CLOSED;
		buf_reset(&r->in);
		client_shutdown(r->client);
		client_read(r->client, true);
		return REQUEST_LINGER;
	case EV_INPUT:
		ask_take_input(r, ask_input(r).len);
		return REQUEST_LINGER;
	case EV_SENT:
		return REQUEST_LINGER;
	default:
		return unexpected(r, ev);
	}
}

static enum request_state closed(struct request *r, const struct event *ev)
{
	return ev->kind == EV_ENTER ? REQUEST_CLOSED : unexpected(r, ev);
}

typedef enum request_state request_step(struct request *r, const struct event *ev);

static request_step *const steps[N_REQUEST_STATES] = {
	[REQUEST_AWAIT] = await,        [REQUEST_READ_HEAD] = read_head, [REQUEST_READ_BODY] = read_body,
	[REQUEST_IDENTIFY] = identify,  [REQUEST_AUTHORIZE] = authorize, [REQUEST_SCAN] = scan,
	[REQUEST_OPEN] = open_exchange, [REQUEST_RENEW] = renew,         [REQUEST_RELAY] = relay,
	[REQUEST_ANSWER] = answer,      [REQUEST_REFUSE] = refusal,      [REQUEST_FLUSH] = flush,
	[REQUEST_SETTLE] = settle,      [REQUEST_LINGER] = linger,       [REQUEST_CLOSED] = closed,
};

#define TO(NAME) BIT(REQUEST_##NAME)
static const struct {
	const char *name;
	enum reason late;
	uint64_t next;
} states[N_REQUEST_STATES] = {
#define S(NAME, limit, late, next) [REQUEST_##NAME] = {#NAME, REASON_##late, next},
	REQUEST_STATES(S)
#undef S
};
#undef TO

const char *request_state_name(enum request_state state)
{
	return states[state].name;
}

/* Of a stream, its last event: some libraries leave as soon as they have that. */
static bool has_all(const struct request *r)
{
	return r->state == REQUEST_RELAY && r->stream_done && reply_pending(&r->reply) + reply_held(&r->reply).len == 0;
}

/* The client is gone, or has stopped taking what it asked for. */
static enum request_state gone(struct request *r)
{
	r->gone = true;
	if (!(states[r->state].next & BIT(REQUEST_SETTLE)))
		return REQUEST_CLOSED;
	if (r->record.reason == REASON_NONE && !has_all(r))
		r->record.reason = REASON_CLIENT_GONE;
	return REQUEST_SETTLE;
}

static enum request_state timed_out(struct request *r)
{
	enum reason late = states[r->state].late;

	if (late == REASON_NONE)
		return REQUEST_CLOSED;
	if (late == REASON_CLIENT_GONE || (r->state == REQUEST_RELAY && reply_pending(&r->reply) > 0))
		return gone(r);
	return r->state == REQUEST_RELAY ? cut(r, late) : refuse(r, late);
}

static enum request_state shut_down(struct request *r)
{
	if (r->state == REQUEST_AWAIT)
		return REQUEST_CLOSED;
	return r->state == REQUEST_RELAY ? cut(r, REASON_SHUTTING_DOWN) : refuse(r, REASON_SHUTTING_DOWN);
}

/* Puts a request at the end of its state's list, with the whole limit before it. */
static void wait_from_now(struct request *r)
{
	r->deadline_ms = r->all->now_us / 1000 + r->all->wait_ms[r->state];
	list_unlink(&r->in_state);
	list_push(&r->all->in_state[r->state], &r->in_state);
}

static void enter(struct request *r, enum request_state next)
{
	r->state = next;
	wait_from_now(r);
	peers_forget(&r->call); /* a question belongs to the state that asked */
	if (next != REQUEST_RELAY)
		upstream_cancel(&r->upstream);
}

void request_event(struct request *r, const struct event *ev)
{
	enum request_state next;

	assert(!r->stepping && r->state != REQUEST_CLOSED);
	r->stepping = true;
	if (ev->kind == EV_TIMEOUT)
		next = timed_out(r);
	else if (ev->kind == EV_GONE)
		next = gone(r);
	else if (ev->kind == EV_SHUTDOWN)
		next = shut_down(r);
	else
		next = steps[r->state](r, ev);
	if (next == r->state && (next == REQUEST_RELAY || next == REQUEST_FLUSH))
		wait_from_now(r); /* there is progress: only a standstill counts */
	for (unsigned hops = 0; next != r->state; hops++) {
		assert(hops < N_REQUEST_STATES && (states[r->state].next & BIT(next)));
		enter(r, next);
		next = steps[next](r, &(struct event){.kind = EV_ENTER});
	}
	r->stepping = false;
	if (r->state == REQUEST_CLOSED)
		client_close(r->client, reply_needs_reset(&r->reply));
}
