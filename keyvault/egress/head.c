/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields arrive from the router, which may be captured. A field with characters outside RFC 9110's grammar is an error,
 * since a sound router never sends one. A field that is not for it to send (framing, Host, hop-by-hop, anything that
 * authenticates or redirects) is left out.
 */
#include "keyvault/egress/head.h"

#include "keyvault/egress/chars.h"

/* Names that are never passed on: EXACT, as a BEGINning, or anywhere INside. */
struct head_drop {
	enum { HEAD_EXACT, HEAD_BEGIN, HEAD_IN } how;
	struct span text;
};

#define HEAD_TEXT(s)                                \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static const struct head_drop head_drops[] = {
	/* the egress's own */
	{HEAD_EXACT, HEAD_TEXT("host")},
	{HEAD_EXACT, HEAD_TEXT("accept-encoding")},
	{HEAD_BEGIN, HEAD_TEXT("content-length")},
	{HEAD_EXACT, HEAD_TEXT("content-encoding")},
	{HEAD_EXACT, HEAD_TEXT("transfer-encoding")},
	/* hop by hop (RFC 9110 7.6.1) and what asks the server for another protocol or an interim answer */
	{HEAD_EXACT, HEAD_TEXT("connection")},
	{HEAD_EXACT, HEAD_TEXT("keep-alive")},
	{HEAD_EXACT, HEAD_TEXT("te")},
	{HEAD_EXACT, HEAD_TEXT("trailer")},
	{HEAD_EXACT, HEAD_TEXT("upgrade")},
	{HEAD_EXACT, HEAD_TEXT("expect")},
	{HEAD_EXACT, HEAD_TEXT("http2-settings")},
	{HEAD_BEGIN, HEAD_TEXT("proxy-")},
	/* who is asking, and for whom */
	{HEAD_IN, HEAD_TEXT("authorization")},
	{HEAD_IN, HEAD_TEXT("api-key")},
	{HEAD_IN, HEAD_TEXT("apikey")},
	{HEAD_IN, HEAD_TEXT("cookie")},
	{HEAD_IN, HEAD_TEXT("token")},
	{HEAD_IN, HEAD_TEXT("secret")},
	{HEAD_BEGIN, HEAD_TEXT("x-amz-")},
	/* where to */
	{HEAD_IN, HEAD_TEXT("host")},
	{HEAD_BEGIN, HEAD_TEXT("forwarded")},
	{HEAD_BEGIN, HEAD_TEXT("x-forwarded-")},
	{HEAD_BEGIN, HEAD_TEXT("x-original-")},
	{HEAD_BEGIN, HEAD_TEXT("x-rewrite-")},
	{HEAD_BEGIN, HEAD_TEXT("x-http-method")},
};

/* What nearly every request has: no rule above concerns them. */
static const struct span head_usual[] = {HEAD_TEXT("content-type"), HEAD_TEXT("x-request-id"), HEAD_TEXT("accept"),
					 HEAD_TEXT("user-agent")};

/* For a few bytes in a few bytes: memmem(3) takes longer to make up its mind than this to look. */
static bool head_holds(struct span name, struct span t)
{
	for (size_t i = 0; i + t.len <= name.len; i++)
		if (name.p[i] == t.p[0] && span_eq(span_of(name.p + i, t.len), t))
			return true;
	return false;
}

static bool head_dropped(struct span name, struct span auth_name)
{
	if (span_eq(name, auth_name))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(head_usual); i++)
		if (span_eq(name, head_usual[i]))
			return false;
	for (size_t i = 0; i < ARRAY_LEN(head_drops); i++) {
		struct span t = head_drops[i].text;
		if (t.len > name.len || (head_drops[i].how != HEAD_IN && t.p[0] != name.p[0]))
			continue;
		if (head_drops[i].how == HEAD_IN
			    ? head_holds(name, t)
			    : memcmp(name.p, t.p, t.len) == 0 && (head_drops[i].how == HEAD_BEGIN || name.len == t.len))
			return true;
	}
	return false;
}

/* A token in small letters. */
static bool head_name_ok(struct span name)
{
	return name.len > 0 && chars_all(name, CHARS_SMALL);
}

static bool head_value_ok(struct span value)
{
	return chars_text(value);
}

/* "%2e", "%2F", "%5c", "%00": characters that change a path's meaning when they are decoded. */
static bool head_escape_ok(struct span rest)
{
	static const char *const bad[] = {"2e", "2f", "5c", "00", "0d", "0a", "23", "25", "3f"};
	char two[2] = {0, 0};

	if (rest.len < 3)
		return false;
	for (size_t i = 0; i < 2; i++) {
		uint8_t c = rest.p[1 + i];
		two[i] = (char)(c >= 'A' && c <= 'F' ? c + 32 : c);
		if (!(two[i] >= '0' && two[i] <= '9') && !(two[i] >= 'a' && two[i] <= 'f'))
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (memcmp(two, bad[i], 2) == 0)
			return false;
	return true;
}

static bool head_is_dots(struct span segment)
{
	return segment.len > 0 && segment.len <= 2 && segment.p[0] == '.' && segment.p[segment.len - 1] == '.';
}

/* A segment may be empty at the end of the path only, and is never "." or "..". */
bool head_path_ok(struct span path)
{
	size_t begin = 1; /* of the segment */
	bool query = false;

	if (path.len == 0 || path.p[0] != '/')
		return false;
	for (size_t i = 1; i < path.len; i++) {
		uint8_t c = path.p[i];
		if (chars_classes[c] & CHARS_PATH)
			continue;
		if (c != '/' && c != '?' && c != '%')
			return false;
		if (query)
			continue;
		if (c == '%') {
			if (!head_escape_ok(span_of(path.p + i, path.len - i)))
				return false;
			continue;
		}
		if ((c == '/' && i == begin) || head_is_dots(span_of(path.p + begin, i - begin)))
			return false;
		begin = i + 1;
		query = c == '?';
	}
	return query || !head_is_dots(span_of(path.p + begin, path.len - begin));
}

void head_put_host(struct text *t, struct span host, uint16_t port)
{
	bool v6 = memchr(host.p, ':', host.len) != NULL;

	text_put_str(t, v6 ? "[" : "");
	text_put(t, host);
	text_put_str(t, v6 ? "]" : "");
	if (port != 443) {
		text_put_str(t, ":");
		text_put_u64(t, port);
	}
}

const char *head_method(enum proto_method method)
{
	static const char *const methods[] = {
		[PROTO_GET] = "GET", [PROTO_POST] = "POST", [PROTO_HEAD] = "HEAD", [PROTO_DELETE] = "DELETE"};

	return (size_t)method < ARRAY_LEN(methods) ? methods[method] : NULL;
}

static int head_put_fields(struct text *t, const struct head *h)
{
	struct proto_list fields = h->fields;
	struct proto_header field;

	while (proto_header_next(&fields, &field)) {
		if (!head_name_ok(field.name) || !head_value_ok(field.value))
			return HEAD_E_FIELD;
		if (head_dropped(field.name, h->auth_name))
			continue;
		text_put(t, field.name);
		text_put_str(t, ": ");
		text_put(t, field.value);
		text_put_str(t, "\r\n");
	}
	return 0;
}

int head_write(const struct head *h, uint8_t *to, size_t cap, size_t *ret_len)
{
	struct text t = TEXT_OF(to, cap > 2 ? cap - 2 : 0); /* the empty line always fits */
	const char *method = head_method(h->method);

	if (!method || !head_path_ok(h->path) || !head_name_ok(h->auth_name))
		return HEAD_E_FIELD;
	text_put_str(&t, method);
	text_put_str(&t, " ");
	text_put(&t, h->path);
	text_put_str(&t, " HTTP/1.1\r\nhost: ");
	head_put_host(&t, h->host, h->port);
	text_put_str(&t, "\r\n");
	int r = head_put_fields(&t, h);
	if (r)
		return r;
	text_put_str(&t, "accept-encoding: identity\r\n");
	if (h->method == PROTO_POST || h->body_bytes > 0) {
		text_put_str(&t, "content-length: ");
		text_put_u64(&t, h->body_bytes);
		text_put_str(&t, "\r\n");
	}
	r = t.full ? HEAD_E_SIZE : h->auth(h->auth_ctx, h, &t);
	if (r || t.full)
		return r ? r : HEAD_E_SIZE;
	t.cap = cap;
	text_put_str(&t, "\r\n");
	*ret_len = t.len;
	return 0;
}
