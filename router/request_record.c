/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request came to, told once when it is over: to authd, which permitted it, to the log, and to the counters.
 * Probes of health and the root page leave no record: they carry no key and have no effect.
 */
#include "common/audit_client.h"
#include "common/price.h"
#include "router/peers.h"
#include "router/request_parts.h"

void record_text(char *to, size_t cap, struct span from)
{
	from.len = MIN(from.len, cap - 1);
	span_copy(to, from);
	to[from.len] = '\0';
}

void record_whose(struct request *r, struct span tenant, struct span principal, struct span subject, struct span sealed)
{
	record_text(r->record.tenant, sizeof(r->record.tenant), tenant);
	record_text(r->record.principal, sizeof(r->record.principal), principal);
	record_text(r->record.subject, sizeof(r->record.subject), subject);
	r->record.sealed_len = MIN(sealed.len, sizeof(r->record.sealed));
	span_copy(r->record.sealed, span_of(sealed.p, r->record.sealed_len));
}

static enum event_code record_code(const struct request *r)
{
	if (r->record.reason == REASON_NONE)
		return EVENT_REQUEST_COMPLETE;
	return r->reply.cut || r->record.reason == REASON_CLIENT_GONE ? EVENT_REQUEST_CUT : EVENT_REQUEST_REFUSE;
}

/* The status that has left, 0 when nothing has. */
static unsigned record_status(const struct request *r)
{
	return r->reply.begun ? r->record.status : 0;
}

/* A page that was given leaves no record. */
static bool record_wanted(const struct request *r)
{
	return !r->ask.has_endpoint || r->ask.endpoint.kind == ENDPOINT_KIND_API || r->record.reason != REASON_NONE;
}

void record_promise(struct request *r)
{
	if (record_wanted(r) && !r->record.promised) {
		audit_promise(r->all->audit);
		r->record.promised = true;
	}
}

static void record_audit(struct request *r)
{
	struct request_record *rec = &r->record;
	const char *reason = rec->reason ? reason_row(rec->reason)->code : rec->note ? rec->note : "";
	const struct proto_event event = {
		.code = record_code(r),
		.actor = span_str(rec->principal),
		.tenant = span_str(rec->tenant),
		.resource = span_str(r->ask.has_endpoint ? endpoint_path(&r->ask.endpoint) : ""),
		.request_id = span_str(rec->id),
		.status = record_status(r),
		.reason = span_str(reason),
		.model = span_str(rec->model),
		.provider = span_str(rec->provider),
		.credential = span_str(rec->credential),
		.tokens_in = rec->usage.tokens_in,
		.tokens_out = rec->usage.tokens_out,
		.cost_nano = price_cost(MIN(rec->usage.tokens_in, (uint64_t)UINT32_MAX), rec->price_in) +
			     price_cost(MIN(rec->usage.tokens_out, (uint64_t)UINT32_MAX), rec->price_out),
		.latency_us = r->all->now_us - rec->begun_us,
		.bytes = r->reply.begun ? r->reply.body_bytes : 0,
		.subject = span_str(rec->subject),
		.sealed = span_of(rec->sealed, rec->sealed_len),
		.digest = span_of(rec->digest, rec->has_digest ? sizeof(rec->digest) : 0),
	};

	record_promise(r);
	rec->promised = false;
	audit_record_promised(r->all->audit, &event);
}

void record_settle(struct request *r)
{
	const struct request_record *rec = &r->record;
	struct requests *all = r->all;

	if (r->plan.call) {
		const struct proto_settle settle = {
			.principal = span_str(rec->principal),
			.request_id = span_str(rec->id),
			.call = r->plan.call,
			.status = record_status(r),
			.tokens_in = rec->usage.tokens_in,
			.tokens_out = rec->usage.tokens_out,
		};
		peers_settle(all->peers, &settle);
	}
	if (record_wanted(r))
		record_audit(r);
	all->by_status[MIN(record_status(r), (unsigned)ARRAY_LEN(all->by_status) - 1)]++;
	all->cut += r->reply.cut;
	all->tokens_in += rec->usage.tokens_in;
	all->tokens_out += rec->usage.tokens_out;
}
