/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client wants: head, body, and the few facts in them that decide. The head is parsed into a table that all
 * requests share and that lives for one step; what is needed later is copied out of it, packed as the egress will
 * want it.
 */
#include <assert.h>

#include "router/client.h"
#include "router/fields.h"
#include "router/request_parts.h"

#define ASK_CREDENTIAL_BYTES_MAX 512 /* AUTHORIZE.credential */
#define ASK_KEPT_BYTES           16384

/* The worker's prefix and its next number, in hexadecimal. */
static void ask_mint_id(struct requests *all, char *to)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = strlen(all->id_prefix), digits = 1;
	uint64_t n = ++all->id_count;

	memcpy(to, all->id_prefix, len);
	while (digits < 16 && n >> (4 * digits))
		digits++;
	for (to += len; digits > 0; digits--)
		*to++ = hex[n >> (4 * (digits - 1)) & 15];
	*to = '\0';
}

void ask_reset(struct request *r)
{
	ask_mint_id(r->all, r->record.id);
	assert(reply_pending(&r->reply) == 0);
	r->scan = (struct http_scan){0};
	r->framing = (struct http_body){.state = HTTP_BODY_SIZE};
	r->ask = (struct request_ask){.http11 = true};
	r->plan.permitted = false;
	r->plan.call = 0;
	r->plan.limit.limit = 0;
	r->plan.route = r->plan.n_routes = 0;
	r->stream = r->stream_finished = r->stream_done = false;
	r->sse = (struct sse){0};
	r->tail.len = 0;
	body_reset(&r->body);
	buf_reset(&r->words);
	reply_trim(&r->reply);
	reply_begin(&r->reply, true, false, true);
	r->record.begun_us = r->all->now_us;
	r->record.status = 0;
	r->record.reason = REASON_NONE;
	r->record.retry_ms = 0;
	r->record.note = NULL;
	r->record.usage = (struct usage){0, 0};
	r->record.has_digest = false;
	r->record.tenant[0] = r->record.principal[0] = r->record.model[0] = '\0';
	r->record.provider[0] = r->record.credential[0] = r->record.subject[0] = '\0';
	r->record.sealed_len = 0;
	r->record.price_in = r->record.price_out = 0;
	record_text(r->record.address, sizeof(r->record.address), span_str(client_address(r->client)));
	if (buf_len(&r->in) == 0 && r->in.cap > ASK_KEPT_BYTES)
		buf_deinit(&r->in);
}

struct span ask_input(const struct request *r)
{
	return buf_len(&r->in) > 0 ? buf_span(&r->in) : r->fresh;
}

void ask_take_input(struct request *r, size_t bytes)
{
	if (buf_len(&r->in) > 0) {
		buf_consume(&r->in, bytes);
		return;
	}
	assert(bytes <= r->fresh.len);
	r->fresh = span_of(r->fresh.p + bytes, r->fresh.len - bytes);
}

static enum reason ask_refusal(int head_err)
{
	return head_err == HTTP_HEAD_E_TOO_LARGE     ? REASON_HEAD_TOO_LARGE
	       : head_err == HTTP_HEAD_E_EXPECTATION ? REASON_EXPECTATION
						     : REASON_BAD_REQUEST;
}

/* Who it is for, as far as proxies that we trust say so. */
static void ask_origin(struct request *r, const struct http_head *h)
{
	const struct proxies *trusted = &r->all->trusted;

	if (!proxies_trust(trusted, span_str(r->record.address)))
		return;
	/* a proxy may add its word to the client's, or a field of its own behind it */
	for (size_t i = h->n_fields; i-- > 0;)
		if (http_name_is(h->fields[i].name, "x-forwarded-for") &&
		    !proxies_client(trusted, h->fields[i].value, r->record.address))
			break;
	struct span id = http_head_field(h, "x-request-id");
	if (endpoint_id_valid(id)) {
		memcpy(r->record.id, id.p, id.len);
		r->record.id[id.len] = '\0';
	}
}

/* JSON as it is, without a coding. No type, and the one that curl -d sends unasked, are taken for it. */
static bool ask_media_is_good(const struct http_head *h)
{
	static const char *const types[] = {"application/json", "application/x-www-form-urlencoded"};
	struct span coding = http_head_field(h, "content-encoding"), type = http_head_field(h, "content-type");
	const uint8_t *end = memchr(type.p ? (const char *)type.p : "", ';', type.len);

	if (coding.len > 0 && !http_name_is(coding, "identity"))
		return false;
	if (end)
		type.len = (size_t)(end - type.p);
	while (type.len > 0 && type.p[type.len - 1] == ' ')
		type.len--;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (http_name_is(type, types[i]))
			return true;
	return type.len == 0;
}

/* Packs the fields that go on, and the credential behind them. */
static enum reason ask_words(struct request *r, const struct http_head *h)
{
	struct span credential = endpoint_credential(h);

	if (credential.len == 0)
		return REASON_KEY_MISSING;
	if (credential.len > ASK_CREDENTIAL_BYTES_MAX)
		return REASON_KEY_INVALID;
	int e = fields_to_upstream(h, span_str(r->record.id), &r->words, &r->ask.n_fields);
	if (e == FIELDS_E_TOO_LARGE)
		return REASON_HEAD_TOO_LARGE;
	r->ask.fields_bytes = buf_len(&r->words);
	if (!e)
		e = buf_append(&r->words, credential.p, credential.len);
	return e ? REASON_INTERNAL : REASON_NONE;
}

static enum reason ask_check_head(struct request *r, const struct http_head *h)
{
	bool body = h->framing == HTTP_FRAMING_CHUNKED || h->content_length > 0;

	ask_origin(r, h);
	r->ask.http11 = h->minor == 1;
	r->ask.bodiless = h->method == HTTP_METHOD_HEAD;
	r->ask.expect_continue = h->expect_continue;
	enum reason reason = endpoint_match(h, &r->ask.endpoint);
	if (reason == REASON_METHOD_NOT_ALLOWED)
		r->ask.methods = endpoint_methods(h->path);
	if (reason)
		return reason;
	r->ask.has_endpoint = true;
	record_text(r->ask.id, sizeof(r->ask.id), r->ask.endpoint.id);
	r->ask.endpoint.id = SPAN_NULL; /* the head goes with this step */
	if (body && !r->ask.endpoint.has_body)
		return REASON_BAD_REQUEST;
	if (h->content_length > BODY_BYTES_MAX)
		return REASON_TOO_LARGE;
	if (r->ask.endpoint.has_body && !ask_media_is_good(h))
		return REASON_MEDIA_TYPE;
	reason = r->ask.endpoint.kind == ENDPOINT_KIND_API ? ask_words(r, h) : REASON_NONE;
	if (reason)
		return reason;
	r->ask.keep_alive = h->keep_alive;
	http_body_init(&r->framing, h);
	return REASON_NONE;
}

enum reason ask_head(struct request *r, bool *ret_done)
{
	struct http_head *h = &r->all->head;
	size_t bytes;

	*ret_done = false;
	if (r->scan.at == 0)
		r->record.begun_us = r->all->now_us;
	int e = http_scan(&r->scan, ask_input(r), &bytes);
	if (e == HTTP_HEAD_E_MORE)
		return REASON_NONE;
	if (!e)
		e = http_head_parse(span_of(ask_input(r).p, bytes), h);
	if (e)
		return ask_refusal(e);
	enum reason reason = ask_check_head(r, h);
	/* without a body to come, the connection can go on even after a refusal */
	if (reason && h->framing == HTTP_FRAMING_NONE) {
		r->ask.keep_alive = h->keep_alive;
		http_body_init(&r->framing, h);
	}
	ask_take_input(r, bytes);
	*ret_done = true;
	return reason;
}

/* [A-Za-z0-9][A-Za-z0-9._:/-]{0,255}, without "..": it becomes part of keys, paths and logs. */
static bool ask_model_is_good(struct span model)
{
	static const char others[] = "._:/-";

	for (size_t i = 0; i < model.len; i++) {
		uint8_t c = model.p[i], lower = c | 0x20;
		bool plain = (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
		if (!plain && (i == 0 || !c || !strchr(others, c) || (c == '.' && model.p[i - 1] == '.')))
			return false;
	}
	return model.len > 0;
}

static enum reason ask_json(struct request *r)
{
	struct span text = body_span(&r->body);
	struct json_body json;
	size_t len;

	if (text.len == 0)
		return REASON_BAD_JSON;
	int e = json_scan(text, NULL, NULL, &json);
	if (e)
		return e < 0 ? REASON_INTERNAL : REASON_BAD_JSON;
	const struct json_value *model = &json.fields[JSON_FIELD_MODEL];
	if (model->kind != JSON_KIND_STRING)
		return json.value.kind != JSON_KIND_OBJECT ? REASON_BAD_JSON : REASON_NO_MODEL;
	/* one that is too long has been decoded as far as there was room */
	if (json_text(model, (uint8_t *)r->record.model, sizeof(r->record.model) - 1, &len) ||
	    !ask_model_is_good(span_of(r->record.model, len))) {
		r->record.model[0] = '\0';
		return REASON_BAD_MODEL;
	}
	r->record.model[len] = '\0';
	r->ask.model_at = (size_t)(model->raw.p - text.p);
	r->ask.model_bytes = model->raw.len;
	return REASON_NONE;
}

static enum reason ask_no_room(int e)
{
	return e < 0 ? REASON_INTERNAL : e == BODY_E_CROWDED ? REASON_OVERLOADED : REASON_TOO_LARGE;
}

bool ask_is_large(const struct request *r)
{
	uint64_t to_come = r->framing.chunked ? 0 : r->framing.left;

	return r->body.len + to_come > r->all->limits.anonymous_bytes_max;
}

/* Before the first byte of the body is taken. */
static enum reason ask_expect(struct request *r)
{
	int e = r->framing.chunked ? 0 : body_expect(&r->body, (size_t)r->framing.left);

	if (e)
		return ask_no_room(e);
	if (r->ask.expect_continue && ask_input(r).len == 0) {
		if (buf_append_str(&r->reply.wire, "HTTP/1.1 100 Continue\r\n\r\n"))
			return REASON_INTERNAL;
		client_flush(r->client);
	}
	r->ask.expect_continue = false;
	return REASON_NONE;
}

enum reason ask_body(struct request *r, bool *ret_done)
{
	struct span data;
	size_t used;
	int e, b = 0;

	*ret_done = false;
	enum reason reason = r->body.len == 0 ? ask_expect(r) : REASON_NONE;
	if (reason)
		return reason;
	while ((e = http_body_next(&r->framing, ask_input(r), &used, &data)) == 0) {
		b = body_append(&r->body, data);
		ask_take_input(r, used); /* even what found no room is no part of the next request */
		if (b)
			return ask_no_room(b);
	}
	if (e == HTTP_BODY_E_MORE)
		return REASON_NONE;
	if (e == HTTP_BODY_E_BAD) {
		r->ask.keep_alive = false;
		return REASON_BAD_REQUEST;
	}
	*ret_done = true;
	if (body_finish(&r->body))
		return REASON_INTERNAL;
	return r->ask.endpoint.has_body ? ask_json(r) : REASON_NONE;
}
