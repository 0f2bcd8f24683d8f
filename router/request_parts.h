/* SPDX-License-Identifier: Apache-2.0 */
/* The helpers of request.c, by file. Each does one thing to a request and knows nothing of states. */
#pragma once

#include "router/request.h"

/* ---- request_ask.c: what the client wants ---- */
/* Forgets the last request. */
void ask_reset(struct request *r);
/* Bytes that wait to be taken, and taking them. */
struct span ask_input(const struct request *r);
void ask_take_input(struct request *r, size_t bytes);
/* Looks for a whole head. *ret_done false: more must come. Else REASON_NONE or why it is refused. */
enum reason ask_head(struct request *r, bool *ret_done);
/* Will its body be, or is it already, more than is taken from somebody unknown? */
bool ask_is_large(const struct request *r);
/* Takes body bytes. As above. */
enum reason ask_body(struct request *r, bool *ret_done);

/* ---- request_plan.c: what it may have, and by which way ---- */
/* Asks whose the key is, and takes the answer. */
enum reason plan_identify(struct request *r);
void plan_identified(struct request *r, const struct proto_models_rep *models);
enum reason plan_ask(struct request *r);
enum reason plan_permit(struct request *r, const struct proto_permit *permit);
void plan_limit(struct request *r, uint64_t limit, uint64_t remaining, uint64_t reset_ms);
enum reason plan_deny(struct request *r, const struct proto_deny *deny);
/* Can authd help when an exchange broke so? Once a request, and only while no byte has reached a provider. */
bool plan_may_renew(const struct request *r, enum reason reason, bool sent);
/* Asks for the same permission under the egress's new key; takes it. */
enum reason plan_renew(struct request *r);
enum reason plan_renewed(struct request *r, const struct proto_renewed *renewed);
/* Which classes of findings matter; 0: no need to scan. */
uint64_t plan_classes(const struct request *r);
enum reason plan_scan(struct request *r);
enum reason plan_verdict(struct request *r, const struct proto_verdict *verdict);
/* Opens an exchange by the plan's current route. */
enum reason plan_open(struct request *r);
/* Goes to the next route; false when there is none. */
bool plan_next_route(struct request *r);

/* ---- request_relay.c: the provider's answer ---- */
enum reason relay_head(struct request *r, const struct proto_reply_head *head);
enum reason relay_data(struct request *r, struct span bytes);
enum reason relay_end(struct request *r, const struct proto_end *end);
/* Ends an answer whose beginning may have left, in order where nothing of it is missing. False: nothing had, so it can
 * still be refused. */
COLD bool relay_cut(struct request *r, enum reason reason);

/* ---- request_answer.c: our own answers ---- */
void answer_refusal(struct request *r);
/* A page, or the list of models; else why it is refused. */
enum reason answer_local(struct request *r);
void answer_models(struct request *r, const struct proto_models_rep *models);
void answer_receipt(struct request *r, const struct proto_receipt_rep *receipt);
/* Begins a reply; the caller adds fields to *ret_w. */
void answer_begin(struct request *r, unsigned status, struct http_write *ret_w);

/* ---- request_record.c: who must know ---- */
void record_whose(struct request *r, struct span tenant, struct span principal, struct span subject,
		  struct span sealed);
/* From here on somebody may see an effect: the log hears of it, were it that a record is missing. */
void record_promise(struct request *r);
void record_settle(struct request *r);
/* Cut to what fits, with NUL. */
void record_text(char *to, size_t cap, struct span from);
