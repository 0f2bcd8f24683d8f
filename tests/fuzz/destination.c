/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destination unchanged: whatever a client says, and whatever a captured router adds, a request with the secret in it
 * has one request line with the planned path, one Host, the binding's, and one authorization.
 *
 * Input: a target, fields and a body, each ended by 0xff, in which bytes from 0x80 on stand for words that move
 * requests elsewhere. Played twice: as a client's request through the router's parsers, authd's plan and the egress's
 * check and head; and with the fields and the path handed to the egress as they are.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "authd/models.h"
#include "common/json_scan.h"
#include "keyvault/egress/auth.h"
#include "keyvault/egress/permit.h"
#include "router/endpoint.h"
#include "router/fields.h"

#define TEXT_MAX   8192
#define FIELDS_MAX 16
#define HOST       "upstream.test"
#define PORT       8443
#define SECRET     "sk-secret\x80of the fuzzer" /* no input can spell it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {
	"\r\n",
	"\r\n\r\n",
	": ",
	"host",
	"Host: ",
	"thief.test:8443",
	"https://",
	"http://",
	"//",
	"../",
	"..%2f",
	"%2e%2e/",
	"%00",
	"@",
	"#",
	"?",
	"\\",
	"/v1/chat/completions",
	"/v1",
	"x-forwarded-host",
	"x-original-url",
	"x-custom-host: ",
	"api_base",
	"\"base_url\":\"",
	"user_config",
	"transfer-encoding: chunked\r\n",
	"content-length: 0\r\n",
	"connection: host\r\n",
	"authorization: Bearer ",
	"authorization",
	"proxy-authorization",
	"accept",
	"user-agent",
	"x-stainless-",
	"x-claude-code-",
	"idempotency-key",
	"openai-beta",
	"{\"model\":\"",
	"\"model\":\"",
	"\\u002f",
	"\\u0000",
	"gpt-x",
	"local",
	"thief",
	"\"}",
	"CONNECT ",
	" HTTP/1.1",
	" HTTP/1.1\r\nHost: thief.test\r\n",
	"\t",
	" ",
	"\r",
	"\n",
	"x-amz-target",
	"forwarded",
	"expect: 100-continue\r\n",
	"upgrade: h2c\r\n",
	"cookie",
	"te: trailers\r\n",
	":path: /",
	"api-key",
	"accept-encoding",
	"content-length",
	"*",
	",",
};

static struct config_provider providers[] = {
	{.name = "local", .base_url = "https://" HOST ":8443/v1"},
	{.name = "thief", .base_url = "https://thief.test:8443/v1"},
};
static struct config_model rules[] = {{.match = "*", .providers = "local"}};

static const struct proto_binding binding = {
	.tenant = {(const uint8_t *)"*", 1},
	.credential = {(const uint8_t *)"local", 5},
	.provider = {(const uint8_t *)"local", 5},
	.scheme = {(const uint8_t *)"https", 5},
	.host = {(const uint8_t *)HOST, sizeof(HOST) - 1},
	.port = PORT,
	.path_prefix = {(const uint8_t *)"/v1", 3},
	.methods = BIT(PROTO_POST),
	.header = {(const uint8_t *)"authorization", 13},
	.prefix = {(const uint8_t *)"Bearer ", 7},
};

struct parts {
	struct span target, fields, body;
};

static void append(char *text, size_t *len, const char *word, size_t word_len)
{
	if (word_len < TEXT_MAX - *len) {
		memcpy(text + *len, word, word_len);
		*len += word_len;
	}
}

static struct parts expand(const uint8_t *data, size_t size, char *text)
{
	struct span part[3] = {SPAN_NULL, SPAN_NULL, SPAN_NULL};
	size_t n = 0, len = 0, begin = 0;

	for (size_t i = 0; i <= size && n < ARRAY_LEN(part); i++) {
		if (i == size || data[i] == 0xff) {
			part[n++] = span_of(text + begin, len - begin);
			begin = len;
		} else if (data[i] >= 0x80) {
			const char *word = words[data[i] % ARRAY_LEN(words)];
			append(text, &len, word, strlen(word));
		} else {
			append(text, &len, (const char *)&data[i], 1);
		}
	}
	return (struct parts){part[0], part[1], part[2]};
}

/* ---- the oracle ---- */

static bool line_is(struct span line, const char *begin)
{
	return line.len >= strlen(begin) && memcmp(line.p, begin, strlen(begin)) == 0;
}

/* No field that some server takes for the destination, for framing or for a second credential. */
static void check_field(struct span line, unsigned *hosts, unsigned *keys, unsigned *lengths)
{
	static const char *const never[] = {
		"transfer-encoding:", "connection:", "upgrade:",      "te:",      "expect:",    "forwarded",
		"x-forwarded-",       "x-original-", "x-rewrite-",    "proxy-",   "cookie:",    "x-amz-",
		"api-key:",           "x-api-key:",  "x-http-method", "trailer:", "keep-alive:"};
	const uint8_t *colon = memchr(line.p, ':', line.len);

	assert(colon && colon > line.p);
	for (const uint8_t *p = line.p; p < colon; p++)
		assert((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("!#$%&'*+-.^_`|~", *p));
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		assert(!line_is(line, never[i]));
	*hosts += memmem(line.p, (size_t)(colon - line.p), "host", 4) != NULL;
	*keys += memmem(line.p, (size_t)(colon - line.p), "authorization", 13) != NULL;
	*lengths += line_is(line, "content-length");
}

static void check_head(struct span head, const char *path)
{
	char want[TEXT_MAX];
	unsigned hosts = 0, keys = 0, lengths = 0;
	size_t at;

	size_t n = (size_t)snprintf(want, sizeof(want), "POST %s HTTP/1.1\r\nhost: " HOST ":8443\r\n", path);
	assert(head.len > n && memcmp(head.p, want, n) == 0);
	assert(memcmp(head.p + head.len - 4, "\r\n\r\n", 4) == 0);
	for (at = (size_t)((const uint8_t *)memchr(head.p, '\n', head.len) - head.p) + 1; at < head.len - 2;) {
		const uint8_t *lf = memchr(head.p + at, '\n', head.len - at);
		assert(lf && lf[-1] == '\r');
		struct span line = span_of(head.p + at, (size_t)(lf - head.p) - 1 - at);
		assert(line.len > 0 && !memchr(line.p, '\r', line.len) && !memchr(line.p, 0, line.len));
		check_field(line, &hosts, &keys, &lengths);
		at += line.len + 2;
	}
	assert(at == head.len - 2 && hosts == 1 && keys == 1 && lengths == 1);
	assert(memmem(head.p, head.len, "authorization: Bearer " SECRET "\r\n\r\n",
		      sizeof("authorization: Bearer " SECRET) + 3));
}

/* ---- the egress ---- */

static int write_auth(const void *ctx, const struct head *h, struct text *to)
{
	(void)ctx;
	return auth_header.write(&(struct auth_use){.binding = &binding, .secret = SPAN_LIT(SECRET)}, h, to);
}

/* The route of a grant, the binding, the head: as keyvault/egress/exchange.c and send.c do it. */
static void send_request(struct span path, struct span host, uint64_t port, struct proto_list fields)
{
	static uint8_t to[16384];
	char text[MODELS_PATH_BYTES_MAX + 1];
	const struct proto_grant_route route = {
		.credential = binding.credential, .host = host, .port = port, .method = PROTO_POST, .path = path};
	const struct head head = {.method = PROTO_POST,
				  .path = path,
				  .host = binding.host,
				  .port = (uint16_t)binding.port,
				  .fields = fields,
				  .body_bytes = 2,
				  .auth_name = binding.header,
				  .auth = write_auth};
	size_t len;

	if (path.len > MODELS_PATH_BYTES_MAX || permit_binding(&binding, &route, SPAN_LIT("acme"), 1) != REASON_NONE)
		return;
	assert(span_eq_str(host, HOST) && port == PORT);
	memset(to, 0, sizeof(to));
	if (head_write(&head, to, sizeof(to), &len)) {
		assert(!memmem(to, sizeof(to), SECRET, sizeof(SECRET) - 1));
		return;
	}
	memcpy(text, path.p, path.len);
	text[path.len] = 0;
	check_head(span_of(to, len), text);
}

/* ---- a client's request ---- */

static void plan_request(const struct models *models, struct span body, struct proto_list fields)
{
	static struct credentials_row rows[] = {
		{.id = "local", .provider = "local", .tenant = "*", .version = 1, .live = true},
		{.id = "thief", .provider = "thief", .tenant = "*", .version = 1, .live = true},
	};
	const struct credentials credentials = {.rows = rows, .n = ARRAY_LEN(rows)};
	struct json_body json;
	struct models_plan plan;
	uint8_t name[256];
	size_t len;

	if (body.len == 0 || json_scan(body, NULL, NULL, &json) ||
	    json.fields[JSON_FIELD_MODEL].kind != JSON_KIND_STRING ||
	    json_text(&json.fields[JSON_FIELD_MODEL], name, sizeof(name), &len) ||
	    !config_model_valid(span_of(name, len)) ||
	    models_plan(models, &credentials, SPAN_LIT("acme"), "*", span_of(name, len), ENDPOINT_CHAT_COMPLETIONS,
			&plan))
		return;
	assert(plan.n == 1);
	const struct models_route *r = &plan.routes[0];
	assert(strcmp(r->credential, "local") == 0 && strcmp(r->path, "/v1/chat/completions") == 0);
	send_request(span_of(r->path, r->path_len), span_str(r->provider->url.host), r->provider->url.port, fields);
}

static void play_client(const struct models *models, const struct parts *in)
{
	static struct http_head head;
	char text[TEXT_MAX + 128];
	struct http_scan scan = {0};
	struct endpoint_match match;
	struct buf fields;
	size_t bytes, n;

	int len = snprintf(
		text, sizeof(text), "POST %.*s HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer k\r\n%.*s\r\n\r\n",
		(int)in->target.len, (const char *)in->target.p, (int)in->fields.len, (const char *)in->fields.p);
	if (len < 0 || (size_t)len >= sizeof(text) || http_scan(&scan, span_of(text, (size_t)len), &bytes) ||
	    http_head_parse(span_of(text, bytes), &head) || endpoint_match(&head, &match) != REASON_NONE ||
	    !match.has_body)
		return;
	buf_init(&fields, 65536);
	if (fields_to_upstream(&head, SPAN_LIT("id"), &fields, &n) == 0)
		plan_request(models, in->body, (struct proto_list){.count = n, .raw = buf_span(&fields)});
	buf_deinit(&fields);
}

/* ---- a captured router ---- */

static void play_router(const struct parts *in)
{
	struct proto_header fields[FIELDS_MAX];
	struct span rest = in->fields;
	size_t n = 0;

	while (rest.len > 0 && n < FIELDS_MAX) {
		const uint8_t *end = memchr(rest.p, '\n', rest.len);
		struct span line = span_of(rest.p, end ? (size_t)(end - rest.p) : rest.len);
		const uint8_t *colon = memchr(line.p, ':', line.len);
		size_t name = colon ? (size_t)(colon - line.p) : line.len;
		fields[n++] =
			(struct proto_header){.name = span_of(line.p, name),
					      .value = span_of(line.p + name + !!colon, line.len - name - !!colon)};
		rest = span_of(line.p + line.len + !!end, rest.len - line.len - !!end);
	}
	const struct proto_list list = {.items = fields, .count = n};
	send_request(in->target, binding.host, binding.port, list);
	send_request(SPAN_LIT("/v1/chat/completions"), binding.host, binding.port, list);
	send_request(SPAN_LIT("/v1/chat/completions"), in->body, binding.port, list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct log log = {.daemon = "fuzz", .level = LOG_LEVEL_ERROR};
	static struct models *models;
	static char text[TEXT_MAX];
	const struct config config = {.providers = providers,
				      .n_providers = ARRAY_LEN(providers),
				      .models = rules,
				      .n_models = ARRAY_LEN(rules)};

	if (!models && models_new(&config, &log, &models))
		abort();
	struct parts in = expand(data, size, text);
	if (in.target.len == 0)
		in.target = SPAN_LIT("/v1/chat/completions");
	play_client(models, &in);
	play_router(&in);
	return 0;
}
