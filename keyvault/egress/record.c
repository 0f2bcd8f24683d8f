/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's own record of what its credentials did, beside the router's: two witnesses that share nothing but the
 * request id. */
#include <stdlib.h>

#include "keyvault/egress/egress.h"

static void record_copy(char *to, size_t cap, struct span s)
{
	s.len = MIN(s.len, cap - 1);
	span_copy(to, s);
	to[s.len] = 0;
}

void egress_note_grant(struct exchange *x, const struct proto_grant *g, const struct proto_grant_route *route)
{
	record_copy(x->request_id, sizeof(x->request_id), g->request_id);
	record_copy(x->tenant, sizeof(x->tenant), g->tenant);
	record_copy(x->principal, sizeof(x->principal), g->principal);
	record_copy(x->credential_id, sizeof(x->credential_id), route->credential);
	record_copy(x->host, sizeof(x->host), route->host);
	x->port = (uint16_t)route->port;
}

static struct proto_event record_of(const struct exchange *x, enum event_code code)
{
	return (struct proto_event){
		.code = code,
		.actor = span_str(x->authentic ? x->principal : "router"),
		.tenant = span_str(x->tenant),
		.resource = span_str(x->host),
		.request_id = span_str(x->request_id),
		.status = x->status,
		.reason = span_str(x->why == REASON_NONE ? "" : reason_row(x->why)->code),
		.provider = x->credential ? x->credential->binding.provider : SPAN_NULL,
		.credential = span_str(x->credential_id),
		.latency_us = ipc_now_us(x->eg->daemon.ipc) - x->began_us,
	};
}

void egress_record_promise(struct exchange *x)
{
	if (!x->promised)
		audit_promise(x->eg->audit);
	x->promised = true;
}

void egress_forget_promise(struct exchange *x)
{
	if (x->promised)
		audit_forget_promise(x->eg->audit);
	x->promised = false;
}

void egress_record_use(struct egress *eg, const struct exchange *x, const uint8_t digest[32])
{
	struct proto_event e = record_of(x, EVENT_EGRESS_USE);

	e.bytes = x->body_bytes;
	if (x->head_sent) {
		e.digest = span_of(digest, 32);
		e.head_digest = span_of(x->head_digest, sizeof(x->head_digest));
	}
	e.scrubbed = x->scrub.found;
	audit_record_promised(eg->audit, &e);
	if (x->scrub.found == 0)
		return;
	e = record_of(x, EVENT_EGRESS_SCRUB);
	e.bytes = x->scrub.found;
	audit_record(eg->audit, &e);
	log_event(&eg->daemon.log, LOG_SCRUBBED, LOG_STR("host", x->host), LOG_STR("credential", x->credential_id),
		  LOG_STR("request_id", x->request_id), LOG_U64("count", x->scrub.found));
}

void egress_record_token(struct egress *eg, const struct credential *c, unsigned status, enum reason why,
			 uint64_t began_us)
{
	struct proto_event e = {.code = EVENT_EGRESS_TOKEN,
				.actor = SPAN_LIT("egress"),
				.tenant = c->binding.tenant,
				.resource = c->binding.token_host,
				.status = status,
				.reason = span_str(why == REASON_NONE ? "" : reason_row(why)->code),
				.provider = c->binding.provider,
				.credential = span_str(c->id),
				.latency_us = ipc_now_us(eg->daemon.ipc) - began_us};

	if (why == REASON_NONE)
		eg->count.tokens++;
	else
		eg->count.tokens_failed++;
	audit_record(eg->audit, &e);
}

void egress_record_count(struct egress *eg, const struct exchange *x)
{
	struct egress_counters *c = &eg->count;

	c->scrubbed += x->scrub.found;
	if (x->cancelled)
		c->cancelled++;
	else if (x->why == REASON_NONE)
		c->complete++;
	else
		c->broken++;
}

/* ---- strict mode: before, not after ---- */

bool egress_is_strict(const struct egress *eg, const char *tenant)
{
	const char *at = eg->config.auditd.strict_tenants;
	struct span name;

	if (eg->config.auditd.mode == EGRESS_MODE_STRICT)
		return true;
	while (config_list_next(&at, &name))
		if (span_eq_str(name, tenant))
			return true;
	return false;
}

/* The exchange may be over before the answer comes; nothing can take the question back. */
struct intent {
	struct exchange *x; /* NULL: over */
	void (*done)(struct exchange *x, bool durable);
};

static void on_intent(void *ctx, bool durable)
{
	struct intent *intent = ctx;
	struct exchange *x = intent->x;

	if (x) {
		x->intent = NULL;
		intent->done(x, durable);
	}
	free(intent);
}

bool egress_record_intent(struct egress *eg, struct exchange *x, void (*done)(struct exchange *x, bool durable))
{
	struct proto_event e = record_of(x, EVENT_EGRESS_BEGIN);
	struct intent *intent = malloc(sizeof(*intent));

	if (!intent)
		return false;
	*intent = (struct intent){x, done};
	x->intent = intent;
	if (audit_record_wait(eg->audit, &e, EGRESS_INTENT_MS, on_intent, intent) == 0)
		return true;
	x->intent = NULL;
	free(intent);
	return false;
}

void egress_forget_intent(struct exchange *x)
{
	if (x->intent)
		x->intent->x = NULL;
	x->intent = NULL;
}

void egress_record_refusal(struct egress *eg, const struct exchange *x)
{
	struct proto_event e = record_of(x, EVENT_EGRESS_REFUSE);
	struct refusal one = {.unix_ms = ipc_unix_ns(eg->daemon.ipc) / 1000000, .reason = x->why};

	record_copy(one.request_id, sizeof(one.request_id), e.request_id);
	record_copy(one.tenant, sizeof(one.tenant), e.tenant);
	record_copy(one.principal, sizeof(one.principal), span_str(x->principal));
	record_copy(one.credential, sizeof(one.credential), e.credential);
	record_copy(one.host, sizeof(one.host), e.resource);
	refusals_add(&eg->refusals, &one);
	eg->count.refused++;
	audit_record(eg->audit, &e);
}
