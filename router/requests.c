/* SPDX-License-Identifier: Apache-2.0 */
/* All requests of a worker: their lists, deadlines and counters. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "router/client.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/request_parts.h"
#include "router/splice.h"

#define REQUEST_IN_BYTES_MAX    131072
#define REQUEST_WORDS_BYTES_MAX 65536
#define REQUEST_PLAN_BYTES_MAX  16384

int requests_init(struct requests *all, const uint8_t boot[16], unsigned worker)
{
#define S(NAME, limit, late, next) all->wait_ms[REQUEST_##NAME] = all->limits.limit;
	REQUEST_STATES(S)
#undef S
	for (unsigned i = 0; i < N_REQUEST_STATES; i++)
		list_init(&all->in_state[i]);
	(void)snprintf(all->id_prefix, sizeof(all->id_prefix), "%02x%02x%02x%02x%02x-%u-", boot[0], boot[1], boot[2],
		       boot[3], boot[4], worker % 1000);
	all->splices = malloc(sizeof(*all->splices));
	return all->splices ? 0 : err_origin(-ENOMEM);
}

void requests_deinit(struct requests *all)
{
	assert(all->n == 0);
	free(all->splices);
	all->splices = NULL;
}

void request_init(struct request *r, struct requests *all, struct client *client)
{
	*r = (struct request){.all = all, .client = client};
	buf_init(&r->in, REQUEST_IN_BYTES_MAX);
	buf_init(&r->words, REQUEST_WORDS_BYTES_MAX);
	buf_init(&r->plan.bytes, REQUEST_PLAN_BYTES_MAX);
	body_init(&r->body, &all->bodies);
	reply_init(&r->reply);
	list_init(&r->in_state);
	r->state = REQUEST_AWAIT;
	r->deadline_ms = all->now_us / 1000 + all->wait_ms[r->state];
	list_push(&all->in_state[r->state], &r->in_state);
	all->n++;
	ask_reset(r);
	client_read(client, true);
}

void request_deinit(struct request *r)
{
	assert(r->state == REQUEST_CLOSED && !r->call.conn && r->upstream.id == 0);
	list_unlink(&r->in_state);
	buf_deinit(&r->in);
	buf_deinit(&r->words);
	buf_deinit(&r->plan.bytes);
	body_deinit(&r->body);
	reply_deinit(&r->reply);
	r->all->n--;
}

/* Bytes are looked at where they were read; only what is left over is copied. */
void request_input(struct request *r, struct span bytes)
{
	if (buf_len(&r->in) > 0) {
		if (buf_append(&r->in, bytes.p, bytes.len)) {
			request_event(r, &(struct event){.kind = EV_GONE});
			return;
		}
	} else {
		r->fresh = bytes;
	}
	request_event(r, &(struct event){.kind = EV_INPUT});
	bytes = r->fresh;
	r->fresh = SPAN_NULL;
	if (r->state != REQUEST_CLOSED && bytes.len > 0 && buf_append(&r->in, bytes.p, bytes.len))
		request_event(r, &(struct event){.kind = EV_GONE});
}

void requests_expire(struct requests *all)
{
	uint64_t now_ms = all->now_us / 1000;

	for (unsigned i = 0; i < REQUEST_CLOSED; i++)
		for (struct list *l = list_first(&all->in_state[i]); l; l = list_first(&all->in_state[i])) {
			struct request *r = container_of(l, struct request, in_state);
			if (r->deadline_ms > now_ms)
				break;
			request_event(r, &(struct event){.kind = EV_TIMEOUT});
			assert(list_first(&all->in_state[i]) != l);
		}
}

uint64_t requests_next_ms(const struct requests *all)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < REQUEST_CLOSED; i++) {
		struct list *l = list_first(&all->in_state[i]);
		if (l)
			next = MIN(next, container_of(l, struct request, in_state)->deadline_ms);
	}
	return next;
}

enum reason requests_unready(const struct requests *all)
{
	return !peers_authd_up(all->peers)      ? REASON_AUTHD_GONE
	       : !peers_vault_open(all->peers)  ? REASON_VAULT_SEALED
	       : !lane_up(all->lane)            ? REASON_EGRESS_GONE
	       : !peers_can_inspect(all->peers) ? REASON_CLASSIFIER_GONE
						: REASON_NONE;
}

void requests_shutdown(struct requests *all)
{
	all->draining = true;
	list_for_each_safe (l, &all->in_state[REQUEST_AWAIT])
		request_event(container_of(l, struct request, in_state), &(struct event){.kind = EV_SHUTDOWN});
}

void requests_end(struct requests *all)
{
	for (unsigned i = REQUEST_AWAIT; i < REQUEST_FLUSH; i++)
		list_for_each_safe (l, &all->in_state[i])
			request_event(container_of(l, struct request, in_state), &(struct event){.kind = EV_SHUTDOWN});
}

void requests_revoke(struct requests *all, struct span principal)
{
	static const enum request_state in_flight[] = {REQUEST_SCAN, REQUEST_OPEN, REQUEST_RENEW, REQUEST_RELAY};

	for (size_t i = 0; i < ARRAY_LEN(in_flight); i++)
		list_for_each_safe (l, &all->in_state[in_flight[i]]) {
			struct request *r = container_of(l, struct request, in_state);
			if (span_eq_str(principal, r->record.principal))
				request_event(r, &(struct event){.kind = EV_REVOKED});
		}
}

static void metric_type(char *to, size_t cap, const char *name, const char *type)
{
	size_t len = strnlen(to, cap);

	if (len < cap)
		(void)snprintf(to + len, cap - len, "# TYPE bulkhead_router_%s %s\n", name, type);
}

static void metric(char *to, size_t cap, const char *name, const char *label, const char *value, uint64_t n)
{
	size_t len = strnlen(to, cap);

	if (len < cap)
		(void)snprintf(to + len, cap - len, "bulkhead_router_%s{%s=\"%s\"} %llu\n", name, label, value,
			       (unsigned long long)n);
}

void requests_metrics(const struct requests *all, char *to, size_t cap)
{
	char status[8];

	metric_type(to, cap, "requests", "gauge");
	for (unsigned i = 0; i < REQUEST_CLOSED; i++) {
		uint64_t n = 0;
		list_for_each (l, &all->in_state[i])
			n++;
		metric(to, cap, "requests", "state", request_state_name((enum request_state)i), n);
	}
	metric_type(to, cap, "requests_total", "counter");
	for (unsigned i = 0; i < ARRAY_LEN(all->by_status); i++) {
		(void)snprintf(status, sizeof(status), "%u", i % 1000);
		if (all->by_status[i])
			metric(to, cap, "requests_total", "status", status, all->by_status[i]);
	}
	metric_type(to, cap, "answers_total", "counter");
	metric(to, cap, "answers_total", "end", "cut", all->cut);
	metric_type(to, cap, "tokens_total", "counter");
	metric(to, cap, "tokens_total", "direction", "in", all->tokens_in);
	metric(to, cap, "tokens_total", "direction", "out", all->tokens_out);
}
