/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allow-list, compared byte by byte: nothing is decoded, no slash is folded, so there is only one spelling of each
 * path. A query is looked at for keys that do not belong there and otherwise ignored; it goes nowhere.
 */
#include "router/endpoint.h"

#define GET  HTTP_METHOD_GET
#define POST HTTP_METHOD_POST

struct endpoint_row {
	const char *path;
	enum http_method method;
	struct endpoint_match match;
};

static const struct endpoint_row endpoints[] = {
#define ENDPOINT(NAME, number, method, path, suffix, body) {path, method, {ENDPOINT_KIND_API, number, body, SPAN_NULL}},
#include "proto/endpoints.def"
#undef ENDPOINT
	{"/", GET, {ENDPOINT_KIND_ROOT, 0, false, SPAN_NULL}},
	{"/healthz", GET, {ENDPOINT_KIND_HEALTHZ, 0, false, SPAN_NULL}},
	{"/readyz", GET, {ENDPOINT_KIND_READYZ, 0, false, SPAN_NULL}},
};

bool endpoint_id_valid(struct span id)
{
	for (size_t i = 0; i < id.len; i++) {
		uint8_t c = id.p[i], lower = c | 0x20;
		if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z') && c != '-')
			return false;
	}
	return id.len > 0 && id.len <= ENDPOINT_ID_BYTES_MAX;
}

/* `row` in full, or up to its slash and an id behind it. */
static bool endpoint_reads(const char *row, struct span path, struct span *ret_id)
{
	size_t len = strlen(row);

	*ret_id = SPAN_NULL;
	if (row[len - 1] != '/' || len == 1)
		return span_eq_str(path, row);
	if (path.len <= len || memcmp(path.p, row, len) != 0)
		return false;
	*ret_id = span_of(path.p + len, path.len - len);
	return endpoint_id_valid(*ret_id);
}

static bool endpoint_is(const struct endpoint_row *row, struct span path, struct span *ret_id)
{
	static const char version[] = "/v1";

	if (endpoint_reads(row->path, path, ret_id))
		return true;
	return row->match.kind == ENDPOINT_KIND_API && strncmp(row->path, version, sizeof(version) - 1) == 0 &&
	       endpoint_reads(row->path + sizeof(version) - 1, path, ret_id);
}

static bool endpoint_takes(const struct endpoint_row *row, enum http_method method)
{
	return method == row->method || (method == HTTP_METHOD_HEAD && row->match.kind != ENDPOINT_KIND_API);
}

/* Names under which clients are known to put a key into the URL. */
static bool query_has_key(struct span query)
{
	static const char *const names[] = {"key", "api_key", "api-key", "apikey", "access_token", "token"};

	while (query.len > 0) {
		const uint8_t *end = memchr(query.p, '&', query.len);
		struct span item = span_of(query.p, end ? (size_t)(end - query.p) : query.len);
		const uint8_t *eq = memchr(item.p, '=', item.len);
		struct span name = span_of(item.p, eq ? (size_t)(eq - item.p) : item.len);
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (http_name_is(name, names[i]))
				return true;
		if (!end)
			break;
		query = span_of(end + 1, query.len - item.len - 1);
	}
	return false;
}

enum reason endpoint_match(const struct http_head *head, struct endpoint_match *ret_match)
{
	enum reason reason = REASON_NOT_FOUND;
	struct span id;

	if (query_has_key(head->query))
		return REASON_KEY_IN_QUERY;
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
		if (!endpoint_is(&endpoints[i], head->path, &id))
			continue;
		if (endpoint_takes(&endpoints[i], head->method)) {
			*ret_match = endpoints[i].match;
			ret_match->id = id;
			return REASON_NONE;
		}
		reason = REASON_METHOD_NOT_ALLOWED;
	}
	return reason;
}

const char *endpoint_methods(struct span path)
{
	struct span id;

	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
		if (endpoint_is(&endpoints[i], path, &id))
			return endpoint_takes(&endpoints[i], HTTP_METHOD_HEAD) ? "GET, HEAD"
			       : endpoints[i].method == POST                   ? "POST"
									       : "GET";
	return "";
}

const char *endpoint_path(const struct endpoint_match *match)
{
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
		if (endpoints[i].match.kind == match->kind && endpoints[i].match.endpoint == match->endpoint)
			return endpoints[i].path;
	return "";
}

static struct span bearer(struct span value)
{
	static const char scheme[] = "bearer ";

	if (value.len < sizeof(scheme) || !http_name_is(span_of(value.p, sizeof(scheme) - 1), scheme))
		return SPAN_NULL;
	value = span_of(value.p + sizeof(scheme) - 1, value.len - (sizeof(scheme) - 1));
	while (value.len > 0 && value.p[0] == ' ')
		value = span_of(value.p + 1, value.len - 1);
	return value;
}

struct span endpoint_credential(const struct http_head *head)
{
	static const char *const names[] = {"x-api-key", "api-key", "x-goog-api-key"};
	struct span found = SPAN_NULL;

	for (size_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];
		struct span key = http_name_is(f->name, "authorization") ? bearer(f->value) : SPAN_NULL;
		for (size_t k = 0; k < ARRAY_LEN(names) && !key.p; k++)
			if (http_name_is(f->name, names[k]))
				key = f->value;
		if (key.len == 0)
			continue;
		if (found.p && !span_eq(found, key))
			return SPAN_NULL;
		found = key;
	}
	return found;
}
