/* SPDX-License-Identifier: Apache-2.0 */
#include "auditd/shipper/witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auditd/shipper/cosign.h"
#include "auditd/tree.h"

static void witness_ask(struct witness *one);

/* As soon as there are enough, and again with each one more: the last one may take its time. */
static void witness_publish(struct witnesses *w)
{
	struct span note = span_of(w->round.note, w->round.note_len);
	struct tlog_policy_result result;

	if (tlog_policy_check(&w->policy, &w->round.log, note, &result))
		return;
	int r = tree_write_durable(w->dir, WITNESS_FILE, note);
	if (r && !w->round.unwritten)
		log_event(&w->daemon->log, LOG_WITNESS_FAILED, LOG_STR("witness", WITNESS_FILE),
			  LOG_STR("why", strerrordesc_np(-r)));
	w->round.unwritten = r;
	if (!r)
		w->witnessed_size = w->round.size;
}

static void witness_fail(struct witness *one, const char *why)
{
	char name[NOTE_NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), "%.*s", SPAN_ARG(one->node->name));
	if (!one->failing)
		log_event(&one->all->daemon->log, LOG_WITNESS_FAILED, LOG_STR("witness", name), LOG_STR("why", why));
	one->failing = true;
	one->all->errors_total++;
}

/* ---- what a witness says ---- */

static const char *witness_refusal(long status)
{
	switch (status) {
	case 400:
		return "400: it does not understand the request, or knows a larger log";
	case 403:
		return "403: it does not trust this log's key";
	case 404:
		return "404: it does not know this log's origin";
	case 422:
		return "422: it says that the log did not grow from what it remembers";
	default:
		return "it answers neither 200 nor 409";
	}
}

static void witness_accept(struct witness *one, struct span body)
{
	struct witness_round *round = &one->all->round;

	if (cosign_take(span_of(round->note, round->base_len), body, &one->node->key, round->note, sizeof(round->note),
			&round->note_len)) {
		witness_fail(one, "200, and no valid cosignature of its key");
		return;
	}
	one->known = round->size;
	one->failing = false;
	one->all->cosignatures_total++;
	round->cosigned++;
	witness_publish(one->all);
}

/* It remembers another size than we thought: that is the usual way to learn it. */
static void witness_correct(struct witness *one, struct span body)
{
	uint64_t size;

	if (!cosign_size(body, &size))
		witness_fail(one, "409, and no size");
	else if (size > one->all->round.size)
		witness_fail(one,
			     "it remembers more records than this log has: the log was set back, or another is about");
	else if (one->corrected)
		witness_fail(one, "409 twice: it remembers another root of this size, or somebody else asks it too");
	else {
		one->known = size;
		one->corrected = true;
		witness_ask(one);
	}
}

static void witness_on_answer(void *ctx, long status, struct span body, const char *why)
{
	struct witness *one = ctx;

	if (status == 0)
		witness_fail(one, why);
	else if (status == 200)
		witness_accept(one, body);
	else if (status == 409)
		witness_correct(one, body);
	else
		witness_fail(one, witness_refusal(status));
	one->all->round.open--;
}

/* ---- asking ---- */

static int witness_send(struct witness *one, struct buf *request)
{
	struct witness_round *round = &one->all->round;
	struct merkle_source source = {tile_source_node, &round->tiles};
	struct merkle_proof proof = {0};
	int r = 0;

	if (one->known > 0 && one->known < round->size)
		r = merkle_prove_consistency(&source, one->known, round->size, &proof);
	if (!r)
		r = cosign_request(one->known, &proof, span_of(round->note, round->base_len), request);
	return r ? r : http_post(one->all->http, one->url, buf_span(request), witness_on_answer, one);
}

static void witness_ask(struct witness *one)
{
	struct buf request;

	buf_init(&request, COSIGN_REQUEST_BYTES_MAX);
	one->all->round.open++;
	if (witness_send(one, &request)) {
		witness_fail(one, "it could not be asked: the tiles in tile/ are damaged, or there is no name server");
		one->all->round.open--;
	}
	buf_deinit(&request);
}

static void witness_on_timer(uv_timer_t *timer)
{
	struct witnesses *w = timer->data;
	const struct folder *f = w->folder;

	if (w->round.unwritten)
		witness_publish(w);
	if (w->round.open > 0 || f->size == 0 || (f->size == w->round.size && w->round.cosigned == w->n))
		return;
	w->round = (struct witness_round){
		.open = 1, .size = f->size, .log = f->key, .base_len = f->note_len, .note_len = f->note_len};
	memcpy(w->round.note, f->note, f->note_len);
	tile_source_init(&w->round.tiles, f->dir, f->size);
	for (size_t i = 0; i < w->n; i++) {
		w->one[i].corrected = false;
		witness_ask(&w->one[i]);
	}
	w->round.open--;
}

/* ---- life ---- */

/* The one request of the protocol, under the prefix that the policy gives. */
static int witness_add(struct witnesses *w, const struct tlog_policy_node *node)
{
	struct witness *one = &w->one[w->n];
	struct http_url url;
	int n;

	if (w->n == WITNESSES_MAX)
		return WITNESS_E_POLICY;
	n = snprintf(one->url, sizeof(one->url), "%.*s%sadd-checkpoint", SPAN_ARG(node->url),
		     node->url.p[node->url.len - 1] == '/' ? "" : "/");
	if (n < 0 || (size_t)n >= sizeof(one->url) || !http_url_parse(one->url, &url))
		return WITNESS_E_POLICY;
	one->all = w;
	one->node = node;
	w->n++;
	return 0;
}

static int witness_read_policy(struct witnesses *w, const char *path, const char **ret_why)
{
	FILE *f = fopen(path, "re");
	size_t len = 0;

	w->text = calloc(1, TLOG_POLICY_BYTES_MAX);
	if (f && w->text)
		len = fread(w->text, 1, TLOG_POLICY_BYTES_MAX, f);
	if (f)
		(void)fclose(f);
	*ret_why = "shipper.witnesses cannot be read";
	if (len == 0)
		return WITNESS_E_POLICY;
	if (tlog_policy_parse(span_of(w->text, len), &w->policy)) {
		*ret_why = "shipper.witnesses is not a tlog-policy file: `bulkhead audit verify --policy` says where";
		return WITNESS_E_POLICY;
	}
	*ret_why = "shipper.witnesses: at most 16 witnesses with a URL, http:// or https://";
	for (size_t i = 0; i < w->policy.n_nodes; i++)
		if (!w->policy.nodes[i].is_group && w->policy.nodes[i].url.len > 0 &&
		    witness_add(w, &w->policy.nodes[i]))
			return WITNESS_E_POLICY;
	return 0;
}

int witness_init(struct witnesses *w, struct daemon *daemon, const struct folder *folder, struct http *http,
		 const char *policy_file, int dir, uint64_t interval_ms, const char **ret_why)
{
	*w = (struct witnesses){
		.daemon = daemon, .folder = folder, .http = http, .dir = dir, .interval_ms = interval_ms};
	w->timer.data = w;
	int r = uv_timer_init(&daemon->loop, &w->timer);
	if (r || policy_file[0] == 0)
		return r;
	r = witness_read_policy(w, policy_file, ret_why);
	w->n = r ? 0 : w->n;
	return r;
}

size_t witness_ports(const struct witnesses *w, uint16_t *to)
{
	struct http_url url;

	for (size_t i = 0; i < w->n; i++)
		to[i] = http_url_parse(w->one[i].url, &url) ? url.port : 0;
	return w->n;
}

void witness_start(struct witnesses *w)
{
	if (w->n > 0)
		(void)uv_timer_start(&w->timer, witness_on_timer, 0, w->interval_ms);
}

void witness_metrics(const struct witnesses *w, char *to, size_t cap)
{
	(void)snprintf(
		to, cap,
		"# TYPE bulkhead_shipper_cosignatures_total counter\nbulkhead_shipper_cosignatures_total %" PRIu64
		"\n# TYPE bulkhead_shipper_witness_errors_total counter\nbulkhead_shipper_witness_errors_total %" PRIu64
		"\n# TYPE bulkhead_shipper_witnessed_size gauge\nbulkhead_shipper_witnessed_size %" PRIu64 "\n",
		w->cosignatures_total, w->errors_total, w->witnessed_size);
}

void witness_deinit(struct witnesses *w)
{
	w->http = http_free(w->http);
	free(w->text);
	uv_close((uv_handle_t *)&w->timer, NULL);
}
