/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are ours: errors, the list of models, and the pages that say how we are. */
#include "proto/proto.h"
#include "router/request_parts.h"

static const char *answer_date(struct requests *all)
{
	if (all->date_s != all->unix_s || !all->date[0]) {
		http_date(all->unix_s, all->date);
		all->date_s = all->unix_s;
	}
	return all->date;
}

void answer_begin(struct request *r, unsigned status, struct http_write *ret_w)
{
	bool close = !r->ask.keep_alive || r->framing.state != HTTP_BODY_DONE || r->all->draining;

	reply_begin(&r->reply, r->ask.http11, r->ask.bodiless, close);
	r->record.status = status;
	*ret_w = (struct http_write){.to = &r->reply.head};
	http_write_status(ret_w, status, answer_date(r->all));
	http_write_request_id(ret_w, span_str(r->record.id));
	http_write_limit(ret_w, &r->plan.limit);
}

/* What could not be written in full is not written at all: the connection is closed. */
static void answer_end(struct request *r, int e)
{
	if (e) {
		reply_discard(&r->reply);
		r->reply.close = true;
	}
	reply_release(&r->reply, reply_held(&r->reply).len);
	reply_end(&r->reply);
}

void answer_refusal(struct request *r)
{
	const struct reason_row *row = reason_row(r->record.reason);
	uint64_t retry_ms = r->record.retry_ms ? r->record.retry_ms : row->retry_ms;
	struct http_write w;

	reply_discard(&r->reply);
	answer_begin(r, row->status, &w);
	http_write_field(&w, "content-type", SPAN_LIT("application/json"));
	http_write_retry(&w, retry_ms);
	if (r->ask.methods)
		http_write_field(&w, "allow", span_str(r->ask.methods));
	if (row->status == 401)
		http_write_field(&w, "www-authenticate", SPAN_LIT("Bearer"));
	if (!w.r)
		w.r = http_write_error(&r->reply.body, r->record.reason);
	answer_end(r, w.r);
}

enum reason answer_local(struct request *r)
{
	bool readyz = r->ask.endpoint.kind == ENDPOINT_KIND_READYZ;
	enum reason unready = readyz ? requests_unready(r->all) : REASON_NONE;
	struct http_write w;

	if (unready || r->reply.ended) /* ended: the list of models or a receipt is already there */
		return unready;
	answer_begin(r, 200, &w);
	http_write_field(&w, "content-type", SPAN_LIT("text/plain"));
	if (!w.r)
		w.r = buf_append_str(&r->reply.body, readyz ? "ready\n" : "ok\n");
	answer_end(r, w.r);
	return REASON_NONE;
}

void answer_models(struct request *r, const struct proto_models_rep *models)
{
	struct proto_list list = models->models;
	struct buf *to = &r->reply.body;
	struct proto_model model;
	struct http_write w;
	int e;

	answer_begin(r, 200, &w);
	http_write_field(&w, "content-type", SPAN_LIT("application/json"));
	e = buf_append_str(to, "{\"object\":\"list\",\"data\":[");
	for (bool first = true; !e && proto_model_next(&list, &model); first = false) {
		e = buf_append_str(to, first ? "{\"id\":\"" : ",{\"id\":\"");
		if (!e)
			e = http_write_json_text(to, model.name);
		if (!e)
			e = buf_append_str(to, "\",\"object\":\"model\",\"created\":0,\"owned_by\":\"");
		if (!e)
			e = http_write_json_text(to, model.provider);
		if (!e)
			e = buf_append_str(to, "\"}");
	}
	if (!e)
		e = buf_append_str(to, "]}\n");
	record_whose(r, models->tenant, models->principal, models->subject, models->sealed);
	answer_end(r, w.r ? w.r : e);
}

void answer_receipt(struct request *r, const struct proto_receipt_rep *receipt)
{
	struct http_write w;

	record_whose(r, receipt->tenant, receipt->principal, receipt->subject, receipt->sealed);
	plan_limit(r, receipt->limit, receipt->remaining, receipt->reset_ms);
	answer_begin(r, 200, &w);
	http_write_field(&w, "content-type", SPAN_LIT("text/plain; charset=utf-8"));
	answer_end(r, w.r ? w.r : buf_append(&r->reply.body, receipt->receipt.p, receipt->receipt.len));
}
