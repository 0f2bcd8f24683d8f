/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What authd and the classifier say, and the exchange that comes of it. A plan is kept as authd packed it: the grant
 * and the routes are bytes that pass through; a route is unpacked when its turn comes.
 */
#include <assert.h>
#include <stdio.h>

#include "proto/proto.h"
#include "router/peers.h"
#include "router/request_parts.h"
#include "router/splice.h"

static int plan_ask_models(struct request *r, struct span credential)
{
	const struct proto_models ask = {
		.credential = credential,
		.address = span_str(r->record.address),
		.request_id = span_str(r->record.id),
	};

	return peers_models(r->all->peers, r, &ask);
}

static int plan_ask_receipt(struct request *r, struct span credential)
{
	const struct proto_receipt ask = {
		.credential = credential,
		.address = span_str(r->record.address),
		.request_id = span_str(r->record.id),
		.wanted = span_str(r->ask.id),
	};

	return peers_receipt(r->all->peers, r, &ask);
}

static int plan_ask_call(struct request *r, struct span credential)
{
	const struct proto_authorize ask = {
		.credential = credential,
		.address = span_str(r->record.address),
		.endpoint = r->ask.endpoint.endpoint,
		.model = span_str(r->record.model),
		.request_id = span_str(r->record.id),
		.body_bytes = MIN(r->body.len + SPLICE_GROWTH_BYTES_MAX, (size_t)BODY_BYTES_MAX),
		.call = ++r->all->calls,
	};

	int e = peers_authorize(r->all->peers, r, &ask);

	r->plan.call = e ? 0 : ask.call;
	return e;
}

static struct span plan_credential(const struct request *r)
{
	struct span words = buf_span(&r->words);

	return span_of(words.p + r->ask.fields_bytes, words.len - r->ask.fields_bytes);
}

/* To ask which models a key may use is to ask whose it is: the answer says that, and it counts against no limit. */
enum reason plan_identify(struct request *r)
{
	return plan_ask_models(r, plan_credential(r)) ? REASON_AUTHD_GONE : REASON_NONE;
}

void plan_identified(struct request *r, const struct proto_models_rep *models)
{
	record_whose(r, models->tenant, models->principal, models->subject, models->sealed);
	r->ask.identified = true;
}

enum reason plan_ask(struct request *r)
{
	struct span credential = plan_credential(r);
	int e;

	switch (r->ask.endpoint.endpoint) {
	case ENDPOINT_MODELS:
		e = plan_ask_models(r, credential);
		break;
	case ENDPOINT_RECEIPTS:
		e = plan_ask_receipt(r, credential);
		break;
	default:
		e = plan_ask_call(r, credential);
	}
	explicit_bzero((void *)(uintptr_t)credential.p, credential.len);
	buf_truncate(&r->words, r->ask.fields_bytes);
	return e ? REASON_AUTHD_GONE : REASON_NONE;
}

void plan_limit(struct request *r, uint64_t limit, uint64_t remaining, uint64_t reset_ms)
{
	r->plan.limit = (struct http_limit){limit, remaining, reset_ms};
}

enum reason plan_permit(struct request *r, const struct proto_permit *permit)
{
	struct request_plan *plan = &r->plan;

	record_whose(r, permit->tenant, permit->principal, permit->subject, permit->sealed);
	plan_limit(r, permit->limit, permit->remaining, permit->reset_ms);
	r->record.price_in = permit->price_in;
	r->record.price_out = permit->price_out;
	plan->permitted = true;
	plan->renewed = false;
	plan->guard = permit->guard;
	plan->routes_bytes = permit->routes.raw.len;
	plan->n_routes = permit->routes.count;
	plan->route = 0;
	if (plan->n_routes == 0 || permit->grant.len == 0)
		return REASON_NO_CREDENTIAL;
	buf_reset(&plan->bytes);
	int e = buf_append(&plan->bytes, permit->routes.raw.p, permit->routes.raw.len);
	if (!e)
		e = buf_append(&plan->bytes, permit->grant.p, permit->grant.len);
	return e ? REASON_INTERNAL : REASON_NONE;
}

static struct span plan_grant(const struct request *r)
{
	struct span all = buf_span(&r->plan.bytes);

	return span_of(all.p + r->plan.routes_bytes, all.len - r->plan.routes_bytes);
}

bool plan_may_renew(const struct request *r, enum reason reason, bool sent)
{
	return reason == REASON_GRANT_STALE && !sent && !r->plan.renewed;
}

enum reason plan_renew(struct request *r)
{
	const struct proto_renew ask = {.grant = plan_grant(r)};

	r->plan.renewed = true;
	return peers_renew(r->all->peers, r, &ask) ? REASON_AUTHD_GONE : REASON_NONE;
}

enum reason plan_renewed(struct request *r, const struct proto_renewed *renewed)
{
	buf_truncate(&r->plan.bytes, r->plan.routes_bytes);
	return buf_append(&r->plan.bytes, renewed->grant.p, renewed->grant.len) ? REASON_INTERNAL : REASON_NONE;
}

enum reason plan_deny(struct request *r, const struct proto_deny *deny)
{
	enum reason reason =
		deny->reason > REASON_NONE && deny->reason < N_REASONS ? (enum reason)deny->reason : REASON_INTERNAL;

	if (!r->plan.permitted) { /* of what was permitted all that is known */
		record_whose(r, deny->tenant, deny->principal, deny->subject, deny->sealed);
		plan_limit(r, deny->limit, deny->remaining, deny->reset_ms);
		r->plan.call = 0;
	}
	r->record.retry_ms = deny->retry_after_ms;
	return reason;
}

uint64_t plan_classes(const struct request *r)
{
	uint64_t classes = 0;

	for (unsigned c = 0; c < N_CLASSES; c++)
		if (guard_action(r->plan.guard, (enum class)c) != GUARD_IGNORE)
			classes |= BIT(c);
	return classes;
}

enum reason plan_scan(struct request *r)
{
	struct span text = body_span(&r->body);
	struct proto_scan ask = {.classes = plan_classes(r),
				 .expires_ms = r->all->now_us / 1000 + r->all->limits.scan_ms,
				 .body_bytes = text.len};
	int fd = -1;

	if (body_share(&r->body, &fd))
		return REASON_INTERNAL;
	if (fd < 0)
		ask.body = text;
	return peers_scan(r->all->peers, r, &ask, fd) ? REASON_CLASSIFIER_GONE : REASON_NONE;
}

/* Puts a changed body into the place of the one that came. */
static enum reason plan_redact(struct request *r, const struct splices *s)
{
	struct body changed;

	body_init(&changed, NULL);
	int e = splice_body(body_span(&r->body), s->at, s->n, &changed);
	if (e) {
		body_deinit(&changed);
		return e < 0 ? REASON_INTERNAL : REASON_TOO_LARGE;
	}
	body_replace(&r->body, &changed);
	r->ask.model_at = (size_t)((ptrdiff_t)r->ask.model_at + splice_shift(s, r->ask.model_at));
	r->record.note = "content_redacted";
	return REASON_NONE;
}

enum reason plan_verdict(struct request *r, const struct proto_verdict *verdict)
{
	struct splices *s = r->all->splices;
	struct span text = body_span(&r->body), model = span_of(text.p + r->ask.model_at, r->ask.model_bytes);

	switch (splice_plan(verdict, r->plan.guard, text, model, s)) {
	case 0:
		break;
	case SPLICE_E_BLOCKED:
		return REASON_CONTENT_BLOCKED;
	default:
		peers_distrust_classifier(r->all->peers);
		return REASON_CLASSIFIER_GONE;
	}
	if (s->flagged)
		r->record.note = "content_flagged";
	return s->n > 0 ? plan_redact(r, s) : REASON_NONE;
}

static bool plan_route(const struct request *r, struct proto_route *ret_route)
{
	struct span all = buf_span(&r->plan.bytes);
	struct proto_list list = {
		.count = r->plan.n_routes,
		.raw = span_of(all.p, r->plan.routes_bytes),
	};

	for (size_t i = 0; i <= r->plan.route; i++)
		if (!proto_route_next(&list, ret_route))
			return false;
	return true;
}

/* The body with the provider's name of the model in it. */
static int plan_rename(const struct request *r, struct span name, struct body *to)
{
	struct buf text;
	const size_t at = r->ask.model_at;

	buf_init(&text, 4096);
	int e = http_write_json_text(&text, name);
	const struct splice splice = {at, at + r->ask.model_bytes, buf_span(&text)};
	if (!e)
		e = splice_body(body_span(&r->body), &splice, 1, to);
	buf_deinit(&text);
	return e;
}

static enum reason plan_send(struct request *r, const struct proto_route *route, const struct body *body)
{
	struct span text = body_span(body);
	struct proto_open open = {
		.grant = plan_grant(r),
		.route = r->plan.route,
		.method = PROTO_POST,
		.path = route->path,
		.body_bytes = text.len,
		.headers = {.count = r->ask.n_fields, .raw = span_of(buf_span(&r->words).p, r->ask.fields_bytes)},
	};
	int fd = -1;

	if (body_share(body, &fd))
		return REASON_INTERNAL;
	if (fd < 0)
		open.body = text;
	return upstream_open(r->all->lane, &r->upstream, &open, fd) ? REASON_EGRESS_GONE : REASON_NONE;
}

enum reason plan_open(struct request *r)
{
	struct proto_route route;
	struct body renamed;
	enum reason reason;

	if (!plan_route(r, &route))
		return REASON_INTERNAL;
	record_text(r->record.provider, sizeof(r->record.provider), route.provider);
	record_text(r->record.credential, sizeof(r->record.credential), route.credential);
	if (route.model.len == 0 || span_eq_str(route.model, r->record.model))
		return plan_send(r, &route, &r->body);
	body_init(&renamed, NULL);
	int e = plan_rename(r, route.model, &renamed);
	if (e)
		reason = e < 0 ? REASON_INTERNAL : REASON_TOO_LARGE;
	else
		reason = plan_send(r, &route, &renamed);
	body_deinit(&renamed);
	return reason;
}

bool plan_next_route(struct request *r)
{
	return ++r->plan.route < r->plan.n_routes;
}
