/* SPDX-License-Identifier: Apache-2.0 */
#include "common/binding_auth.h"

enum binding_kind { BINDING_PLAIN, BINDING_TOKEN };

static const enum binding_kind binding_kinds[] = {
#define AUTH(NAME, number, kind, doc) [number] = BINDING_##kind,
#include "proto/auth.def"
#undef AUTH
};

bool binding_takes_token(const struct proto_binding *b)
{
	return b->auth < ARRAY_LEN(binding_kinds) && binding_kinds[b->auth] == BINDING_TOKEN;
}

/* ASCII from `from` on without quote and backslash: RFC 6749 A.4. */
static bool binding_is_text(struct span s, uint8_t from)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < from || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return true;
}

static bool binding_is_of(struct span s, const char *more)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = (char)s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr(more, c)))
			return false;
	}
	return s.len > 0;
}

bool binding_sign_scope(const struct proto_binding *b, struct span *ret_region, struct span *ret_service)
{
	const uint8_t *slash = b->auth_scope.len ? memchr(b->auth_scope.p, '/', b->auth_scope.len) : NULL;
	size_t len = slash ? (size_t)(slash - b->auth_scope.p) : 0;

	if (!slash)
		return false;
	*ret_region = span_of(b->auth_scope.p, len);
	*ret_service = span_of(slash + 1, b->auth_scope.len - len - 1);
	return binding_is_of(*ret_region, "-") && binding_is_of(*ret_service, "-");
}

static bool binding_asks_nobody(const struct proto_binding *b)
{
	return b->token_host.len == 0 && b->token_port == 0 && b->token_path.len == 0 && b->token_pins.len == 0 &&
	       b->client_id.len == 0 && b->client_auth == 0;
}

bool binding_auth_ok(const struct proto_binding *b)
{
	struct span region, service;

	if (b->auth >= ARRAY_LEN(binding_kinds) || b->pins.len % BINDING_PIN_BYTES != 0 ||
	    b->token_pins.len % BINDING_PIN_BYTES != 0 || !binding_is_text(b->auth_scope, ' ') ||
	    !binding_is_text(b->client_id, '!'))
		return false;
	if (binding_takes_token(b))
		return binding_is_of(b->token_host, "-.:_") && b->token_port > 0 && b->token_path.len > 0 &&
		       b->token_path.p[0] == '/' && binding_is_text(b->token_path, '!') && b->client_id.len > 0;
	if (!binding_asks_nobody(b))
		return false;
	return b->auth == PROTO_AUTH_SIGV4 ? binding_sign_scope(b, &region, &service) : b->auth_scope.len == 0;
}
